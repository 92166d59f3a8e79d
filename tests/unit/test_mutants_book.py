"""What a broken-off run of the mutants found is known to the next, for as long as it holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants import book
from tests.mutants.book import Book
from tests.mutants.mutant import Mutant, WrongMutantError, broken
from tests.mutants.trying import Result, try_one

KILLED = Result("a: b", 3, 1, 0.5, by="test_a.py::test_b")


@pytest.fixture
def mutant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mutant:
    """A guard in a tree of its own, and a test of it."""
    monkeypatch.setattr(book, "ROOT", tmp_path)
    (tmp_path / "a.py").write_text("if fit:\n")
    (tmp_path / "test_a.py").write_text("def test_b() -> None: ...\n")
    return Mutant("a: b", "a.py", "if fit:", "if True:", ("test_a.py",))


def noted(tmp_path: Path, mutant: Mutant, result: Result) -> Book:
    """A book that was closed after this result, and opened again."""
    Book(tmp_path / "book", resume=False).note(mutant, result)
    return Book(tmp_path / "book", resume=True)


def test_a_guard_that_was_missed_is_not_tried_again(tmp_path: Path, mutant: Mutant) -> None:
    assert noted(tmp_path, mutant, KILLED).known(mutant) == KILLED


@pytest.mark.parametrize("result", [replace(KILLED, failed=0), replace(KILLED, error="not over")])
def test_a_survivor_and_an_error_are_tried_again(
    tmp_path: Path, mutant: Mutant, result: Result
) -> None:
    assert noted(tmp_path, mutant, result).known(mutant) is None


@pytest.mark.parametrize("file", ["a.py", "test_a.py"])
def test_what_was_found_of_other_code_or_tests_is_not_known(
    tmp_path: Path, mutant: Mutant, file: str
) -> None:
    kept = noted(tmp_path, mutant, KILLED)
    path = tmp_path / file
    path.write_text(path.read_text() + "# changed\n")
    assert kept.known(mutant) is None


def test_what_was_found_of_another_mutant_is_not_known(tmp_path: Path, mutant: Mutant) -> None:
    assert noted(tmp_path, mutant, KILLED).known(replace(mutant, new="if 1:")) is None


def test_a_run_that_does_not_resume_begins_a_new_book(tmp_path: Path, mutant: Mutant) -> None:
    noted(tmp_path, mutant, KILLED)
    Book(tmp_path / "book", resume=False)
    assert Book(tmp_path / "book", resume=True).known(mutant) is None


def test_a_line_that_was_broken_off_is_no_result(tmp_path: Path, mutant: Mutant) -> None:
    noted(tmp_path, mutant, KILLED)
    path = tmp_path / "book"
    path.write_text(path.read_text() + '{"of": "1')
    assert Book(path, resume=True).known(mutant) == KILLED


def test_a_guard_that_moved_is_an_error_and_no_kill() -> None:
    gone = Mutant("x", "Makefile", "no such line in it", "", ("tests/unit/test_mutants.py",))
    assert try_one(gone).error
    assert not try_one(gone).killed
    with pytest.raises(WrongMutantError):
        broken("twice twice", "a", "twice", "once")
