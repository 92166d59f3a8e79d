"""A thing is said some times; then it is counted. Of our own, a kind is also whence and why."""

from __future__ import annotations

import json
import logging

import pytest

from registry.logs import configure, log
from registry.repeats import MOST, OWN_MOST, WINDOW_S, Repeats, bound_libraries


class Told(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.last = record


class Library:
    """A logger with the filter, what came of it, and the time."""

    def __init__(self, most: int = MOST) -> None:
        self.s = 100.0
        self.logger = logging.Logger("library")
        self.logger.addFilter(Repeats(most, now=lambda: self.s))
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


def test_what_was_kept_back_is_told_once_and_counted_anew_in_each_window() -> None:
    library = Library(most=2)
    for windows in (5, 3, 2, 2):
        for _ in range(windows):
            library.logger.warning("bad request")
        library.s += WINDOW_S
    assert library.told.lines == [
        "bad request", "bad request",
        "bad request (and 3 more of them since the last line)", "bad request",
        "bad request (and 1 more of them since the last line)", "bad request",
        "bad request", "bad request",
    ]  # fmt: skip


def test_within_a_window_nothing_more_is_said() -> None:
    library = Library(most=2)
    for _ in range(6):
        library.logger.warning("bad request")
        library.s += WINDOW_S / 6 - 0.01
    assert library.told.lines == ["bad request"] * 2


def transition(library: Library, node_id: str, previous: str, reason: str) -> None:
    log(
        library.logger, logging.INFO, "transition",
        node_id=node_id, previous=previous, reason=reason,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("previous", "reason"), [("degraded", "heartbeat_timeout"), ("ready", "operator")]
)
def test_a_transition_from_another_state_or_for_another_reason_is_not_lost_among_many(
    previous: str, reason: str
) -> None:
    library = Library()
    for n in range(1000):
        transition(library, f"node-{n}", "ready", "heartbeat_timeout")
    assert library.told.lines == ["transition"] * MOST, "of whom it tells makes no kind"
    transition(library, "node-X", previous, reason)
    assert vars(library.told.last)["context"]["node_id"] == "node-X"


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


def test_of_our_own_lines_the_next_says_how_many_were_kept_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    configure("json", "info")
    (repeats,) = root.handlers[0].filters
    monkeypatch.setattr(repeats, "_now", lambda: now)
    ours = logging.getLogger("muster.gateway.enrolment")
    for n in range(OWN_MOST + 500):
        log(ours, logging.INFO, "registered", node_id=f"node-{n}")
    log(ours, logging.INFO, "something_else")
    now += WINDOW_S
    log(ours, logging.INFO, "registered", node_id="node-X")
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(said) == OWN_MOST + 2
    assert [line["action"] for line in said[-2:]] == ["something_else", "registered"]
    assert (said[-1]["node_id"], said[-1]["kept_back"]) == ("node-X", 500)
    assert not any("kept_back" in line for line in said[:-1])


def test_it_stands_before_the_libraries_that_read_strangers_bytes_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logger = logging.getLogger("uvicorn.error")
    monkeypatch.setattr(logger, "filters", [])
    bound_libraries()
    bound_libraries()
    assert [type(each) for each in logger.filters] == [Repeats]
