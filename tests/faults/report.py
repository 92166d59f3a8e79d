"""`docs/reliability.md`: the table of the last full run, from that run's own output."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from registry.embedded import find_server

if TYPE_CHECKING:  # what a world imports must not be imported before pytest has begun
    from tests.faults.world import Outcome, World

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"

_HEAD = """# Reliability

What is promised is in [lifecycle.md](lifecycle.md) and [architecture.md](architecture.md). Here is
what was seen when it was tried: real gateways and sweepers on a real store, and a fleet of machines
that keeps its own book of everything it sent and was told. While each fault lasts, machines die
(some without a word), come, fall ill and get well. Afterwards a checker compares the book with the
store, with every event, and with what `select` answered all the time through every gateway:

1. nobody was called offline who was able and heard within the time-out (machines of a gateway that
   itself could not work may be, after its grace, and then the platform is blamed);
2. nobody was selected who had not shown life within the time-out, or had been told that it is not
   ready;
3. no acknowledged registration is missing, and no machine lost its name;
4. versions rose on every socket and from socket to socket;
5. what each machine was told last is what its record says;
6. every transition follows from its own evidence when the rules are run again, and begins where the
   one before ended.

"""

_COLUMNS = (
    "| fault | pace | broken | recover, s | settle, s | unselectable, node-s | dead → offline, s "
    "| seed |"
)

_EXPLAINED = """
- **broken**: how often one of the six was broken.
- **recover**: from the end of the fault until every machine that was able and fit all along could
  be given work again.
- **settle**: until everything else was as it must become too, machines that died called offline.
- **unselectable**: seconds, added up over machines able and fit all along, in which no gateway had
  them in its answer (while the store is away nobody can be selected, by anybody).
- **dead → offline**: the longest time from a machine's death until it was called offline.

At a pace of 1:10 every number of the document is divided by ten (a time-out of 45 s becomes 4.5 s),
and so are the faults' times, which the table gives as at true speed. What a busy machine can't keep
is shortened less: an answer of the store may take 1 s. A seed draws who dies, falls ill and comes,
and the random sequences: `FAULTS_SEED=<seed> .venv/bin/python -m pytest -m faults <test>` draws the
same again. Processes' own jitter is not drawn from it.
"""


def row_of(world: World, outcome: Outcome) -> dict[str, Any]:
    """What the report keeps of one run."""
    measured = outcome.measured
    return {
        "seed": world.seed,
        "pace": world.pace.name,
        "breaches": len(outcome.breaches),
        "recover_s": measured.recover_s,
        "settle_s": measured.settle_s,
        "unselectable_s": measured.unselectable_s,
        "truth_s": measured.truth_s,
        "counts": outcome.counts,
    }


@dataclass
class Line:
    """One test of the run."""

    fault: str
    passed: bool
    row: dict[str, Any] | None


@dataclass
class Collected:
    """A pytest plugin: the fault suite's results as they come."""

    lines: list[Line] = field(default_factory=list)
    _sentences: dict[str, str] = field(default_factory=dict)

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        for item in items:
            told = (getattr(item, "obj", None).__doc__ or item.name).strip().splitlines()[0]
            callspec = getattr(item, "callspec", None)
            which = f" ({callspec.id})" if callspec is not None else ""
            self._sentences[item.nodeid] = told.rstrip(".") + which

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or (report.when == "setup" and report.failed):
            row: Any = dict(report.user_properties).get("fault")
            sentence = self._sentences.get(report.nodeid, report.nodeid)
            self.lines.append(Line(sentence, report.passed, row))


def document(lines: Sequence[Line], took_s: float) -> str:
    """The whole of `docs/reliability.md`."""
    runs = [line for line in lines if line.row is not None or not line.passed]
    return "".join((_HEAD, _table(runs), _EXPLAINED, _summary(lines, runs, took_s)))


def _table(runs: Sequence[Line]) -> str:
    rows = [_COLUMNS, "|---" * (_COLUMNS.count("|") - 1) + "|"]
    for line in runs:
        r = line.row
        if r is None:
            rows.append(f"| {line.fault} | | **did not settle** | | | | | |")
            continue
        broken = "0" if line.passed else f"**{r['breaches']}**"
        rows.append(
            f"| {line.fault} | {r['pace']} | {broken} | {r['recover_s']:.1f} | {r['settle_s']:.1f} "
            f"| {r['unselectable_s']:.0f} | {r['truth_s']:.1f} | {r['seed']} |"
        )
    return "\n".join(rows) + "\n"


def _summary(lines: Sequence[Line], runs: Sequence[Line], took_s: float) -> str:
    def n(name: str) -> int:
        return sum((line.row or {}).get("counts", {}).get(name, 0) for line in runs)

    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    failed = sum(not line.passed for line in lines)
    return f"""
## The last full run

{when}, {machine}, Python {platform.python_version()}, {find_server().name};
{took_s / 60:.0f} minutes; {len(lines)} tests, {failed} failed. Looked at: {n("machines")} machines,
{n("beats")} heartbeats, {n("acks")} acknowledged registrations, {n("statuses")} status messages,
{n("transitions")} transitions judged again from their evidence ({n("offline")} of them offline),
{n("selects")} answers of `select` ({n("selects_unanswered")} questions could not be answered).

`make faults` runs all of it again and writes this page.
"""
