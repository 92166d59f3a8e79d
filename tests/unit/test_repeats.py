"""Libraries say a thing a few times; then it is counted."""

from __future__ import annotations

import logging

import pytest

from gateway.repeats import MOST, WINDOW_S, Repeats, bound_libraries


class Told(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Library:
    """A logger with the filter, what came of it, and the time."""

    def __init__(self) -> None:
        self.s = 100.0
        self.logger = logging.Logger("library")
        self.logger.addFilter(Repeats(lambda: self.s))
        self.told = Told()
        self.logger.addHandler(self.told)


def test_a_thousand_lines_of_a_kind_are_ten_and_their_number() -> None:
    library = Library()
    for n in range(1000):
        library.logger.warning("bad request from %s", n)
    assert library.told.lines == [f"bad request from {n}" for n in range(MOST)]
    library.logger.warning("something else")
    assert library.told.lines[-1] == "something else"
    library.s += WINDOW_S
    library.logger.warning("bad request from %s", "x")
    assert library.told.lines[-1] == (
        "bad request from x (and 990 more of them since the last line)"
    )
    library.logger.warning("bad request from %s", "y")
    assert library.told.lines[-1] == "bad request from y"


def test_a_bug_is_not_lost_among_others_that_are_worded_alike() -> None:
    library = Library()

    def fail(how: int) -> None:
        try:
            if how:
                raise ValueError("one")
            raise ValueError("another")
        except ValueError:
            library.logger.exception("failed")

    for _ in range(MOST + 5):
        fail(0)
    fail(1)
    assert len(library.told.lines) == MOST + 1


def test_what_is_remembered_is_bounded() -> None:
    library = Library()
    for n in range(5000):
        library.logger.warning(f"odd {n}")  # noqa: G004 - as a careless library would
    (repeats,) = library.logger.filters
    assert isinstance(repeats, Repeats)
    assert len(repeats._kinds) <= 1000


def test_it_stands_before_the_libraries_that_read_strangers_bytes_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logger = logging.getLogger("uvicorn.error")
    monkeypatch.setattr(logger, "filters", [])
    bound_libraries()
    bound_libraries()
    assert [type(each) for each in logger.filters] == [Repeats]
