"""`python -m gateway`: its arguments."""

from __future__ import annotations

import pytest

from gateway import __main__ as command
from gateway.settings import GatewaySettings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[GatewaySettings]:
    """The settings that were served with, nothing being served."""
    found: list[GatewaySettings] = []

    def serve(settings: GatewaySettings) -> int:
        found.append(settings)
        return 0

    monkeypatch.setattr(command, "serve", serve)
    monkeypatch.delenv("MUSTER_OPEN_API", raising=False)
    return found


@pytest.mark.parametrize(("argv", "is_open"), [([], False), (["--open-api"], True)])
def test_it_is_open_only_if_asked(
    served: list[GatewaySettings], argv: list[str], is_open: bool
) -> None:
    assert command.main(argv) == 0
    assert [settings.open_api for settings in served] == [is_open]


@pytest.mark.parametrize("argv", [["--open"], ["--open-api", "more"], ["serve"]])
def test_what_it_does_not_know_is_refused_with_its_usage(
    served: list[GatewaySettings], argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(argv) == 2
    assert served == []
    assert "--open-api" in capsys.readouterr().err


def test_open_with_tokens_is_refused(
    served: list[GatewaySettings],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MUSTER_API_TOKENS_FILE", "tokens")
    assert command.main(["--open-api"]) == 2
    assert served == []
    assert "MUSTER_OPEN_API" in capsys.readouterr().err
