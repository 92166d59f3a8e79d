"""What a benchmark says: rows with their floor of the same run, medians, and processor time."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psutil

from bench import booted


@dataclass(frozen=True)
class Row:
    """One measured thing. `samples` and `floor_samples` are the repeats the medians come from;
    where nothing was promised there is no `target`."""

    what: str
    unit: str
    samples: Sequence[float]
    floor_samples: Sequence[float]
    floor_is: str
    target: float | None
    note: str = ""

    @property
    def measured(self) -> float:
        return statistics.median(self.samples)

    @property
    def floor(self) -> float | None:
        return statistics.median(self.floor_samples) if self.floor_samples else None

    @property
    def ratio(self) -> float | None:
        return self.measured / self.floor if self.floor else None

    @property
    def reached(self) -> bool | None:
        return None if self.target is None else self.measured <= self.target

    def as_dict(self) -> dict[str, Any]:
        """The row for machines."""
        return {
            "what": self.what, "unit": self.unit, "measured": round(self.measured, 3),
            "floor": None if self.floor is None else round(self.floor, 3),
            "ratio": None if self.ratio is None else round(self.ratio, 3),
            "target": self.target, "reached": self.reached, "floor_is": self.floor_is,
            "samples": [round(x, 3) for x in self.samples],
            "floor_samples": [round(x, 3) for x in self.floor_samples], "note": self.note,
        }  # fmt: skip


@dataclass
class Report:
    """One run on one machine."""

    quick: bool
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    boot: dict[str, Any] = field(default_factory=dict)
    when: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    duration_s: float = 0.0
    busy: float = field(default_factory=lambda: os.getloadavg()[0])

    @property
    def machine(self) -> str:
        return (
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, "
            f"Python {platform.python_version()}"
        )

    def as_dict(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "when": self.when, "machine": self.machine, "duration_s": round(self.duration_s, 1),
            "load_average_before": round(self.busy, 2),
            "quick": self.quick, "rows": [row.as_dict() for row in self.rows],
            "failures": self.failures, "boot": self.boot,
        }  # fmt: skip

    def as_text(self) -> str:
        """The report for people."""
        heads = ("what", "measured", "floor", "ratio", "target", "")
        table = [heads, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in table) for i in range(len(heads))]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in table
        ]
        lines += ["", *(f"{row.what}: floor: {row.floor_is}. {row.note}".rstrip(". ") + "."
                        for row in self.rows)]  # fmt: skip
        if self.boot:
            found = booted.pairs(self.boot)
            wide = max(len(what) for what, _ in found)
            lines += ["", "a fleet boots", *(f"  {what:{wide}}  {how}" for what, how in found)]
        lines += [f"not measured: {failure}" for failure in self.failures]
        kind = "quick run, for orientation only" if self.quick else "one run"
        lines += [
            "",
            (
                f"{self.when}, {kind} on {self.machine}, {self.duration_s:.0f} s, "
                f"load average {self.busy:.1f} before it"
            ),
        ]
        return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"{row.what}, {row.unit}",
        f"{row.measured:.1f}",
        "" if row.floor is None else f"{row.floor:.1f}",
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if row.target is None else f"{row.target:g}",
        "" if row.reached is None else "reached" if row.reached else "not reached",
    )


class Processor:
    """Processor time of one process as the operating system accounts it, in microseconds."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

    def used_us(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system) * 1e6

    def resident(self) -> int:
        """Resident bytes."""
        return int(self._process.memory_info().rss)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Says on stderr what is going on, and how long it took."""
    begun = time.monotonic()
    print(f"  {what} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print(f" {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
