"""A place in the events of the fleet, written down and read again."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.cursor import (
    BEGINNING,
    CURSOR_LENGTH_MOST,
    NOWHERE,
    Cursor,
    EventCursorError,
    EventId,
    earlier,
    event_id,
    event_id_text,
)
from registry.keys import PARTITIONS

NOW = 1_795_574_540_185
EPOCH = "3fa94c1d"

places: st.SearchStrategy[EventId] = st.one_of(
    st.just(NOWHERE),
    st.tuples(st.integers(NOW - 90 * 86_400_000, NOW), st.integers(0, 3)),
    st.tuples(st.integers(1, 2**47 - 1), st.integers(0, 2**64 - 1)),
)
cursors = st.lists(places, min_size=PARTITIONS, max_size=PARTITIONS).map(
    lambda found: Cursor(EPOCH, tuple(found))
)


@given(cursors)
def test_a_cursor_is_read_as_it_was_written(cursor: Cursor) -> None:
    assert Cursor.read(str(cursor)) == cursor
    assert len(str(cursor)) <= CURSOR_LENGTH_MOST


def test_a_cursor_is_short_where_little_happened() -> None:
    assert len(str(Cursor(EPOCH, BEGINNING))) < 32
    assert len(str(Cursor(EPOCH, ((NOW, 0), (NOW - 5000, 0), *BEGINNING[2:])))) < 48
    busy = tuple((NOW - 150 * partition, partition % 2) for partition in range(PARTITIONS))
    assert len(str(Cursor(EPOCH, busy))) < 300
    with_words = tuple((NOW - 150 * p, 2**21 - 1 - p) for p in range(PARTITIONS))
    assert len(str(Cursor(EPOCH, with_words))) < 520


@given(cursors, st.data())
def test_a_text_that_no_answer_gave_is_refused(cursor: Cursor, data: st.DataObject) -> None:
    text = str(cursor)
    at = data.draw(st.integers(0, len(text) - 1))
    for changed in (text[:at], text + "A", text[:at] + "~" + text[at + 1 :]):
        with pytest.raises(EventCursorError):
            Cursor.read(changed)


@given(st.text())
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with pytest.raises(EventCursorError):
        Cursor.read(text)


@given(cursors, st.text(alphabet="ABCDEFGHabcdefgh01234567-_", min_size=19, max_size=400))
def test_whatever_is_read_is_written_the_same(cursor: Cursor, packed: str) -> None:
    try:
        found = Cursor.read(f"1.{cursor.epoch}.{packed}")
    except EventCursorError:
        return
    assert str(found) == f"1.{cursor.epoch}.{packed}"


def test_another_way_to_write_the_same_places_is_refused() -> None:
    """What is not as it was given was cut, pasted together or made up."""
    cursor = Cursor(EPOCH, ((NOW, 0), *BEGINNING[1:]))
    head, _, packed = str(cursor).rpartition(".")
    data = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
    instant, step = int.from_bytes(data[:6], "big"), data[14:]
    assert instant == (NOW | 0xFFF) + 1
    longer = (instant + 0x1000).to_bytes(6, "big") + data[6:14]
    more = (0x1000 + instant - NOW) << 1
    later = longer + bytes([more & 0x7F | 0x80, more >> 7 & 0x7F | 0x80, more >> 14])
    for other in (data + b"\0", data[:-1] + bytes([step[-1] | 0x80, 0]), later):
        text = base64.urlsafe_b64encode(other).decode().rstrip("=")
        with pytest.raises(EventCursorError):
            Cursor.read(f"{head}.{text}")


def test_one_more_event_moves_one_place() -> None:
    before = Cursor(EPOCH, BEGINNING)
    after = before.behind(7, (NOW, 2))
    assert after.places[7] == (NOW, 2)
    assert after.places[:7] + after.places[8:] == BEGINNING[1:]
    assert before.places == BEGINNING


def test_the_earlier_of_two_places_is_taken_in_each_partition() -> None:
    a = ((5, 0), (1, 2), *BEGINNING[2:])
    b = ((4, 9), (1, 3), *BEGINNING[2:])
    assert earlier(a, b)[:2] == ((4, 9), (1, 2))


def test_an_id_is_read_as_the_store_writes_it() -> None:
    assert event_id(b"1735689600000-3") == (1735689600000, 3)
    assert event_id("7") == (7, 0)
    assert event_id_text((1735689600000, 3)) == "1735689600000-3"
