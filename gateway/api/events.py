"""Watching what happens: one stream for each reader, from the gateway's one tail."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec import UNSET

from gateway.api import asking
from gateway.api.endpoint import LAST_EVENT_ID, Call
from gateway.api.frames import EndReason, ending, frame, opening, still_there
from gateway.api.questions import EventsQuery
from gateway.api.streaming import EventStream
from gateway.clock import monotonic
from gateway.problem import BadParameterError
from gateway.tail import FellBehindError, Watch
from muster.wire.bearer import Role
from registry.cursor import Cursor, EventCursorError
from registry.events import Interest

_RETRY_MS = (500, 2000)


async def watch_events(call: Call) -> EventStream:
    """Raises BadParameterError for what is no cursor, StoreUnavailable."""
    interest = asking.interest(call.query, call.who)
    to_now = call.query.until is not UNSET
    watch = await call.tail.join(await _beginning(call), to_now=to_now)
    return EventStream(
        _frames(call, watch, interest),
        patience_s=call.settings.watch_patience_s,
        gone=watch.leave,
        stuck=lambda: watch.note_end("slow_reader"),
    )


async def _frames(call: Call, watch: Watch, interest: Interest) -> AsyncGenerator[bytes, None]:
    """All there is to send, from the place where the stream begins to the reason why it ends."""
    for_admin = call.who.role is Role.ADMIN
    quiet_s = call.settings.watch_keepalive_s
    yield opening(watch.cursor, _retry_ms())
    sent = looked = monotonic()
    why: EndReason = "gateway_stopping"
    try:
        async with aclosing(watch.batches(quiet_s)) as batches:
            async for batch in batches:
                if monotonic() - looked >= quiet_s:
                    looked = monotonic()
                    if not call.still_admitted():
                        why = "access_changed"
                        break
                wanted = [e for e in batch if e.event is None or interest.takes(e.event)]
                if wanted:
                    watch.note_sent(wanted)
                    yield b"".join(frame(entry, for_admin=for_admin) for entry in wanted)
                    sent = monotonic()
                elif monotonic() - sent >= quiet_s:
                    yield still_there(watch.cursor)
                    sent = monotonic()
            else:
                if watch.is_up_to_date():
                    why = "up_to_date"
    except FellBehindError:
        why = "slow_reader"
    watch.note_end(why)
    yield ending(why, watch.cursor, _retry_ms())


async def _beginning(call: Call) -> Cursor | None:
    """Where the stream begins; None for now."""
    query: EventsQuery = call.query
    if query.after is not UNSET and query.since is not UNSET:
        raise BadParameterError("since", "to be given without after")
    cursor = _cursor(call)
    if cursor is None and query.since is not UNSET:
        return await call.registry.cursor_since(query.since)
    return cursor


def _cursor(call: Call) -> Cursor | None:
    """Where to go on from; what a browser remembers is newer than the address it was given."""
    query: EventsQuery = call.query
    name, text = LAST_EVENT_ID, call.last_event_id
    if not text:
        if query.after is UNSET:
            return None
        name, text = "after", query.after
    try:
        return Cursor.read(text)
    except EventCursorError as error:
        expected = "the id of an event, or the events_cursor of a list"
        raise BadParameterError(name, expected) from error


def _retry_ms() -> int:
    """How soon to come back; not all at once."""
    return random.randint(*_RETRY_MS)
