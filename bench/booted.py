"""What a boot of a whole fleet came to: moments noted on the way, made into figures. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Moment:
    """How far it is after `at_s` seconds: nodes that became ready (or were called offline since),
    nodes that wait to be judged, by how many seconds the most overdue alarm of the last round was
    late, and the processor time that store and sweepers spent since the beginning, µs."""

    at_s: float
    judged: int
    waiting: int
    overdue_s: float
    store_us: float
    sweeper_us: float


def slices(moments: Sequence[Moment], parts: int) -> list[tuple[float, float]]:
    """The processor time of store and sweepers for each node, µs, in so many parts of the boot with
    about as many nodes each; fewer where it was not looked at so often."""
    first, last = moments[0].judged, moments[-1].judged
    edges = [moments[0]]
    for part in range(1, parts + 1):
        wanted = first + (last - first) * part / parts
        edges.append(next(m for m in moments if m.judged >= wanted))
    return [
        (
            (late.store_us - early.store_us) / (late.judged - early.judged),
            (late.sweeper_us - early.sweeper_us) / (late.judged - early.judged),
        )
        for early, late in pairwise(edges)
        if late.judged > early.judged
    ]


def summary(
    nodes: int, written_s: float, moments: Sequence[Moment], lags_ms: Sequence[int]
) -> dict[str, Any]:
    """The figures of a boot of `nodes`, whose last heartbeat was stored after `written_s`; a lag is
    the time from a node's last heartbeat to its being ready, for each that is."""
    lags, last = sorted(lags_ms), moments[-1]

    def lag(quantile: float) -> int | None:
        return lags[min(len(lags) - 1, int(len(lags) * quantile))] if lags else None

    return {
        "nodes": nodes,
        "ready": len(lags),
        "written_s": round(written_s, 1),
        "ready_s": round(last.at_s, 1),
        "nodes_per_s": round(len(lags) / last.at_s, 1),
        "ready_after_last_beat_ms": {"p50": lag(0.5), "p99": lag(0.99), "max": lag(1.0)},
        "most_waiting": max(moment.waiting for moment in moments),
        "most_overdue_s": round(max(moment.overdue_s for moment in moments), 2),
        "store_us_a_node": round(last.store_us / nodes, 1),
        "sweeper_us_a_node": round(last.sweeper_us / nodes, 1),
        "store_cores": round(last.store_us / 1e6 / last.at_s, 2),
        "sweeper_cores": round(last.sweeper_us / 1e6 / last.at_s, 2),
    }


def pairs(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The same in words: what, and what was found."""
    lag, nodes = found["ready_after_last_beat_ms"], _number(found["nodes"])
    every = found["ready"] == found["nodes"]
    return [
        ("registered, three good heartbeats each", f"{nodes} nodes, {found['written_s']:.0f} s"),
        (
            "ready",
            f"all, after {found['ready_s']:.0f} s" if every
            else f"**{_number(found['ready'])} of {nodes}**",
        ),
        ("pace", f"{_number(found['nodes_per_s'])} nodes a second"),
        (
            "ready after its third heartbeat: p50 / p99 / most",
            " / ".join("—" if ms is None else f"{_number(ms)} ms" for ms in lag.values()),
        ),
        ("most nodes that waited to be judged", _number(found["most_waiting"])),
        ("most overdue alarm", f"{found['most_overdue_s']:.2f} s"),
        (
            "CPU for each node, sweepers / store",
            f"{found['sweeper_us_a_node']:.0f} / {found['store_us_a_node']:.0f} µs",
        ),
        (
            "cores meanwhile, sweepers / store",
            f"{found['sweeper_cores']:.2f} / {found['store_cores']:.2f}",
        ),
    ]  # fmt: skip


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")
