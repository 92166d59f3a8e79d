"""Breaks one guard in a copy of the tree and asks its tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import Mutant, WrongMutantError, broken

ROOT = Path(__file__).resolve().parents[2]

_SKIPPED = (
    ".venv", ".git", "__pycache__", ".*_cache", ".hypothesis", "build", "dist", "docs",
    "node_modules",
)  # fmt: skip
_TIMEOUT_S = 300
_ALL_TIMEOUT_S = 1800
_COUNT = re.compile(r"(\d+) (passed|failed|error)")
_FAILED = re.compile(r"^FAILED (.+?)(?: - |$)", re.MULTILINE)


@dataclass(frozen=True)
class Result:
    """What the tests said to a tree. `by` names the first that failed; `error` is set when they
    could not say anything."""

    name: str
    passed: int
    failed: int
    duration_s: float
    by: str = ""
    error: str = ""

    @property
    def verdict(self) -> str:
        """The result as people read it."""
        if self.error:
            return f"ERROR {self.error}"
        if not self.failed:
            return f"SURVIVED {self.passed} tests"
        return f"killed by {self.by}"

    @property
    def killed(self) -> bool:
        """A test noticed."""
        return self.failed > 0 and not self.error


@contextmanager
def _copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="muster-mutant-") as directory:
        tree = Path(directory) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*_SKIPPED))
        yield tree


def _ask(
    tree: Path, name: str, tests: Sequence[str], keyword: str, *more: str, most_s: int = _TIMEOUT_S
) -> Result:
    began = time.monotonic()
    environ = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider"]
    command += [*(("-k", keyword) if keyword else ()), *more, *tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environ, capture_output=True, text=True, timeout=most_s
        )
    except subprocess.TimeoutExpired:
        return Result(name, 0, 0, time.monotonic() - began, error=f"not over in {most_s} s")
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-200:]
    counts = {word: int(number) for number, word in _COUNT.findall(last)}
    passed, failed = counts.get("passed", 0), counts.get("failed", 0)
    first = _FAILED.search(done.stdout)
    error = ""
    fixtures = counts.get("error", 0)  # what breaks down after a test failed is no news
    if done.returncode not in (0, 1) or not passed or (fixtures and not failed):
        error = f"no verdict (status {done.returncode}): {last}"
    elif (done.returncode == 1) != (failed > 0):
        error = f"status {done.returncode}, yet {last}"
    by = first[1].removeprefix("tests/") if first else ""
    return Result(name, passed, failed, time.monotonic() - began, by, error)


def try_one(mutant: Mutant) -> Result:
    """Breaks one guard in a copy and asks its tests, until the first that fails. Where that is the
    very first, all of them are asked: only a tree in which some test passes is one without a
    guard, and not one without a program."""
    with _copy() as tree:
        try:
            for name, old, new in mutant.edits:
                path = tree / name
                path.write_text(broken(path.read_text(), name, old, new))
        except WrongMutantError as error:
            return Result(mutant.name, 0, 0, 0.0, error=str(error))
        result = _ask(tree, mutant.name, mutant.tests, mutant.keyword, "-x")
        if result.failed and not result.passed:
            return _ask(tree, mutant.name, mutant.tests, mutant.keyword)
        return result


def as_it_is(chosen: Sequence[Mutant], jobs: int) -> list[Result]:
    """What the same tests say to the tree as it is, `jobs` at a time: they must pass."""
    with _copy() as tree:
        return [
            _ask(
                tree,
                f"as it is ({keyword or 'whole files'})",
                sorted({t for m in chosen if m.keyword == keyword for t in m.tests}),
                keyword,
                "-n",
                str(jobs),
                most_s=_ALL_TIMEOUT_S,
            )
            for keyword in sorted({m.keyword for m in chosen})
        ]
