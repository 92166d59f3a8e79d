"""What kept runs of `make bench` found, one line each: so that a slow loss is seen, not felt.

A line holds when, where and of which commit was measured, and each row's ratio to the floor of its
own run: ratios of different days and machines can be laid side by side, microseconds can't. Lines
are only ever added.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.drawing import Plot, Scale, ink, page, spread, words

HISTORY = Path(__file__).resolve().parent / "history.jsonl"
_ROOT = HISTORY.parents[1]
_WIDE, _HIGH, _LEFT, _TOP, _RIGHT, _BOTTOM = 980, 460, 50, 50, 390, 50


@dataclass(frozen=True)
class Kept:
    """One run. `ratios` are by row, how many times its floor each cost; rows without one are not
    among them."""

    when: str
    machine: str
    commit: str
    load_average_before: float
    ratios: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, report: dict[str, Any], commit: str) -> Kept:
        """What `python -m bench --json` tells, as a line of the history."""
        rows = report["rows"]
        return cls(
            when=report["when"],
            machine=report["machine"],
            commit=commit,
            load_average_before=report["load_average_before"],
            ratios={row["what"]: row["ratio"] for row in rows if row["ratio"] is not None},
        )

    def line(self) -> str:
        return json.dumps(vars(self), ensure_ascii=False) + "\n"


def read(path: Path = HISTORY) -> list[Kept]:
    """Every run that was kept, the oldest first; none if there is no such file."""
    if not path.exists():
        return []
    runs = [Kept(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(runs, key=lambda run: run.when)


def add(report: dict[str, Any], path: Path = HISTORY) -> None:
    """Adds a run at the end."""
    with path.open("a", encoding="utf-8") as file:
        file.write(Kept.of(report, commit()).line())


def commit() -> str:
    """What is measured: the commit, with a `+` where files that git knows differ from it, or
    `unknown` outside a repository."""
    try:
        found = _git("rev-parse", "--short", "HEAD")
        return found + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*order: str) -> str:
    done = subprocess.run(
        ["git", *order], cwd=_ROOT, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def drawn(runs: Sequence[Kept]) -> str:
    """The history as SVG: runs from left to right, a line for each row that has a ratio."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for place, run in enumerate(runs):
        for what, ratio in run.ratios.items():
            lines.setdefault(what, []).append((place, ratio))
    values = [ratio for line in lines.values() for _, ratio in line] or [1.0]
    plot = Plot(
        _LEFT, _TOP, _WIDE - _LEFT - _RIGHT, _HIGH - _TOP - _BOTTOM,
        Scale(-0.5, max(0.5, len(runs) - 0.5)), Scale.of(values),
    )  # fmt: skip
    parts = [
        words(_LEFT, 24, "How many times the floor of its own run each costs", size=15),
        *plot.ruled(plot.y.tens),
        *_dates(plot, runs),
    ]
    dearest_first = sorted(lines.items(), key=lambda pair: -pair[1][-1][1])
    heights = spread([plot.y_of(line[-1][1]) + 4 for _, line in dearest_first], plot.bottom + 10)
    for place, ((what, line), y) in enumerate(zip(dearest_first, heights, strict=True)):
        x, ratio = line[-1]
        parts += [
            plot.line(line, ink(place)),
            *plot.dots(line, ink(place)),
            plot.pointer((x, ratio), y - 4, ink(place)),
            words(plot.right + 8, y, f"{ratio:.3g}  {what}", colour=ink(place)),
        ]
    return page(_WIDE, _HIGH, parts)


def _dates(plot: Plot, runs: Sequence[Kept]) -> list[str]:
    """Below each run its day and commit; of many runs only some are named."""
    step = max(1, -(-len(runs) // 8))
    named = [(place, run) for place, run in enumerate(runs) if place % step == 0]
    return [
        *plot.marked([(place, run.when[:10]) for place, run in named], below=18),
        *plot.marked([(place, run.commit) for place, run in named], below=34),
    ]
