"""Each law on the smallest book that breaks it, and on the same book without the deed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from tests.faults.book import Answer, Blame, Book, Event, Heard, Page, Sent, Span
from tests.faults.checker import Checker
from tests.faults.eye import Record
from tests.faults.pace import QUICK

NODE = "node-A"
CAME_AT = 100_000
ASKED_AT = CAME_AT + 3000
READY = Record("ready", "healthy", version=2, session=7, live=True)


def told(at: int, status: str, version: int, kind: str = "node_status") -> Heard:
    frame = {"type": kind, "node_id": NODE, "session": 7, "status": status, "version": version}
    return Heard(at, frame, 1)


@dataclass
class Case:
    """A machine that came, became ready, beats, and is selected; and what the store says of it."""

    book: Book
    page: Page
    records: dict[str, Record]

    @classmethod
    def sound(cls) -> Case:
        book = Book()
        page = book.page("m0", plain=True)
        page.node_id = NODE
        page.able.append(Span(CAME_AT))
        page.doors.append((CAME_AT, 1, 0))
        page.sent += [Sent(CAME_AT, "node_register", 1, able=True)]
        page.sent += [Sent(ASKED_AT - 10, "node_heartbeat", 1, able=True)]
        page.heard.append(told(CAME_AT + 1, "registering", 1, "node_register_ack"))
        page.heard.append(told(CAME_AT + 1000, "ready", 2))
        book.answers.append(Answer(ASKED_AT, ASKED_AT + 5, 0, frozenset({NODE})))
        return cls(book, page, {NODE: READY})

    def breaches(self) -> set[str]:
        found = Checker(self.book, QUICK, self.records).breaches()
        return {f"{b.law}: {b.what}" for b in found}


def drained(case: Case) -> None:
    case.book.intents[NODE] = [Span(ASKED_AT - 100)]


def drained_too_late_to_matter(case: Case) -> None:
    case.book.intents[NODE] = [Span(ASKED_AT + 1)]


def told_otherwise(case: Case) -> None:
    case.page.heard.append(told(ASKED_AT - 100, "degraded", 3))
    case.records[NODE] = replace(READY, status="degraded", version=3)


def recorded_otherwise(case: Case) -> None:
    fields = {"type": "restore", "id": NODE, "from": "ready", "to": "registering"}
    case.book.events.append(Event("1-0", 0, ASKED_AT - 100, ASKED_AT, fields))


def silent(case: Case) -> None:
    late = ASKED_AT + 2 * round(QUICK.timeout_s * 1000)
    case.book.answers.append(Answer(late, late + 5, 0, frozenset({NODE})))


def a_strangers_id(case: Case) -> None:
    case.book.answers.append(Answer(ASKED_AT, ASKED_AT + 5, 0, frozenset({"node-B"})))


def no_record(case: Case) -> None:
    case.records.clear()


def an_older_record(case: Case) -> None:
    case.records[NODE] = replace(READY, session=6)


def one_id_twice(case: Case) -> None:
    twin = case.book.page("m1", plain=True)
    twin.node_id = NODE


def refused_its_name(case: Case) -> None:
    frame = {"type": "node_error", "code": "NODE_ID_CONFLICT"}
    case.page.heard.append(Heard(ASKED_AT, frame, 1))


def told_in_disorder(case: Case) -> None:
    case.page.heard.insert(1, told(CAME_AT + 500, "degraded", 3))
    case.records[NODE] = replace(READY, status="degraded", version=3)


def not_told(case: Case) -> None:
    case.records[NODE] = replace(READY, status="draining", version=3)


def made_ready_under_a_drain(case: Case, kind: str = "transition") -> None:
    case.book.intents[NODE] = [Span(ASKED_AT + 100, ASKED_AT + 900)]
    fields = {"type": kind, "id": NODE, "from": "draining", "to": "ready", "version": "3"}
    case.book.events.append(Event("2-0", 0, ASKED_AT + 500, ASKED_AT + 500, fields))


def resumed_under_a_drain(case: Case) -> None:
    made_ready_under_a_drain(case, "resume")


def back_after_it_left(case: Case) -> None:
    case.page.left_at = ASKED_AT + 100
    fields = {"type": "revive", "id": NODE, "from": "offline", "to": "registering"}
    case.book.events.append(Event("2-0", 0, ASKED_AT + 500, ASKED_AT + 500, fields))


Deed = Callable[[Case], None]


@pytest.mark.parametrize(
    "deed", [lambda case: None, drained_too_late_to_matter, resumed_under_a_drain]
)
def test_a_sound_book_breaks_no_law(deed: Deed) -> None:
    case = Case.sound()
    deed(case)
    assert case.breaches() == set()


@pytest.mark.parametrize(
    ("deed", "breach"),
    [
        (drained, "falsely selected: an operator drained it"),
        (told_otherwise, "falsely selected: it had been told that it is not ready"),
        (recorded_otherwise, "falsely selected: its record was not ready"),
        (silent, "falsely selected: no sign of life within the time-out"),
        (a_strangers_id, "falsely selected: nobody has this id"),
        (no_record, "lost registration: no record"),
        (an_older_record, "lost registration: the record is of a session before"),
        (one_id_twice, "lost registration: two machines were given one id"),
        (refused_its_name, "lost registration: its own name was refused for ever"),
        (told_in_disorder, "versions: 2 after 3"),
        (not_told, "undelivered: told ready (2), recorded draining (3)"),
        (
            made_ready_under_a_drain,
            "undone: ready (transition), though an operator drained it",
        ),
        (back_after_it_left, "undone: registering (revive), though it had left"),
    ],
)
def test_a_law_that_is_broken_is_named(deed: Deed, breach: str) -> None:
    case = Case.sound()
    deed(case)
    assert breach in case.breaches()


@pytest.mark.parametrize(("after_ms", "excused"), [(-50, False), (+50, True)])
def test_what_a_store_lost_is_missed_once_its_machine_beat_again(
    after_ms: int, excused: bool
) -> None:
    """The last beat comes after the loss, which brings it back, or before."""
    case = Case.sound()
    no_record(case)
    case.book.losses.append(Span(CAME_AT, case.page.sent[-1].at + after_ms))
    assert ("lost registration: no record" not in case.breaches()) is excused


@pytest.mark.parametrize(("paused", "dead", "broken"), [(1, 1, 0), (0, 1, 1), (1, 0, 1)])
def test_only_a_dead_machine_that_spoke_last_to_a_paused_gateway_may_have_gone_unheard(
    paused: int, dead: int, broken: int
) -> None:
    case = Case.sound()
    timeout = round(QUICK.timeout_s * 1000)
    spoke = ASKED_AT + 2000
    case.page.sent.append(Sent(spoke, "node_heartbeat", 1, able=True))
    if paused:
        case.book.blames.append(Blame(0, spoke - 500, spoke + 500))
    if dead:
        case.page.able[-1].end = spoke + 1000
    gone = {"type": "transition", "id": NODE, "from": "ready", "to": "offline"}
    gone |= {"reason": "heartbeat_timeout", "evidence": "{}"}
    at = ASKED_AT + timeout + 100
    case.book.events.append(Event("9-0", 0, at, at, gone))
    found = Checker(case.book, QUICK, case.records).falsely_offline()
    assert len(list(found)) == broken
