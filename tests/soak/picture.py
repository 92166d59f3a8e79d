"""The samples of a soak as a picture: one panel for each figure, one time for all of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from tests.soak.sample import Sample

_WIDE, _LEFT, _RIGHT, _TOP = 980, 64, 150, 74
_HIGH, _GAP = 104, 40
_INKS = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#16a085", "#7f8c8d")
_BANDS = {
    "gateway restarted": "#cfe3f5", "gateway killed": "#f5cfcf", "machines silent": "#e9e9e9",
    "GPUs lost": "#e9e9e9", "sweeper paused": "#f7e7c4", "store stalled": "#e5d4f1",
}  # fmt: skip

Line = list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One figure over time, several lines of it."""

    title: str
    lines: dict[str, Line]


def panels(samples: Sequence[Sample]) -> list[Panel]:
    """What is shown."""
    names = sorted({name for sample in samples for name in sample.parts})
    gateways = [name for name in names if name.startswith("gateway")]
    return [
        Panel("memory, MiB", {n: _part(samples, n, lambda s: s.rss / 2**20) for n in names}),
        Panel(
            "memory the store says it uses, MiB",
            {"store": [(s.at_s, s.store_bytes / 2**20) for s in samples]},
        ),
        Panel("node sockets", {n: _part(samples, n, lambda s: s.sockets) for n in gateways}),
        Panel(
            "descriptors beside sockets",
            {n: _part(samples, n, lambda s: s.descriptors - s.sockets) for n in names},
        ),
        Panel(
            "in the store, thousands",
            {
                "keys": [(s.at_s, s.keys / 1000) for s in samples],
                "events kept": [(s.at_s, s.events / 1000) for s in samples],
            },
        ),
        Panel("processor, cores", _cores(samples)),
        Panel("heartbeat to its ack, ms", _waits(samples, lambda s: (s.ack.p50, s.ack.p99))),
        Panel(
            "heartbeat to store, ms (by a line through its bucket)",
            _waits(samples, lambda s: (s.to_store.p50, s.to_store.p99)),
        ),
        Panel("select, ms", _waits(samples, lambda s: (s.select.p50, s.select.p99))),
        Panel("machines ready", {"ready": [(s.at_s, float(s.ready)) for s in samples]}),
    ]


def drawn(samples: Sequence[Sample], title: str) -> str:
    """The picture as SVG."""
    shown = panels(samples)
    high = _TOP + len(shown) * (_HIGH + _GAP)
    end = samples[-1].at_s if samples else 1.0
    out = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {high}" '
            f'width="{_WIDE}" height="{high}" font-family="sans-serif" font-size="11">'
        ),
        f'<rect width="{_WIDE}" height="{high}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="15">{escape(title)}</text>',
        *_legend(),
    ]
    for place, panel in enumerate(shown):
        out += _panel(panel, samples, end, _TOP + place * (_HIGH + _GAP))
    return "\n".join([*out, "</svg>"]) + "\n"


def _x(at_s: float, end: float) -> float:
    return _LEFT + at_s / end * (_WIDE - _LEFT - _RIGHT)


def _panel(panel: Panel, samples: Sequence[Sample], end: float, top: int) -> list[str]:
    values = [value for line in panel.lines.values() for _, value in line]
    most = _round(max(values, default=1.0))
    bottom = top + _HIGH
    out = _bands(samples, end, top)
    out.append(f'<text x="{_LEFT}" y="{top - 6}" font-weight="bold">{escape(panel.title)}</text>')
    for part in (0.0, 0.5, 1.0):
        y = bottom - part * _HIGH
        out.append(
            f'<path d="M{_LEFT} {y:.1f}H{_WIDE - _RIGHT}" stroke="#ccc"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most * part:g}</text>'
        )
    for minute in _ticks(end):
        out.append(
            f'<text x="{_x(minute * 60, end):.1f}" y="{bottom + 14}" text-anchor="middle" '
            f'fill="#555">{minute:g} min</text>'
        )
    ends: list[float] = []
    for place, (name, line) in enumerate(panel.lines.items()):
        if not line:
            continue
        ink = _INKS[place % len(_INKS)]
        points = " ".join(
            f"{_x(at, end):.1f},{bottom - value / most * _HIGH:.1f}" for at, value in line
        )
        y = _beside(bottom - line[-1][1] / most * _HIGH + 4, ends, bottom + 10)
        out.append(
            f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="1.5"/>'
            f'<text x="{_WIDE - _RIGHT + 8}" y="{y:.1f}" fill="{ink}">'
            f"{escape(name)} {line[-1][1]:.4g}</text>"
        )
    return out


def _beside(y: float, taken: list[float], lowest: float) -> float:
    """The nearest place for a word that lies on no other, and not below the panel."""
    places = (y + step * 4 for step in sorted(range(-40, 41), key=abs))
    free = next(
        place
        for place in places
        if place <= lowest and all(abs(place - other) >= 12 for other in taken)
    )
    taken.append(free)
    return free


def _bands(samples: Sequence[Sample], end: float, top: int) -> list[str]:
    out, before = [], 0.0
    for sample in samples:
        for name in sample.during:
            x = _x(before, end)
            out.append(
                f'<rect x="{x:.1f}" y="{top}" width="{_x(sample.at_s, end) - x:.1f}" '
                f'height="{_HIGH}" fill="{_BANDS.get(name, "#eee")}" fill-opacity="0.6"/>'
            )
        before = sample.at_s
    return out


def _legend() -> list[str]:
    out, x = [], _LEFT
    for name, ink in _BANDS.items():
        out.append(
            f'<rect x="{x}" y="36" width="12" height="12" fill="{ink}"/>'
            f'<text x="{x + 17}" y="46">{name}</text>'
        )
        x += 34 + 6 * len(name)
    return out


def _part(samples: Sequence[Sample], name: str, value: Callable[..., float]) -> Line:
    return [(s.at_s, float(value(s.parts[name]))) for s in samples if name in s.parts]


def _cores(samples: Sequence[Sample]) -> dict[str, Line]:
    lines: dict[str, Line] = {"gateways": [], "sweepers": [], "store": []}
    for before, after in pairwise(samples):
        cores = dict.fromkeys(lines, 0.0)
        for name, part in after.parts.items():
            kind = "store" if name == "store" else f"{name.split()[0]}s"
            early = before.parts.get(name)
            began = early.cpu_s if early and early.pid == part.pid else 0.0
            cores[kind] += (part.cpu_s - began) / (after.at_s - before.at_s)
        for kind, used in cores.items():
            lines[kind].append((after.at_s, used))
    return lines


def _waits(
    samples: Sequence[Sample], of: Callable[[Sample], tuple[float | None, float | None]]
) -> dict[str, Line]:
    lines: dict[str, Line] = {"p50": [], "p99": []}
    for sample in samples:
        for name, seconds in zip(lines, of(sample), strict=True):
            if seconds is not None:
                lines[name].append((sample.at_s, seconds * 1000))
    return lines


def _round(most: float) -> float:
    """The next of 1, 2, 5 and their tenfolds."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= most * 0.9999)


def _ticks(end: float) -> list[float]:
    minutes = end / 60
    step = next((s for s in (0.25, 0.5, 1, 2, 5, 10, 30) if minutes / s <= 8), 60)
    return [n * step for n in range(int(minutes / step) + 1)]
