"""What was found so far, so that a run that was broken off goes on where it stopped.

A line is good for as long as nothing it speaks of changed: the mutant, the files it changes, the
tests it asks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tests.mutants.mutant import Mutant
from tests.mutants.trying import ROOT, Result


def print_of(mutant: Mutant) -> str:
    """A fingerprint of everything that a result of this mutant speaks of."""
    files = {path for path, *_ in mutant.edits} | {t.partition("::")[0] for t in mutant.tests}
    texts = [(name, (ROOT / name).read_text(encoding="utf-8")) for name in sorted(files)]
    return hashlib.sha256(repr((mutant, texts)).encode()).hexdigest()


class Book:
    """Results on disk, a line each."""

    def __init__(self, path: Path, *, resume: bool) -> None:
        """`resume`: what the file holds is known; else it begins anew."""
        self._path = path
        self._known = dict(self._read()) if resume and path.exists() else {}
        if not resume:
            path.unlink(missing_ok=True)

    def known(self, mutant: Mutant) -> Result | None:
        """What was found before and still holds: a guard that was missed. One that survived, or of
        which nothing could be said, is tried again."""
        found = self._known.get(print_of(mutant))
        return found if found is not None and found.killed else None

    def note(self, mutant: Mutant, result: Result) -> None:
        """Keeps one result, at once."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"of": print_of(mutant)} | asdict(result))
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _read(self) -> Iterator[tuple[str, Result]]:
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                said = json.loads(line)
            except ValueError:  # the run was broken off in the middle of a line
                continue
            yield said.pop("of"), Result(**said)
