"""What happened lately, in memory."""

from __future__ import annotations

from gateway.ring import Entry, Ring
from registry.cursor import BEGINNING, Cursor
from registry.events import Event
from registry.tailing import Loss

START = Cursor("3fa94c1d", BEGINNING)
ROOM = 1_000_000


def entry(n: int, before: Cursor, partition: int | None = None) -> Entry:
    """The n-th event, of one of three partitions."""
    at = n % 3 if partition is None else partition
    return Entry(before.behind(at, (n, 0)), Event(at, (n, 0), {"type": "mend"}))


def filled(count: int, bytes_most: int = ROOM) -> Ring:
    ring = Ring(START, bytes_most)
    for n in range(1, count + 1):
        ring.append(entry(n, ring.cursor))
    return ring


def ids(ring: Ring, first: int) -> list[int]:
    return [e.event.id[0] if e.event else 0 for e in ring.between(first, 1000)]


def test_entries_are_numbered_from_the_first_on() -> None:
    ring = filled(5)
    assert (ring.first, ring.end) == (0, 5)
    assert ids(ring, 2) == [3, 4, 5]
    assert [e.event.id[0] for e in ring.between(1, 2) if e.event] == [2, 3]


def test_it_knows_every_place_it_has_passed() -> None:
    ring = filled(9)
    assert ring.knows(START)
    assert all(ring.knows(e.cursor) for e in ring.between(0, 9))


def test_it_does_not_know_a_place_nobody_can_have_been_at() -> None:
    ring = filled(9)
    assert not ring.knows(ring.cursor.behind(0, (4, 0)))
    assert not ring.knows(ring.cursor.behind(0, (12, 0)))
    assert not ring.knows(Cursor("00c0ffee", ring.cursor.places))


def test_the_oldest_go_when_there_is_no_room_and_are_not_known_any_more() -> None:
    whole = filled(100)
    ring = filled(100, whole.size // 2)
    assert ring.size <= whole.size // 2
    assert 45 <= ring.first <= 55
    assert ring.end == 100
    places = [e.cursor for e in whole.between(0, 100)]
    assert [ring.knows(place) for place in places] == [n >= ring.first for n in range(1, 101)]


def test_one_entry_stays_however_large_it_is() -> None:
    assert filled(3, 1).end - filled(3, 1).first == 1


def test_after_a_loss_what_came_before_is_told_but_known_no_more() -> None:
    ring = filled(3)
    before = ring.cursor
    now = Cursor("00c0ffee", BEGINNING)
    ring.append(Entry(now, loss=Loss.STORE_REPLACED))
    ring.append(entry(7, now))
    assert ids(ring, 0) == [1, 2, 3, 0, 7]
    assert ring.since == 4
    assert ring.knows(now)
    assert not ring.knows(before)
    assert not ring.knows(START)


def test_what_happened_before_can_be_added_in_front() -> None:
    ring = filled(0)
    ring.start = ring.start.behind(0, (3, 0)).behind(1, (4, 0))
    ring.append(entry(6, ring.start))
    earlier, cursor = [], START
    for n in (1, 3, 4):
        earlier.append(entry(n, cursor, {1: 0, 3: 0, 4: 1}[n]))
        cursor = earlier[-1].cursor
    assert not ring.knows(START)
    ring.prepend(earlier, START)
    assert (ring.first, ring.since, ring.end) == (-3, -3, 1)
    assert ids(ring, ring.first) == [1, 3, 4, 6]
    assert all(ring.knows(place) for place in (START, *(e.cursor for e in earlier), ring.cursor))
    assert ring.size == sum(e.size for e in ring.between(ring.first, 10))


def test_nothing_is_added_in_front_of_what_was_lost_or_dropped() -> None:
    """A number that a watcher may still have must not become another entry's."""
    ring = filled(3)
    assert ring.room == (ROOM // 2)
    ring.append(Entry(START.behind(0, (9, 0)), loss=Loss.STORE_LOST_EVENTS))
    assert ring.room == 0
    assert filled(100, filled(100).size - 1).room == 0
