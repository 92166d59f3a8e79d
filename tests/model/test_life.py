"""A short play of the model, the same every time, and what longer plays found, step by step.

`make model` plays on (see the package)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.model import Verdict
from tests.model.book import Book
from tests.model.life import TIMEOUT, WARM_UP, Place, Record, S
from tests.model.machine import Life, Stage
from tests.model.play import EXAMPLES, STEPS, play, played
from tests.model.stage import on_fakeredis, on_valkey
from tests.model.wire import ALL
from tests.model.world import IDS
from tests.support.launching import faketime_library

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(params=["valkey", "fakeredis"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """Each store whose clock can be set."""
    on = on_fakeredis() if request.param == "fakeredis" else on_valkey(tmp_path, faketime_library())
    with on as made:
        yield made


@pytest.fixture
def life(stage: Stage) -> Iterator[Life]:
    """A machine whose steps a test calls itself."""
    with played(stage) as made:
        yield made


def test_nothing_happens_that_may_never_happen(stage: Stage) -> None:
    """The steps that lead to a failure are shown as they were played; `make model ARGS=--short`
    plays the same and looks for fewer."""
    play(stage, EXAMPLES if stage.store.genuine else EXAMPLES // 6, STEPS, shrink=False)


def test_nobody_is_silent_because_the_stores_clock_steps_forwards(life: Life) -> None:
    life.everybody_is_there("node-0", ready=True)
    life.time_passes_unwatched(S)
    life.there_is_trouble("forwards", 100 * S)
    life.a_sweeper_looks("sw1", observe=False, through=ALL)
    life.a_sweeper_looks("sw1", observe=True, through=ALL)
    record = life.place("node-0").record
    assert record is not None and record.status == "ready"
    life.the_store_is_as_the_book_says()


@pytest.mark.parametrize("what", ["warm-up", "drain"])
def test_no_warm_up_and_no_drain_is_over_because_the_stores_clock_steps_forwards(
    life: Life, what: str
) -> None:
    """By less than silence takes, and by more than is left of the time allowed."""
    life.everybody_is_there("node-0", ready=what == "drain")
    if what == "drain":
        life.an_operator_acts("drain", 0, through=ALL, allowed=20)
        life.everything_is_judged("sw1")
    else:
        life.time_passes("sw1", 40, [0], Verdict.SELF_REPORTED)
    life.a_node_beats(0, Verdict.SELF_REPORTED, 1, through=ALL, age=0)
    record = life.place("node-0").record
    assert record is not None
    before = record.status, record.reason
    life.there_is_trouble("forwards", 30 * S)
    life.a_sweeper_looks("sw1", observe=False, through=ALL)
    life.a_sweeper_looks("sw1", observe=True, through=ALL)
    assert (record.status, record.reason) == before
    life.time_passes("sw1", 46, [0], Verdict.SELF_REPORTED)
    assert (record.status, record.reason) != before, "and it is over in the end"
    life.the_store_is_as_the_book_says()


@pytest.mark.parametrize("what", ["warm-up", "drain"])
def test_no_warm_up_and_no_drain_is_over_while_no_gateway_is_there(life: Life, what: str) -> None:
    life.everybody_is_there("node-0", ready=what == "drain")
    if what == "drain":
        life.an_operator_acts("drain", 0, through=ALL, allowed=20)
        life.everything_is_judged("sw1")
        life.a_node_beats(0, Verdict.PASS, 1, through=ALL, age=0)
        life.everything_is_judged("sw1")
    record = life.place("node-0").record
    assert record is not None
    before = record.status, record.reason
    life.there_is_trouble("gw1", 0)
    life.there_is_trouble("gw2", 0)
    life.time_passes("sw1", 61, [], Verdict.PASS)
    assert (record.status, record.reason) == before
    life.time_passes("sw1", 60, [], Verdict.PASS)
    assert (record.status, record.reason) == ("offline", "heartbeat_timeout"), "after the grace"
    life.the_store_is_as_the_book_says()


def test_nobody_who_fell_silent_is_held_though_no_sweeper_looked(life: Life) -> None:
    life.everybody_is_there("node-0", ready=True)
    life.time_passes_unwatched(46 * S)
    life.a_scheduler_holds(0, S, through=ALL)
    life.a_scheduler_asks()
    assert not life.place("node-0").holds
    life.the_store_is_as_the_book_says()


def test_a_drain_with_nothing_to_wait_for_is_drained_when_it_is_worded(life: Life) -> None:
    life.everybody_is_there("node-0", ready=True)
    life.an_operator_acts("drain", 0, through=ALL, allowed=3600)
    life.time_passes_unwatched(S)
    life.a_node_beats(0, Verdict.PASS, 0, through=ALL, age=0)
    life.everything_is_judged("sw1")
    record = life.place("node-0").record
    assert record is not None and (record.status, record.reason) == ("draining", "drained")
    life.the_store_is_as_the_book_says()


def test_an_hour_that_nobody_observed_puts_no_later_silence_off(life: Life) -> None:
    life.everybody_is_there("node-0", ready=True)
    life.time_passes_unwatched(3601 * S)
    life.a_node_beats(0, Verdict.PASS, 0, through=ALL, age=0)
    life.everything_is_judged("sw1")
    life.time_passes_unwatched(S)
    life.a_node_beats(0, Verdict.PASS, 0, through=ALL, age=0)
    life.the_store_is_as_the_book_says()  # its alarm rings when it may be silent next


def test_who_beats_before_a_step_back_is_seen_is_judged_that_much_early_at_most(life: Life) -> None:
    life.everybody_is_there("node-0", ready=True)
    life.there_is_trouble("forwards", 10 * S)
    life.everything_is_judged("sw1")
    life.there_is_trouble("back", 10 * S)
    life.a_node_beats_several_times(0, 2, Verdict.PASS)
    life.time_passes("sw2", 61, [], Verdict.PASS)
    assert statuses(life) == ["offline"]
    life.the_store_is_as_the_book_says()


def test_a_verdict_behind_a_silence_that_could_not_be_told_follows_within_a_second(
    life: Life,
) -> None:
    life.everybody_is_there("node-0", ready=False)
    life.a_node_beats_several_times(0, 3, Verdict.PASS)
    life.time_passes_unwatched(46 * S)
    life.a_sweeper_looks("sw1", observe=False, through=ALL)
    life.everything_is_judged("sw1")
    life.time_passes_unwatched(S)
    life.everything_is_judged("sw1")
    assert statuses(life) == ["ready"]
    life.the_store_is_as_the_book_says()


def test_alarms_of_a_clock_that_stepped_back_ring_at_the_next_look(life: Life) -> None:
    life.everybody_is_there("node-0", ready=True)
    life.there_is_trouble("back", 10 * S)
    life.a_node_beats_several_times(0, 2, Verdict.PASS)
    life.the_store_is_as_the_book_says()
    life.everything_is_judged("sw1")
    life.the_store_is_as_the_book_says()


@pytest.mark.parametrize("end", ["deadline", "operator"])
def test_the_brake_holds_only_the_word_back_and_not_for_ever(life: Life, end: str) -> None:
    life.everybody_is_there(IDS[0], ready=True, braked=True)
    life.time_passes("sw1", 46, [], Verdict.PASS)
    life.everything_is_judged("sw1")
    assert statuses(life) == ["offline", "ready", "ready"], "the first is let through"
    life.a_scheduler_asks()
    if end == "operator":
        life.an_operator_lets_go_of_the_brake()
    else:
        life.time_passes("sw1", 300, [], Verdict.PASS)
    life.everything_is_judged("sw1")
    life.time_passes_unwatched(S)
    life.everything_is_judged("sw1")
    assert statuses(life) == ["offline"] * 3
    life.the_store_is_as_the_book_says()


def statuses(life: Life) -> list[str]:
    return sorted(r.status for id_ in IDS if (r := life.place(id_).record) is not None)


def test_the_book_itself_refuses_who_was_called_silent_before_time() -> None:
    now = 44 * S
    book = Book(("node-0",), lambda: now, lambda: now)
    book.observed = list(range(0, now, S))
    record = Record("sid", 1, "gw1", "h1", "d1", ("any",), 1)
    with pytest.raises(AssertionError, match="silent for 44000 observed ms only"):
        book._was_silent("node-0", record, TIMEOUT)
    now = 45 * S
    book._was_silent("node-0", record, TIMEOUT)


def test_the_book_itself_refuses_a_warm_up_that_was_called_over_before_time() -> None:
    now = 59 * S
    book = Book(("node-0",), lambda: now, lambda: now)
    book.observed = list(range(0, now, S))
    record = Record("sid", 1, "gw1", "h1", "d1", ("any",), 1, status="registering")
    record.warm_up.allowed = WARM_UP
    with pytest.raises(AssertionError, match="degraded after 59000 observed ms only"):
        book._was_over("node-0", Place(record), record, "degraded")
    now = 60 * S
    book._was_over("node-0", Place(record), record, "degraded")
