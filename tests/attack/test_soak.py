"""A soak at ten times the speed: what it says of Muster, and of a gateway that leaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.soak.__main__ import keep, said
from tests.soak.soaking import Soak, run
from tests.soak.verdict import judged

SHORT = Soak(nodes=120, minutes=10.0, speed=10.0, every_s=1.0, per_s=100.0)
OF_THE_MACHINE = ("no slower", "does not grow", "own pace", "p99")
"""What a busy machine breaks: `make soak` judges that."""


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_short_soak_breaks_no_promise_and_keeps_what_it_saw(tmp_path: Path) -> None:
    samples, counts = run(SHORT, tmp_path / "run", print)
    findings = judged(samples, counts)
    broken = [
        finding for finding in findings
        if finding.kept is False and not any(word in finding.what for word in OF_THE_MACHINE)
    ]  # fmt: skip
    assert broken == []
    assert len(samples) == 60
    assert counts.done == dict.fromkeys(counts.done, 2), counts.done
    assert len(counts.done) == 6
    assert counts.secrets == 3  # the fleet's and both visitors'
    about = {
        "when": "today", "machine": "this one", "duration_s": 60.0, "load_average_at_the_end": 1
    }  # fmt: skip
    keep(tmp_path / "kept", about, SHORT, samples, counts, findings)
    assert said(about, SHORT, counts, findings) in (tmp_path / "kept/verdict.txt").read_text()
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {
        "verdict.txt", "samples.json", "picture.svg"
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_gateway_that_leaks_is_found(tmp_path: Path) -> None:
    leaking = replace(SHORT, minutes=4.0, nodes=60, gateway=("tests.soak.leaking",))
    samples, counts = run(leaking, tmp_path, print)
    broken = {finding.what for finding in judged(samples, counts) if finding.kept is False}
    for gateway in ("gateway 1", "gateway 2"):
        assert f"memory of {gateway} is flat" in broken
        assert f"descriptors of {gateway} beside its sockets are flat" in broken
    assert f"places that tell one of {counts.secrets} secrets" in broken
    assert all("gateway" in place for place in counts.secrets_told)
    assert not {what for what in broken if "sweeper" in what}
