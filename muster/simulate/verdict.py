"""What a run amounts to: what was asked, what came, and what that says about size. Pure.

Every figure is one that was measured in this run, or one of them times another; where something
was not measured, it says so. A straight line through one point is a guess about other sizes, and is
called that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from muster.simulate.books import Book
from muster.simulate.scenarios import SCENARIOS, Fault
from muster.simulate.usage import Spent, quantile_s

BUSY = 0.6
"""How much of a core one process may use: beyond it, waiting times grow faster than load."""

_LEAST = 2
_DESCRIPTORS = 0.8
_LATE_S = 1.0
_MEASURED_S = 1.0
_SOCKETS_LEAST = 1000


@dataclass(frozen=True)
class Finding:
    """One promise of the deployment, and whether it was kept in this run."""

    what: str
    found: str
    kept: bool


@dataclass(frozen=True)
class Outcome:
    """What a run brought. Times in seconds; None: it did not come to that."""

    scenario: str
    nodes: int
    book: Book
    ready_after_s: float | None
    registered_after_s: float | None
    held_s: float
    interval_s: float
    slowest_beat_s: float
    """What a beat may take to be in the store, at p99."""
    joining: Sequence[Spent] = ()
    holding: Sequence[Spent] = ()
    interrupted: bool = False


@dataclass
class Verdict:
    """Findings, what the times were, and what size they suggest."""

    findings: list[Finding] = field(default_factory=list)
    sizing: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return all(finding.kept for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "kept": self.kept,
            "findings": [vars(finding) for finding in self.findings],
            "sizing": self.sizing,
            "not_measured": self.missing,
        }


def judged(outcome: Outcome) -> Verdict:
    """The verdict on a run."""
    verdict = Verdict()
    verdict.findings += _reached(outcome)
    verdict.findings += _promised(outcome)
    verdict.findings += _of_the_fault(outcome)
    _waits(outcome, verdict)
    _size(outcome, verdict)
    return verdict


def _reached(outcome: Outcome) -> list[Finding]:
    found = []
    for what, after in (
        ("registered", outcome.registered_after_s),
        ("ready", outcome.ready_after_s),
    ):
        if after is not None:
            found.append(Finding(f"all {what}", f"{outcome.nodes} after {after:.1f} s", True))
        else:
            now = outcome.book.now[what]
            part = now / outcome.nodes
            found.append(Finding(f"all {what}", f"{now} of {outcome.nodes} ({part:.1%})", False))
    return found


def _promised(outcome: Outcome) -> list[Finding]:
    counts = outcome.book.counts
    late = outcome.book.spread("beat sent late").quantile(0.999)
    found = [
        Finding(
            f"falsely {status}", str(counts[f"falsely {status}"]), not counts[f"falsely {status}"]
        )
        for status in ("offline", "degraded")
    ]
    own = counts["offline by the simulator's own fault"]
    punctual = (late is None or late <= _LATE_S) and not own
    shown = "no beat" if late is None else f"{late * 1000:.0f} ms late at p99.9"
    found.append(
        Finding(
            "the simulator kept its own pace",
            shown + (f", {own} nodes silent by its fault" if own else "")
            + ("" if punctual else "; use more --processes or another machine"),
            punctual,
        )
    )  # fmt: skip
    if counts["unreadable"]:
        found.append(Finding("frames understood", f"{counts['unreadable']} were not", False))
    return found


def _of_the_fault(outcome: Outcome) -> list[Finding]:
    if outcome.ready_after_s is None or outcome.interrupted:
        return []
    book, now = outcome.book, outcome.book.now
    struck = now["struck"]
    fault = SCENARIOS[outcome.scenario].fault
    found = []
    if fault in (Fault.GPU_LOST, Fault.FLAPS):
        seen = now["struck and degraded"]
        found.append(Finding("struck nodes called degraded", f"{seen} of {struck}", seen == struck))
    elif fault is Fault.SILENT:
        seen = now["struck and offline"]
        found.append(Finding("silent nodes called offline", f"{seen} of {struck}", seen == struck))
        soon = book.counts["offline too soon"]
        found.append(Finding("called offline before the time-out", str(soon), not soon))
        late = book.spread("offline after the time-out").quantile(0.99)
        if late is not None:
            found.append(
                Finding("offline after the time-out, p99", f"{late * 1000:.0f} ms", late <= 1.0)
            )
    elif fault is Fault.CLONED:
        seen = now["struck and doubted"]
        found.append(Finding("doubles noticed", f"{seen} of {struck}", seen == struck))
    found.append(
        Finding(
            "ready at the end", f"{now['ready']} of {outcome.nodes}",
            now["ready"] == outcome.nodes,
        )
    )  # fmt: skip
    return found


def _waits(outcome: Outcome, verdict: Verdict) -> None:
    waits: dict[float, float] = {}
    for spent in outcome.holding:
        for edge, number in spent.waits.items():
            waits[edge] = waits.get(edge, 0.0) + number
    p99 = quantile_s(waits, 0.99)
    if p99 is None:
        verdict.missing.append("beat to store: no gateway's /metrics answered, see --metrics")
        return
    shown = f"at most {p99 * 1000:g} ms" if math.isfinite(p99) else "beyond the last bucket"
    verdict.findings.append(Finding("beat to store, p99", shown, p99 <= outcome.slowest_beat_s))


def _size(outcome: Outcome, verdict: Verdict) -> None:
    if not outcome.holding:
        verdict.missing.append("sizes: nobody's /metrics could be asked before and after")
        return
    if outcome.held_s < max(_MEASURED_S, 2 * outcome.interval_s):
        verdict.missing.append("sizes: measured for less than two intervals")
        return
    for kind in ("gateway", "sweeper", "store"):
        _size_of(kind, outcome, verdict)


def _size_of(kind: str, outcome: Outcome, verdict: Verdict) -> None:
    those = [spent for spent in outcome.holding if spent.kind == kind]
    if not those:
        where = "--store" if kind == "store" else "--metrics"
        verdict.missing.append(f"{kind}s: none was asked, see {where}")
        return
    cores = sum(spent.cores for spent in those)
    busiest = max(spent.cores for spent in those)
    suggested = math.ceil(cores / BUSY)
    text = (
        f"{len(those)} {kind}{'s' if len(those) > 1 else ''} asked: {cores:.2f} cores in all, "
        f"{busiest:.2f} the busiest"
    )
    if kind == "gateway":
        beats = sum(spent.beats for spent in those)
        if beats:
            text += f", {cores * outcome.held_s / beats * 1e6:.0f} µs a beat"
        sockets = sum(spent.sockets for spent in those)
        if sockets >= _SOCKETS_LEAST:
            memory = sum(spent.memory for spent in those) / sockets / 1024
            text += f", {memory:.0f} KiB a socket (all memory by all sockets)"
        most = min((s.descriptors_most for s in those if s.descriptors_most), default=0.0)
        if most:
            suggested = max(suggested, math.ceil(outcome.nodes / (_DESCRIPTORS * most)))
    if kind != "store":
        suggested = max(_LEAST, suggested)
    text += f"; for {outcome.nodes} nodes at {BUSY:.0%} of a core each: {suggested}"
    if cores > 0:
        text += (
            f" (one would carry about {_rounded(outcome.nodes * BUSY / cores)}, a straight line)"
        )
    verdict.sizing.append(text)


def _rounded(number: float) -> str:
    """Two digits: more was not measured."""
    digits = max(0, len(str(int(number))) - 2)
    return f"{round(number / 10**digits) * 10**digits:,}".replace(",", " ")
