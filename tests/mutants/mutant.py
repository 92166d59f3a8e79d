"""One guard, and how it is broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

Edit = tuple[str, str, str]
# A row of a room: name, old, new, and what else is changed in the same way.
Row = tuple[str, str, str] | tuple[str, str, str, tuple[Edit, ...]]


@dataclass(frozen=True)
class Mutant:
    """One guard, and how it is broken: `old` becomes `new` in `path`, and in the same way whatever
    `too` names; `tests`, those of them that `keyword` chooses (as pytest's `-k`), must notice."""

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]
    keyword: str = ""
    too: tuple[Edit, ...] = ()

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Everything that is changed: path, old, new."""
        return ((self.path, self.old, self.new), *self.too)


class WrongMutantError(Exception):
    """A replacement that does not match exactly once: the guard moved, or the text is not one."""


def broken(text: str, path: str, old: str, new: str) -> str:
    """The text without its guard. Raises WrongMutantError unless it matches exactly once."""
    found = text.count(old)
    if found != 1:
        raise WrongMutantError(f"{path} holds {old!r} {found} times, not once")
    return text.replace(old, new)


def contract(*names: str) -> tuple[str, ...]:
    """Files of the contract suite; a mutant asks them on the embedded store alone."""
    return tuple(f"tests/contract/test_{name}.py" for name in names)


def unit(*names: str) -> tuple[str, ...]:
    """Files of unit tests."""
    return tuple(f"tests/unit/test_{name}.py" for name in names)


def integration(*names: str) -> tuple[str, ...]:
    """Files of tests with real processes."""
    return tuple(f"tests/integration/test_{name}.py" for name in names)


def guards(
    path: str,
    tests: tuple[str, ...],
    *rows: Row,
    prefix: str = "",
    keyword: str | None = None,
) -> Iterator[Mutant]:
    """The guards of one file that the same tests miss. Their names begin with `prefix`, else with
    the file's own name; of contract tests those on the embedded store are asked unless `keyword`
    chooses others."""
    if keyword is None:
        keyword = "valkey" if tests[0].startswith("tests/contract/") else ""
    for row in rows:
        name, old, new = row[:3]
        too = row[3] if len(row) == 4 else ()
        named = f"{prefix or Path(path).stem}: {name}"
        yield Mutant(named, path, old, new, tests, keyword, too)
