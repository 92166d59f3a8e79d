"""Charts as SVG, drawn by the project itself: a page, words on it, and lines over two axes. Pure.

A chart is a `Plot`: a box on the page and what its edges stand for. Whoever draws one decides what
is ruled, marked and named; here is only where things lie.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

INKS = (
    "#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#16a085", "#7f8c8d", "#34495e",
    "#a04000", "#5d6d7e", "#b03a8b",
)  # fmt: skip
"""Colours of lines, in the order in which they are taken; then they begin anew."""

_LINE_HIGH = 12


def ink(place: int) -> str:
    """The colour of the line that is drawn as number `place`, from 0."""
    return INKS[place % len(INKS)]


def page(wide: float, high: float, parts: Iterable[str], *, size: int = 12) -> str:
    """A whole picture on white, `size` the height of its letters."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {high:g}" '
        f'width="{wide:g}" height="{high:g}" font-family="sans-serif" font-size="{size}">'
    )
    return "\n".join([head, box(0, 0, wide, high, "#fff"), *parts, "</svg>"]) + "\n"


def box(x: float, y: float, wide: float, high: float, colour: str, *, opacity: float = 1) -> str:
    """A filled rectangle."""
    clear = "" if opacity == 1 else f' fill-opacity="{opacity:g}"'
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" '
        f'fill="{colour}"{clear}/>'
    )


def words(
    x: float, y: float, said: str, *, anchor: str = "start", size: int = 0, colour: str = "",
    bold: bool = False,
) -> str:  # fmt: skip
    """A line of text whose foot is at `y`; `anchor` is `start`, `middle` or `end`."""
    more = "" if anchor == "start" else f' text-anchor="{anchor}"'
    more += f' font-size="{size}"' if size else ""
    more += f' fill="{colour}"' if colour else ""
    more += ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(said)}</text>'


def spread(wanted: Sequence[float], lowest: float) -> list[float]:
    """Heights near those wanted, in their order, at which no word lies on another, and none below
    `lowest` (as far as they fit)."""
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    found = list(wanted)
    for above, place in pairwise(order):
        found[place] = max(found[place], found[above] + _LINE_HIGH)
    limit = lowest
    for place in reversed(order):
        found[place] = min(found[place], limit)
        limit = found[place] - _LINE_HIGH
    return found


def rounded(most: float) -> float:
    """The next of 1, 2, 5 and their tenfolds."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= most * 0.9999)


@dataclass(frozen=True)
class Scale:
    """What the two ends of an axis stand for; with `tenfold` each step of it is a factor of ten."""

    low: float
    high: float
    tenfold: bool = False

    def part(self, value: float) -> float:
        """How far along the axis a value lies: 0 at its beginning, 1 at its end."""
        low, high = self.low, self.high
        if self.tenfold:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return (value - low) / (high - low) if high > low else 0.5

    @classmethod
    def of(cls, values: Iterable[float]) -> Scale:
        """Tenfold steps around some values above 0."""
        logs = [math.log10(value) for value in values]
        low, high = math.floor(min(logs)), math.ceil(max(logs))
        return cls(10.0**low, 10.0 ** max(high, low + 1), tenfold=True)

    @property
    def tens(self) -> list[float]:
        """The powers of ten on it."""
        low, high = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        return [10.0**power for power in range(low, high + 1)]


@dataclass(frozen=True)
class Plot:
    """A box whose lower left corner is the beginning of both axes."""

    left: float
    top: float
    wide: float
    high: float
    x: Scale
    y: Scale

    @property
    def right(self) -> float:
        return self.left + self.wide

    @property
    def bottom(self) -> float:
        return self.top + self.high

    def x_of(self, value: float) -> float:
        return self.left + self.x.part(value) * self.wide

    def y_of(self, value: float) -> float:
        return self.bottom - self.y.part(value) * self.high

    def ruled(self, values: Iterable[float]) -> list[str]:
        """A thin line across at each value, which stands before it."""
        return [
            f'<path d="M{self.left:g} {self.y_of(v):.1f}H{self.right:g}" stroke="#ddd"/>'
            + words(self.left - 6, self.y_of(v) + 4, f"{v:g}", anchor="end")
            for v in values
        ]

    def marked(self, ticks: Iterable[tuple[float, str]], *, below: int = 16) -> list[str]:
        """A word below each place."""
        return [
            words(self.x_of(at), self.bottom + below, said, anchor="middle", colour="#555")
            for at, said in ticks
        ]

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float = 2) -> str:
        drawn = " ".join(f"{self.x_of(x):.1f},{self.y_of(y):.1f}" for x, y in points)
        return (
            f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>'
        )

    def pointer(self, point: tuple[float, float], y: float, colour: str) -> str:
        """A faint line from a point to height `y` right of the box, where its name stands."""
        x, from_y = self.x_of(point[0]), self.y_of(point[1])
        return (
            f'<path d="M{x + 5:.1f} {from_y:.1f}L{self.right + 4:.1f} {y:.1f}" '
            f'stroke="{colour}" stroke-opacity="0.3"/>'
        )

    def dots(self, points: Iterable[tuple[float, float]], colour: str) -> list[str]:
        return [
            f'<circle cx="{self.x_of(x):.1f}" cy="{self.y_of(y):.1f}" r="3" fill="{colour}"/>'
            for x, y in points
        ]
