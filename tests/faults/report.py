"""`docs/reliability.md`: the table of the last full run, from that run's own output."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from registry.embedded import find_server

if TYPE_CHECKING:  # what a world imports must not be imported before pytest has begun
    from tests.faults.world import Outcome, World

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"

AT_ONCE = 3  # worlds; most of each one's time is waiting

_HEAD = """# Reliability

What is promised is in [lifecycle.md](lifecycle.md) and [architecture.md](architecture.md). Here is
what was seen when it was tried: real gateways and sweepers on a real store, and a fleet of machines
that keeps its own book of everything it sent and was told. While each fault lasts, machines die
(some without a word), come, fall ill and get well. Afterwards a checker compares the book with the
store, with every event, and with what `select` answered all the time through every gateway:

1. nobody was called offline who was able and heard within the time-out (machines of a gateway that
   itself could not work may be, after its grace, and then the platform is blamed; a dead one may be
   sooner if it spoke last to a gateway that was paused, as nobody knows when that came);
2. nobody was selected who had not shown life within the time-out, or had been told that it is not
   ready;
3. no acknowledged registration is missing, and no machine lost its name;
4. versions rose on every socket and from socket to socket;
5. what each machine was told last is what its record says;
6. every transition follows from its own evidence when the rules are run again, and begins where the
   one before ended;
7. what an operator said of a machine, and that a machine took itself off, was undone by nobody.

Behind Sentinel a failover that nobody planned, of a primary that a busy machine kept from answering
for a second, is one more fault that happened: as after a planned one, what the former primary was
told in the two seconds before it was noticed, and in the one after, may have been taken back.

"""

_COLUMNS = (
    "| fault | what happened | broken | recover, s | settle, s | unselectable, node-s "
    "| dead → offline, s | took, s | seed |"
)
_CLOSED = "closed_"

# Each law as the checker names it, and which of a run's counts says how much there was to judge.
_LAWS = (
    ("1", "falsely offline", "offline", "transitions to `offline`"),
    ("2", "falsely selected", "selects", "answers of `select`"),
    ("3", "lost registration", "acks", "acknowledged registrations"),
    ("4", "versions", "tellings", "statuses that machines were told"),
    ("5", "undelivered", "machines", "machines, in the end"),
    ("6", "unexplained", "transitions", "transitions judged again"),
    ("7", "undone", "meant", "drains and leavings"),
)

_EXPLAINED = """
## How to read it

- **what happened**: machines that took part, registrations acknowledged, transitions and how many
  of them to `offline`, and how sockets ended: 1012 a gateway that restarts, 1006 without a word
  (deaths and cut connections), 44xx a gateway's refusal.
- **broken**: how often one of the seven was broken.
- **recover**: from the end of the fault until every machine that was able and fit all along could
  be given work again.
- **settle**: until everything else was as it must become too, machines that died called offline.
- **unselectable**: seconds, added up over machines able and fit all along, in which no gateway had
  them in its answer (while the store is away nobody can be selected, by anybody).
- **dead → offline**: the longest time from a machine's death until it was called offline.

Where it says "pace 1:10", every number of the document is divided by ten (a time-out of 45 s
becomes 4.5 s), and so are the faults' times, which the first column gives as at true speed; what
was measured is in seconds of the run. What a busy machine can't keep is shortened less: an answer
of the store may take 1 s.

A seed draws who dies, falls ill and comes, and the random sequences; processes' own jitter is not
drawn from it. The same again:

```
FAULTS_SEED=<seed> .venv/bin/python -m pytest -m faults tests/faults -k <name>
.venv/bin/python -m pytest -m faults tests/faults --collect-only -q  # the names
```

All of it again, and this page: `make faults`. That the checker itself notices what is wrong is
tried on toys: registries that never expire a node, forget one, rename one, select anybody, are
hasty, blame the platform, tell nobody, tell twice, or guess
(`tests/faults/test_checker_is_checked.py`), and on the smallest books that break a law
(`tests/faults/test_each_law.py`).
"""


def row_of(world: World, outcome: Outcome) -> dict[str, Any]:
    """What the report keeps of one run."""
    measured = outcome.measured
    return {
        "seed": world.seed,
        "pace": world.pace.name,
        "breaches": dict(Counter(b.law for b in outcome.breaches)),
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
    took_s: float = 0.0
    section: str = ""
    place: int = 0
    seed: str = ""


def sentence_of(item: pytest.Item) -> str:
    """What a test is about: the first line of its docstring, with its parameters in their places;
    `{which}` is the name of all of them."""
    told = (getattr(item, "obj", None).__doc__ or item.name).strip().splitlines()[0]
    callspec = getattr(item, "callspec", None)
    if callspec is not None:
        told = told.format(**callspec.params, which=callspec.id)
    return str(told).rstrip(".")


def section_of(item: pytest.Item) -> str:
    """Which tests it stands with: the first line of its file's docstring."""
    told: str = getattr(item, "module", None).__doc__ or ""
    return told.strip().splitlines()[0].rstrip(".")


@dataclass
class Collected:
    """A pytest plugin: the fault suite's results as they come, also from other processes."""

    lines: list[Line] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or (report.when == "setup" and report.failed):
            said: dict[str, Any] = dict(report.user_properties)
            sentence = str(said.get("sentence", report.nodeid))
            section, place = str(said.get("section", "")), int(said.get("place", 0))
            row, seed = said.get("fault"), str(said.get("seed", ""))
            self.lines.append(
                Line(sentence, report.passed, row, report.duration, section, place, seed)
            )


def document(lines: Sequence[Line], took_s: float) -> str:
    """The whole of `docs/reliability.md`."""
    runs = sorted(
        (line for line in lines if line.row is not None or not line.passed),
        key=lambda line: line.place,
    )
    sections = dict.fromkeys(line.section for line in runs)
    tables = (_table(s, [line for line in runs if line.section == s]) for s in sections)
    return "".join((_HEAD, _summary(lines, runs, took_s), _verdicts(runs), *tables, _EXPLAINED))


def _table(section: str, runs: Sequence[Line]) -> str:
    paces = ", ".join(sorted({line.row["pace"] for line in runs if line.row}))
    heading = f"## {section}{f' (pace {paces})' if ':' in paces else ''}"
    rows = ["", heading, "", _COLUMNS, "|---" * (_COLUMNS.count("|") - 1) + "|"]
    for line in runs:
        r = line.row
        if r is None:
            rows.append(
                f"| {line.fault} | | **did not settle** | | | | | {line.took_s:.0f} | {line.seed} |"
            )
            continue
        broken = str(sum(r["breaches"].values())) if line.passed else "**failed**"
        rows.append(
            f"| {line.fault} | {_happened(r['counts'])} | {broken} "
            f"| {r['recover_s']:.1f} | {r['settle_s']:.1f} "
            f"| {r['unselectable_s']:.0f} | {r['truth_s']:.1f} "
            f"| {line.took_s:.0f} | {r['seed']} |"
        )
    return "\n".join(rows) + "\n"


def _happened(counts: Mapping[str, int]) -> str:
    closes = ", ".join(
        f"{name.removeprefix(_CLOSED)} × {count}"
        for name, count in counts.items()
        if name.startswith(_CLOSED)
    )
    return (
        f"{counts['machines']} machines, {counts['acks']} registrations, "
        f"{counts['transitions']} transitions ({counts['offline']} offline); "
        f"closed: {closes or 'none'}"
    )


def _sum(runs: Sequence[Line], name: str) -> int:
    return sum((line.row or {}).get("counts", {}).get(name, 0) for line in runs)


def _verdicts(runs: Sequence[Line]) -> str:
    rows = ["", "| law | judged | broken |", "|---|---|---|"]
    for number, law, count, what in _LAWS:
        broken = sum((line.row or {}).get("breaches", {}).get(law, 0) for line in runs)
        rows.append(f"| {number} | {_sum(runs, count)} {what} | {broken} |")
    return "\n".join(rows) + "\n"


def _summary(lines: Sequence[Line], runs: Sequence[Line], took_s: float) -> str:
    def n(name: str) -> int:
        return _sum(runs, name)

    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    failed = sum(not line.passed for line in lines)
    return f"""## The last full run

| | |
|---|---|
| when | {when}, {took_s / 60:.0f} minutes, {AT_ONCE} worlds at a time |
| machine | {machine}, Python {platform.python_version()}, {find_server().name} |
| tests | {len(lines) - failed} passed, {failed} failed; {len(runs)} of them worlds with a fault |
| machines | {n("machines")}, which sent {n("beats")} heartbeats |
| told | {n("acks")} acknowledged registrations, {n("statuses")} status messages |
| transitions | {n("transitions")}, of them {n("offline")} to `offline` |
| `select` | {n("selects")} answers; {n("selects_unanswered")} questions could not be answered |
"""
