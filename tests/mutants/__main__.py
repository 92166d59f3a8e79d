"""`python -m tests.mutants`: breaks each guard in turn; the suite must fail every time.

Status 0: every guard is missed when gone. 1: one is not. 2: the check itself did not work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.mutants.book import Book
from tests.mutants.mutant import Mutant
from tests.mutants.rooms import rooms
from tests.mutants.trying import ROOT, Result, as_it_is, try_one

_BOOK = ROOT / "build" / "mutants.jsonl"
_WIDTH = 56

Sayer = Callable[[str], None]


@dataclass
class Run:
    """What one run found, and what it says about it."""

    guards: list[Result] = field(default_factory=list)
    whole: list[Result] = field(default_factory=list)
    known: int = 0
    began: float = field(default_factory=time.monotonic)
    when: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    machine: str = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    python: str = platform.python_version()

    @property
    def sound(self) -> bool:
        """The tests pass while nothing is broken."""
        return all(not r.error and not r.failed for r in self.whole)

    @property
    def killed(self) -> int:
        """Guards that were missed."""
        return sum(1 for r in self.guards if r.killed)

    @property
    def errors(self) -> int:
        """Guards of which nothing could be said."""
        return sum(1 for r in self.guards if r.error)

    @property
    def survived(self) -> int:
        """Guards that nobody missed."""
        return len(self.guards) - self.killed - self.errors

    @property
    def status(self) -> int:
        """The exit status."""
        if not self.sound or self.errors:
            return 2
        return 1 if self.survived else 0

    def summary(self) -> str:
        """The last line."""
        before = f" ({self.known} known from a run before)" if self.known else ""
        return (
            f"{len(self.guards)} guards: {self.killed} killed{before}, {self.survived} survived,"
            f" {self.errors} errors - {self.when}, {self.machine}, Python {self.python},"
            f" {time.monotonic() - self.began:.0f} s"
        )

    def json(self) -> str:
        """All of it as one JSON document."""
        found = {
            "when": self.when, "machine": self.machine, "python": self.python,
            "duration_s": round(time.monotonic() - self.began, 1), "known_before": self.known,
            "killed": self.killed, "survived": self.survived, "errors": self.errors,
            "as_it_is": [asdict(r) for r in self.whole],
            "guards": [asdict(r) | {"verdict": r.verdict} for r in self.guards],
        }  # fmt: skip
        return json.dumps(found, indent=2)


def main(arguments: list[str] | None = None) -> int:
    """0: every guard is missed when gone. 1: one is not. 2: the check itself did not work."""
    options = _options(arguments)
    chosen = [
        mutant
        for room, mutants in rooms().items()
        for mutant in mutants
        if (not options.room or room in options.room)
        and (not options.only or options.only in mutant.name)
        and (not options.path or any(p.startswith(options.path) for p, *_ in mutant.edits))
    ]
    if not chosen:
        print("no guard is meant by that; --list names them", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(m.name for m in chosen))
        return 0
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        if not options.json:
            print(line, flush=True)

    run = _try(chosen, options.jobs, Book(options.book, resume=options.resume), say)
    say(run.summary())
    if options.json:
        print(run.json())
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return run.status


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description="Breaks each guard in turn, in a copy of the tree: the suite must fail.",
    )
    add = parser.add_argument
    names = list(rooms())
    add("--room", metavar="ROOM", action="append", choices=names, help=f"one of {', '.join(names)}")
    add("--only", metavar="NAME", help="guards whose name contains this")
    add("--path", metavar="PATH", help="guards in files whose path begins so: gateway/")
    add("--list", action="store_true", help="name the guards and end")
    add("--json", action="store_true", help="one JSON document instead of lines")
    add("--out", type=Path, metavar="FILE", help="write the lines here too")
    add("--jobs", type=int, default=2, help="copies tried at once (2)")
    add("--resume", action="store_true", help="go on where a run was broken off: a guard that was"
        " missed, and of which nothing changed since, is not tried again")  # fmt: skip
    add("--book", type=Path, default=_BOOK, metavar="FILE", help="where a run keeps what it found"
        " (build/mutants.jsonl)")  # fmt: skip
    return parser.parse_args(arguments)


def _try(chosen: Sequence[Mutant], jobs: int, book: Book, say: Sayer) -> Run:
    """The tests as they are, then every guard that is not known."""
    run = Run()
    jobs = max(1, jobs)
    known = {mutant.name: book.known(mutant) for mutant in chosen}
    unknown = [mutant for mutant in chosen if known[mutant.name] is None]
    run.known = len(chosen) - len(unknown)
    run.whole = as_it_is(unknown, jobs)
    for result in run.whole:
        fine = not result.error and not result.failed
        said = f"{result.passed} passed" if fine else f"FAILS {result.verdict}"
        say(f"{result.name:<{_WIDTH}} {said}")
    if not run.sound:
        return run

    def found(mutant: Mutant) -> Result:
        before = known[mutant.name]
        if before is not None:
            return before
        result = try_one(mutant)
        book.note(mutant, result)
        return result

    with ThreadPoolExecutor(jobs) as pool:
        for result in pool.map(found, chosen):
            run.guards.append(result)
            say(f"{result.name:<{_WIDTH}} {result.verdict}")
    return run


if __name__ == "__main__":
    sys.exit(main())
