"""Whether a gateway lets nodes in that only pretend their GPUs."""

from __future__ import annotations

import pytest

from gateway.settings import GatewaySettings
from muster.wire.errors import SIMULATED_PATH, ErrorCode, error_text
from registry.settings import load


@pytest.mark.parametrize(
    ("host", "lets_in"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.5", False),
        ("gateway.example.com", False),
    ],
)
def test_by_default_only_a_gateway_on_a_loopback_address_does(host: str, lets_in: bool) -> None:
    assert GatewaySettings(host=host).lets_simulated_in is lets_in


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("said", ["true", "false"])
def test_the_setting_decides_where_it_is_given(host: str, said: str) -> None:
    made = load(GatewaySettings, {"MUSTER_HOST": host, "MUSTER_ALLOW_SIMULATED": said})
    assert made.lets_simulated_in is (said == "true")


@pytest.mark.parametrize("locale", ["zh", "en"])
def test_who_is_not_let_in_is_told_what_would_help(locale: str) -> None:
    text = error_text(ErrorCode.INVALID_MESSAGE, locale, path=SIMULATED_PATH, expected="x")
    assert "MUSTER_ALLOW_SIMULATED" in text
    assert text != error_text(ErrorCode.INVALID_MESSAGE, locale, path="labels.other", expected="x")
