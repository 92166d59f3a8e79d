"""Reading what happens, from a place on: exactly, or with word of what is missing.

A place is the id of an event that was read. As long as it still stands in its stream, everything
before it is as it was read and everything behind it is there: streams lose their beginning (by age)
or their end (in a failover), never something in between.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from registry.base import Base, text
from registry.cursor import NOWHERE, Cursor, EventId, Places, event_id, event_id_text
from registry.events import Event
from registry.keys import PARTITIONS

EACH = 8
"""Events of one partition read at once. The store does nothing else meanwhile: of all partitions
together these take it some 3 ms."""


EVERYWHERE = range(PARTITIONS)
_AT_ONCE = nullcontext()


class Loss(StrEnum):
    """Why it can't be told what happened since a place."""

    TOO_OLD = "too_old"
    STORE_REPLACED = "store_replaced"
    STORE_LOST_EVENTS = "store_lost_events"


@dataclass(frozen=True, slots=True)
class Page:
    """Some events and the places behind them; `more` may follow at once. With `loss` there are
    none."""

    events: list[Event]
    places: Places
    more: bool = False
    loss: Loss | None = None


class Tailing(Base):
    """Reads only, but for the epoch's first reader."""

    async def event_epoch(self) -> str:
        """The store's epoch."""
        key = self.keys.epoch()
        found = (await self.store.commands([("GET", key)]))[0]
        if found is None:
            made = secrets.token_hex(4)
            found = (await self.store.commands([("SET", key, made, "NX"), ("GET", key)]))[1]
        return text(found)

    async def event_ends(self) -> Places:
        """The last event of each partition: who reads on from there misses nothing to come."""
        streams = map(self._streams, self._groups())
        replies = await self.store.call_many("ends", [(keys, ()) for keys in streams])
        return tuple(event_id(text(id_)) for reply in replies for id_ in reply)

    async def event_cursor(self) -> Cursor:
        """Behind everything that happened so far."""
        epoch = await self.event_epoch()
        return Cursor(epoch, await self.event_ends())

    async def cursor_since(self, at: int) -> Cursor:
        """Behind everything that happened before an instant, ms of the store's clock. Where not all
        since then is kept, behind the oldest event that is."""
        epoch = await self.event_epoch()
        last = str(at - 1) if at > 0 else "0-0"
        calls = [(self._streams(group), [last]) for group in self._groups()]
        replies = await self.store.call_many("since", calls)
        return Cursor(epoch, tuple(event_id(text(id_)) for reply in replies for id_ in reply))

    async def events_behind(
        self,
        places: Places,
        *,
        partitions: Sequence[int] = EVERYWHERE,
        check: bool = True,
        each: int = EACH,
        turn: AbstractAsyncContextManager[Any] = _AT_ONCE,
        sure: bool = True,
    ) -> Page:
        """The events that follow some places, in the order of their ids as far as clocks agree.

        A place is looked for where anything follows it; with `check` all are, so that the loss of
        a stream's end is noticed before anything follows there.

        With `sure` the sentinels are asked before it is told that the store lost events. `turn` is
        held while the store is read, and not while they are asked."""
        async with turn:
            page = await self._behind(places, partitions, check, each)
        if not sure:
            return page
        if page.loss is Loss.STORE_LOST_EVENTS and await self.store.look_for_primary():
            # Who read that place may have heard of a new primary before us.
            async with turn:
                page = await self._behind(places, partitions, check, each)
        return page

    async def _behind(
        self, places: Places, partitions: Sequence[int], check: bool, each: int
    ) -> Page:
        groups = self._groups(partitions)
        calls = [
            (self._streams(g), [each, int(check), *(event_id_text(places[p]) for p in g)])
            for g in groups
        ]
        replies = await self.store.call_many("tail", calls)
        found: list[Event] = []
        fullest: EventId | None = None
        for group, reply in zip(groups, replies, strict=True):
            for partition, row in zip(group, reply, strict=True):
                if not row[0]:
                    return Page([], places, loss=_loss(places[partition], row[1:]))
                events = [Event.of(partition, event_id(id_), stored) for id_, stored in row[1]]
                found += events
                if len(events) == each:
                    fullest = min(fullest or events[-1].id, events[-1].id)
        found.sort(key=lambda event: event.id)
        if fullest is not None:
            # More follows there, which comes before later events of other partitions.
            found = [event for event in found if event.id <= fullest]
        behind = list(places)
        for event in found:
            behind[event.partition] = event.id
        return Page(found, tuple(behind), more=fullest is not None)

    def _groups(self, partitions: Sequence[int] = EVERYWHERE) -> list[Sequence[int]]:
        """Partitions that one call may ask for together."""
        return [partitions] if self.store.single else [[p] for p in partitions]

    def _streams(self, partitions: Sequence[int]) -> list[str]:
        return [self.keys.events(p) for p in partitions]


def _loss(place: EventId, stream: Sequence[Any]) -> Loss:
    """Why a place is not in its stream, of which the first and last id are given, and whether its
    beginning was cut off."""
    first, last, trimmed = event_id(stream[0]), event_id(stream[1]), bool(stream[2])
    behind = place < first or first == NOWHERE
    return Loss.TOO_OLD if trimmed and behind and place <= last else Loss.STORE_LOST_EVENTS
