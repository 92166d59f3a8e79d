"""The samples of a soak as a picture: one panel for each figure, one time for all of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.drawing import Plot, Scale, box, ink, page, rounded, spread, words
from tests.soak.sample import Sample

_WIDE, _LEFT, _RIGHT, _TOP = 980, 64, 150, 74
_HIGH, _GAP = 104, 40
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
    end = samples[-1].at_s if samples else 1.0
    out = [words(_LEFT, 24, title, size=15), *_legend()]
    for place, panel in enumerate(shown):
        out += _panel(panel, samples, end, _TOP + place * (_HIGH + _GAP))
    return page(_WIDE, _TOP + len(shown) * (_HIGH + _GAP), out, size=11)


def _panel(panel: Panel, samples: Sequence[Sample], end: float, top: int) -> list[str]:
    values = [value for line in panel.lines.values() for _, value in line]
    most = rounded(max(values, default=1.0))
    plot = Plot(_LEFT, top, _WIDE - _LEFT - _RIGHT, _HIGH, Scale(0, end), Scale(0, most))
    out = [
        *_bands(samples, plot),
        words(_LEFT, top - 6, panel.title, bold=True),
        *plot.ruled([0.0, most / 2, most]),
        *plot.marked([(minute * 60, f"{minute:g} min") for minute in _ticks(end)], below=14),
    ]
    lines = [(place, *named) for place, named in enumerate(panel.lines.items()) if named[1]]
    heights = spread([plot.y_of(line[-1][1]) + 4 for _, _, line in lines], plot.bottom + 10)
    for (place, name, line), y in zip(lines, heights, strict=True):
        out += [
            plot.line(line, ink(place), 1.5),
            words(plot.right + 8, y, f"{name} {line[-1][1]:.4g}", colour=ink(place)),
        ]
    return out


def _bands(samples: Sequence[Sample], plot: Plot) -> list[str]:
    out, before = [], 0.0
    for sample in samples:
        x = plot.x_of(before)
        for name in sample.during:
            wide = plot.x_of(sample.at_s) - x
            out.append(box(x, plot.top, wide, _HIGH, _BANDS.get(name, "#eee"), opacity=0.6))
        before = sample.at_s
    return out


def _legend() -> list[str]:
    out: list[str] = []
    x = _LEFT
    for name, colour in _BANDS.items():
        out += [box(x, 36, 12, 12, colour), words(x + 17, 46, name)]
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


def _ticks(end: float) -> list[float]:
    minutes = end / 60
    step = next((s for s in (0.25, 0.5, 1, 2, 5, 10, 30) if minutes / s <= 8), 60)
    return [n * step for n in range(int(minutes / step) + 1)]
