"""What was seen, in a form in which the books of several processes add up. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_STEP = math.log(1.05)


@dataclass
class Spread:
    """How long something took, in seconds: places 5 % apart from 0.1 ms, and the exact greatest.

    A quantile is the upper edge of its place, so at most 5 % too much and never too little.
    """

    places: Counter[int] = field(default_factory=Counter)
    greatest: float = 0.0

    def add(self, seconds: float) -> None:
        self.places[math.ceil(math.log(max(seconds, 1e-4) / 1e-4) / _STEP)] += 1
        self.greatest = max(self.greatest, seconds)

    @property
    def count(self) -> int:
        return self.places.total()

    def quantile(self, part: float) -> float | None:
        """Seconds that this part (0 to 1) did not exceed; None where nothing was seen."""
        left = math.ceil(part * self.count)
        for place in sorted(self.places):
            left -= self.places[place]
            if left <= 0:
                return min(1e-4 * math.exp(place * _STEP), self.greatest)
        return None

    def as_dict(self) -> dict[str, Any]:
        """For the way between processes."""
        return {"places": {str(k): v for k, v in self.places.items()}, "greatest": self.greatest}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Spread:
        """Of `as_dict`."""
        places = Counter({int(k): int(v) for k, v in told["places"].items()})
        return cls(places, float(told["greatest"]))

    def shown(self) -> dict[str, float | int | None]:
        """For people and programs: seconds."""

        def rounded(value: float | None) -> float | None:
            return None if value is None else round(value, 4)

        return {
            "count": self.count,
            "p50": rounded(self.quantile(0.5)),
            "p99": rounded(self.quantile(0.99)),
            "max": rounded(self.greatest) if self.count else None,
        }


@dataclass
class Book:
    """Counts and times by name; `now` is how things stand, all others only grow."""

    counts: Counter[str] = field(default_factory=Counter)
    spreads: dict[str, Spread] = field(default_factory=dict)
    now: Counter[str] = field(default_factory=Counter)
    interval_ms: int = 0
    timeout_ms: int = 0
    first_error: str = ""

    def took(self, what: str, seconds: float) -> None:
        """Notes one duration."""
        self.spreads.setdefault(what, Spread()).add(seconds)

    def spread(self, what: str) -> Spread:
        """The durations of something, none if it was never seen."""
        return self.spreads.get(what, Spread())

    def as_dict(self) -> dict[str, Any]:
        """For the way between processes."""
        return {
            "counts": dict(self.counts),
            "spreads": {k: v.as_dict() for k, v in self.spreads.items()},
            "now": dict(self.now),
            "interval_ms": self.interval_ms,
            "timeout_ms": self.timeout_ms,
            "first_error": self.first_error,
        }

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Book:
        """Of `as_dict`."""
        return cls(
            Counter(told["counts"]),
            {k: Spread.of(v) for k, v in told["spreads"].items()},
            Counter(told["now"]),
            int(told["interval_ms"]),
            int(told["timeout_ms"]),
            str(told["first_error"]),
        )


def summed(books: Iterable[Book]) -> Book:
    """One book of many; what a server told (interval, time-out) is the greatest."""
    whole = Book()
    for book in books:
        whole.counts.update(book.counts)
        whole.now.update(book.now)
        whole.interval_ms = max(whole.interval_ms, book.interval_ms)
        whole.timeout_ms = max(whole.timeout_ms, book.timeout_ms)
        whole.first_error = whole.first_error or book.first_error
        for what, spread in book.spreads.items():
            into = whole.spreads.setdefault(what, Spread())
            into.places.update(spread.places)
            into.greatest = max(into.greatest, spread.greatest)
    return whole
