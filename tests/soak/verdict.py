"""What the samples of a soak amount to: a finding for each promise. Pure.

A figure is flat if the line fitted through it (the median of the slopes between all pairs of
samples, which single bursts do not move) rises over the whole time by less than its bound.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Any

from tests.soak.sample import Part, Sample, Waits

MIB = 2**20
FULL_S = 330.0
"""The twenty verdicts kept of each machine, one every 15 s, fill the store for so long."""

_MEMORY_PART, _MEMORY_LEAST = 0.03, 4 * MIB
_DESCRIPTORS = 5.0
_KEYS_PART, _KEYS_LEAST = 0.01, 100.0
_SLOWER, _LATER_S = 1.5, {"p50": 0.005, "p99": 0.05}
_DEARER = 1.5
_LOG_BYTES_PER_MIN = 256 * 1024
_OFFLINE_LATE_S = 1.0
_OWN_PACE_S = 1.0
_LEAST_SAMPLES = 6

UNFELT = frozenset({"machines silent", "GPUs lost"})
"""What others do not feel."""


@dataclass(frozen=True)
class Finding:
    """One promise, and whether it was kept; None: this run could not show it."""

    what: str
    found: str
    kept: bool | None


@dataclass
class Counts:
    """What was counted over the whole run."""

    nodes: int = 0
    ready_at_the_end: int = 0
    falsely_offline: int = 0
    falsely_degraded: int = 0
    falsely_offline_events: list[str] = field(default_factory=list)
    silenced: int = 0
    called_offline: int = 0
    called_offline_p99_s: float | None = None
    lost_gpu: int = 0
    called_degraded: int = 0
    events: int = 0
    events_lost: int = 0
    events_twice: int = 0
    events_out_of_order: int = 0
    gaps: int = 0
    selections: int = 0
    selections_again: int = 0
    selections_nobody: int = 0
    selections_unanswered: int = 0
    visits: int = 0
    tracebacks: int = 0
    wrong: list[str] = field(default_factory=list)
    secrets: int = 0
    secrets_told: list[str] = field(default_factory=list)
    stopped_late: int = 0
    own_lateness_p999_s: float | None = None
    events_bound: int = 0
    speed: float = 1.0
    done: dict[str, int] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between all pairs of points; 0 for fewer than two."""
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1]
    return statistics.median(slopes) if slopes else 0.0


def judged(samples: Sequence[Sample], counts: Counts) -> list[Finding]:
    """A finding for each promise."""
    warm_s = warm_up_s(samples, counts.speed)
    warm = [sample for sample in samples if sample.at_s >= warm_s]
    stay = staying(samples)
    filled = warm_s >= FULL_S / counts.speed
    return [
        *_memory(warm, stay, filled=filled),
        *_descriptors(warm, stay),
        *_store(warm, counts),
        *_waits(warm),
        _cost(warm),
        _logs(samples),
        *_truth(counts),
        *_events(counts),
        *_asked(counts),
        *_processes(counts),
    ]


def kept(findings: Sequence[Finding]) -> bool:
    """Whether no promise was broken."""
    return all(finding.kept is not False for finding in findings)


def warm_up_s(samples: Sequence[Sample], speed: float) -> float:
    """Until when a run is warming up: until the store holds what it keeps of each machine, but
    three fifths of the run at most."""
    return min(FULL_S / speed, 0.6 * samples[-1].at_s) if samples else 0.0


def staying(samples: Sequence[Sample]) -> list[str]:
    """The processes that lived all along."""
    lives: dict[str, set[int]] = {}
    for sample in samples:
        for name, part in sample.parts.items():
            lives.setdefault(name, set()).add(part.pid)
    return [name for name, pids in lives.items() if len(pids) == 1]


def _memory(warm: Sequence[Sample], stay: Sequence[str], *, filled: bool) -> list[Finding]:
    found = []
    for name in sorted(stay):
        if name != "store":
            what = f"memory of {name} is flat"
            found.append(_flat(what, _of(warm, name, lambda part: part.rss), _mib, _memory_bound))
    points = [(sample.at_s, float(sample.store_bytes)) for sample in warm]
    flat = _flat("memory of the store is flat", points, _mib, _memory_bound)
    if not filled:
        short = f"{flat.found}; too short: what is kept of each machine was still filling"
        flat = Finding(flat.what, short, None)
    found.append(flat)
    restarted = sorted({name for sample in warm for name in sample.parts} - set(stay))
    return found + [_peaks(name, warm) for name in restarted]


def _peaks(name: str, warm: Sequence[Sample]) -> Finding:
    """A process that is restarted has a line for each life; what it needs at most must not grow."""
    what = f"memory of {name} (restarted) peaks no higher"
    sizes = [sample.parts[name].rss for sample in warm if name in sample.parts]
    half = len(sizes) // 2
    if half < _LEAST_SAMPLES:
        return Finding(what, "too few samples", None)
    early, late = max(sizes[:half]), max(sizes[half:])
    bound = 1.25 * early + 2 * _MEMORY_LEAST
    return Finding(what, f"{_mib(early)}, then {_mib(late)}; at most {_mib(bound)}", late <= bound)


def _descriptors(warm: Sequence[Sample], stay: Sequence[str]) -> list[Finding]:
    return [
        _flat(
            f"descriptors of {name} beside its sockets are flat",
            _of(warm, name, lambda part: part.descriptors - part.sockets),
            lambda number: f"{number:.0f}",
            lambda _: _DESCRIPTORS,
        )
        for name in sorted(stay)
    ]


def _store(warm: Sequence[Sample], counts: Counts) -> list[Finding]:
    keys = [(sample.at_s, float(sample.keys)) for sample in warm]
    most = max((sample.events for sample in warm), default=0)
    return [
        _flat(
            "keys in the store are flat", keys, lambda number: f"{number:.0f}",
            lambda level: max(_KEYS_PART * level, _KEYS_LEAST),
        ),
        Finding(
            "events kept are bounded", f"{most} at most, of {counts.events_bound}",
            most <= counts.events_bound,
        ),
    ]  # fmt: skip


def _waits(warm: Sequence[Sample]) -> list[Finding]:
    asked: dict[str, Callable[[Sample], Waits]] = {
        "heartbeat to its ack": lambda sample: sample.ack,
        "heartbeat to store": lambda sample: sample.to_store,
        "select": lambda sample: sample.select,
    }
    quiet = [sample for sample in warm if UNFELT.issuperset(sample.during)]
    found = []
    for what, waits in asked.items():
        for part in ("p50", "p99"):
            values = [getattr(waits(sample), part) for sample in quiet]
            found.append(
                _no_slower(f"{what}, {part}: no slower", [v for v in values if v is not None], part)
            )
    return found


def _no_slower(what: str, values: Sequence[float], part: str) -> Finding:
    half = len(values) // 2
    if half < _LEAST_SAMPLES // 2:
        return Finding(what, "too few moments in which nothing was done", None)
    early, late = statistics.median(values[:half]), statistics.median(values[half:])
    bound = _SLOWER * early + _LATER_S[part]
    text = f"{early * 1000:.1f} ms, then {late * 1000:.1f} ms; at most {bound * 1000:.1f} ms"
    return Finding(what, text, late <= bound)


def _cost(warm: Sequence[Sample]) -> Finding:
    what = "processor time a heartbeat does not grow"
    costs = []
    for before, after in pairwise(warm):
        same = all(before.parts.get(n) and before.parts[n].pid == p.pid
                   for n, p in after.parts.items())  # fmt: skip
        if after.beats and same and UNFELT.issuperset(after.during):
            spent = sum(p.cpu_s - before.parts[n].cpu_s for n, p in after.parts.items())
            costs.append(spent / after.beats * 1e6)
    half = len(costs) // 2
    if half < _LEAST_SAMPLES:
        return Finding(what, "too few moments in which nothing was done", None)
    early, late = statistics.median(costs[:half]), statistics.median(costs[half:])
    text = f"{early:.0f} µs of all processes, then {late:.0f} µs; at most {_DEARER * early:.0f} µs"
    return Finding(what, text, late <= _DEARER * early)


def _logs(samples: Sequence[Sample]) -> Finding:
    what = "logs grow slowly"
    if len(samples) < 2:
        return Finding(what, "too few samples", None)
    rates = {
        name: slope(_of(samples, name, lambda part: part.log_bytes)) * 60
        for name in staying(samples)
    }
    name = max(rates, key=lambda each: rates[each])
    text = f"most: {name}, {rates[name] / 1024:.1f} KiB a minute"
    return Finding(what, f"{text}; at most {_LOG_BYTES_PER_MIN // 1024} KiB",
                   rates[name] <= _LOG_BYTES_PER_MIN)  # fmt: skip


def _truth(counts: Counts) -> list[Finding]:
    named = f" ({counts.falsely_offline_events[0]})" if counts.falsely_offline_events else ""
    late = counts.called_offline_p99_s
    found = [
        _none("machines told falsely that they are offline", counts.falsely_offline),
        _none(
            "events that say so falsely", len(counts.falsely_offline_events), named
        ),
        _none("machines told falsely that they are degraded", counts.falsely_degraded),
        _all("silenced machines called offline", counts.called_offline, counts.silenced),
        _all("machines without their GPU called degraded", counts.called_degraded,
             counts.lost_gpu),
        _all("ready at the end", counts.ready_at_the_end, counts.nodes),
    ]  # fmt: skip
    if late is not None:
        text = f"{late * 1000:.0f} ms; at most {_OFFLINE_LATE_S * 1000:.0f} ms"
        found.append(Finding("called offline after the time-out, p99", text,
                             late <= _OFFLINE_LATE_S))  # fmt: skip
    return found


def _events(counts: Counts) -> list[Finding]:
    return [
        _none(f"events lost to a watcher, of {counts.events}", counts.events_lost),
        _none("events told twice", counts.events_twice),
        _none("events of a machine out of order", counts.events_out_of_order),
        _none("gaps told", counts.gaps),
    ]


def _asked(counts: Counts) -> list[Finding]:
    again = f"; {counts.selections_again} times another gateway was asked"
    return [
        _none(f"selections unanswered, of {counts.selections}", counts.selections_unanswered,
              again),
        _none("selections that found nobody", counts.selections_nobody),
    ]  # fmt: skip


def _processes(counts: Counts) -> list[Finding]:
    late = counts.own_lateness_p999_s
    punctual = late is not None and late <= _OWN_PACE_S
    return [
        _none("tracebacks in logs", counts.tracebacks),
        _none(
            f"places that tell one of {counts.secrets} secrets",
            len(counts.secrets_told),
            f" ({counts.secrets_told[0]})" if counts.secrets_told else "",
        ),
        _none(
            "errors of the soak itself",
            len(counts.wrong),
            f" ({counts.wrong[0]})" if counts.wrong else "",
        ),
        _none("gateways that did not stop in time", counts.stopped_late),
        Finding(
            "the simulator kept its own pace",
            "no beat" if late is None else f"{late * 1000:.0f} ms late at p99.9",
            punctual,
        ),
    ]


def _flat(
    what: str,
    points: Sequence[tuple[float, float]],
    shown: Callable[[float], str],
    bound_of: Callable[[float], float],
) -> Finding:
    if len(points) < _LEAST_SAMPLES:
        return Finding(what, "too few samples", None)
    lasted = points[-1][0] - points[0][0]
    rise = slope(points) * lasted
    level = statistics.median(value for _, value in points)
    bound = bound_of(level)
    sign = "+" if rise >= 0 else "-"
    text = (
        f"{shown(level)}, {sign}{shown(abs(rise))} in {lasted / 60:.1f} min "
        f"by the fitted line; at most +{shown(bound)}"
    )
    return Finding(what, text, rise <= bound)


def _memory_bound(level: float) -> float:
    return max(_MEMORY_PART * level, float(_MEMORY_LEAST))


def _of(
    samples: Sequence[Sample], name: str, value: Callable[[Part], float]
) -> list[tuple[float, float]]:
    return [
        (sample.at_s, float(value(sample.parts[name])))
        for sample in samples
        if name in sample.parts
    ]


def _mib(number: float) -> str:
    return f"{number / MIB:.1f} MiB"


def _none(what: str, number: int, more: str = "") -> Finding:
    return Finding(what, f"{number}{more}", not number)


def _all(what: str, number: int, of: int) -> Finding:
    return Finding(what, f"{number} of {of}", number == of if of else None)
