"""A reader's place in the events of the whole fleet, and how it is written down. Pure.

Events stand in 64 streams, one for each partition, and each stream is in order only by itself: on a
Cluster they have different clocks, and after a failover a clock may be behind. So a place is exact
only as 64 places, the id of the last event read in each; `(0, 0)` where none was. A cursor also
names the store's epoch, a random word made with the store's first reader: a store that was replaced
has another.

Written, a cursor is short where little happened: an instant just behind the latest of the places,
which partitions had events at all, and how far the place in each is before that instant.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from registry.keys import PARTITIONS

EventId = tuple[int, int]
Places = tuple[EventId, ...]

NOWHERE: EventId = (0, 0)
BEGINNING: Places = (NOWHERE,) * PARTITIONS

CURSOR_LENGTH_MOST = 2048
_HEAD = 14  # 6 bytes of milliseconds, 8 bytes of partitions
_ROUND = 2**12 - 1  # so that the instant, and with it what is written of most places, stays
_BITS = tuple(1 << partition for partition in range(PARTITIONS))
_MS_MOST = 2**47
_SEQ_MOST = 2**64
_FORM = re.compile(r"1\.([0-9a-f]{8})\.([A-Za-z0-9_-]{19,2000})")


class EventCursorError(ValueError):
    """The text is no cursor that any answer ever gave."""


def event_id(text: str | bytes) -> EventId:
    """`1735689600000-3` → (1735689600000, 3)"""
    ms, _, seq = (text.decode() if isinstance(text, bytes) else text).partition("-")
    return int(ms), int(seq or 0)


def event_id_text(id_: EventId) -> str:
    """(1735689600000, 3) → `1735689600000-3`"""
    return f"{id_[0]}-{id_[1]}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to `places` was read, in the store of this epoch."""

    epoch: str
    places: Places

    def __str__(self) -> str:
        instant = (max(self.places)[0] | _ROUND) + 1
        present, steps = 0, []
        for bit, place in zip(_BITS, self.places, strict=True):
            if place != NOWHERE:
                present |= bit
                steps.append(_step(instant, place))
        packed = instant.to_bytes(6, "big") + present.to_bytes(8, "big") + b"".join(steps)
        return f"1.{self.epoch}.{base64.urlsafe_b64encode(packed).decode().rstrip('=')}"

    def behind(self, partition: int, id_: EventId) -> Cursor:
        """The cursor once one more event was read."""
        places = self.places
        return Cursor(self.epoch, (*places[:partition], id_, *places[partition + 1 :]))

    @classmethod
    def read(cls, text: str) -> Cursor:
        """What a cursor's text says. Raises EventCursorError."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise EventCursorError(text)
        try:
            packed = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4))
            made = cls(found[1], _places(packed))
        except (binascii.Error, IndexError, ValueError) as error:
            raise EventCursorError(text) from error
        if str(made) != text:
            raise EventCursorError(text)
        return made


def earlier(a: Sequence[EventId], b: Sequence[EventId]) -> Places:
    """The earlier of two places in each partition."""
    return tuple(map(min, a, b))


def _places(packed: bytes) -> Places:
    instant = int.from_bytes(packed[:6], "big")
    present = int.from_bytes(packed[6:_HEAD], "big")
    places, at = [], _HEAD
    for partition in range(PARTITIONS):
        place = NOWHERE
        if present >> partition & 1:
            step, at = _take(packed, at)
            seq = 0
            if step & 1:
                seq, at = _take(packed, at)
            place = (instant - (step >> 1), seq)
        places.append(place)
    if at != len(packed) or any(not (0 <= ms < _MS_MOST and seq < _SEQ_MOST) for ms, seq in places):
        raise ValueError("more or less than 64 places")
    return tuple(places)


@lru_cache(maxsize=4096)
def _step(instant: int, place: EventId) -> bytes:
    """How far a place is before the instant, and its number where it is not the first of its ms."""
    ms, seq = place
    steps = _number((instant - ms) << 1 | (seq > 0))
    return steps + _number(seq) if seq else steps


def _number(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def _take(packed: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = packed[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
