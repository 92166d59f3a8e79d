"""What the checker sees of the store, and the reader that follows its event streams.

It has a connection of its own that no fault touches, and only reads. While the store does not
answer it sees nothing, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from registry.base import text
from registry.errors import StoreError
from registry.keys import partition_of
from registry.registry import Registry
from tests.faults.book import Book, Event, now_ms

_PAGE = 500
_SAME_MS = 5000  # less is the way there and back, on a busy machine


@dataclass(frozen=True, slots=True)
class Record:
    """One machine's record. `live`: its TTL key stands."""

    status: str
    reason: str
    version: int
    session: int
    live: bool


class Unseen(Exception):  # noqa: N818 (named for what it says)
    """The store did not answer."""


class Eye(Protocol):
    """What a registry under test must show."""

    async def records(self, ids: Iterable[str]) -> dict[str, Record]:
        """Records by id; raises Unseen."""
        ...

    async def events(self, ids: Iterable[str], *, all_over: bool) -> list[Event]:
        """What the streams of these ids say that was not read before, or `all_over`, everything.
        Raises Unseen."""
        ...


class StoreEye:
    """The eye on a real store."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._read_to: dict[int, str] = {}

    async def records(self, ids: Iterable[str]) -> dict[str, Record]:
        wanted = sorted(ids)
        registry = self._registry
        timeout = round(registry.settings.heartbeat_timeout_s * 1000)
        try:
            subjects = await registry.subjects(wanted)
            sessions = await registry.store.commands(
                [("HGET", registry.keys.node(i), "ses") for i in wanted]
            )
        except (StoreError, TimeoutError) as error:
            raise Unseen(str(error)) from error
        return {
            s.node_id: Record(s.status, s.reason, s.version, int(session or 0), s.live(timeout))
            for s, session in zip(subjects, sessions, strict=True)
            if s is not None
        }

    async def events(self, ids: Iterable[str], *, all_over: bool) -> list[Event]:
        found: list[Event] = []
        read_to: dict[int, str] = {}
        try:
            skew = await self._skew()
            for p in sorted({partition_of(i) for i in ids}):
                found += await self._stream(p, skew, read_to, all_over=all_over)
        except (StoreError, TimeoutError) as error:
            raise Unseen(str(error)) from error
        # Only now: what was read before the store went away is not told, and read again.
        self._read_to |= read_to
        return found

    async def _skew(self) -> int:
        """How far the store's clock is ahead of ours, ms. A Cluster's are ours."""
        store = self._registry.store
        if not store.single:
            return 0
        [[seconds, micros]] = await store.commands([("TIME",)])
        ahead = int(seconds) * 1000 + int(micros) // 1000 - now_ms()
        return ahead if abs(ahead) > _SAME_MS else 0

    async def _stream(
        self, partition: int, skew: int, read_to: dict[int, str], *, all_over: bool
    ) -> list[Event]:
        key = self._registry.keys.events(partition)
        low = "-" if all_over else self._read_to.get(partition, "-")
        found = []
        while True:
            [rows] = await self._registry.store.commands(
                [("XRANGE", key, low, "+", "COUNT", _PAGE)]
            )
            for stream_id, pairs in rows:
                pairs = (
                    pairs if isinstance(pairs, dict) else dict(zip(*[iter(pairs)] * 2, strict=True))
                )
                fields = {text(k): text(v) for k, v in pairs.items()}
                at = int(fields.get("at") or 0) - skew
                found.append(Event(text(stream_id), partition, at, now_ms(), fields))
            if rows:
                low = read_to[partition] = "(" + text(rows[-1][0])
            if len(rows) < _PAGE:
                return found


class Follower:
    """Reads event streams into the book, all the time."""

    def __init__(self, eye: Eye, book: Book, every_s: float = 0.25) -> None:
        self._eye = eye
        self._book = book
        self._every_s = every_s
        self._known: set[tuple[str, ...]] = set()
        self._losses = 0
        self._one_look = asyncio.Lock()  # two at once would write what they read out of order

    async def run(self) -> None:
        while True:
            with contextlib.suppress(Unseen):
                await self.look()
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """Reads what is new. Raises Unseen."""
        async with self._one_look:
            await self._look()

    async def _look(self) -> None:
        losses = len(self._book.losses)
        ids = {p.node_id for p in self._book.pages.values() if p.node_id}
        for event in await self._eye.events(ids, all_over=losses != self._losses):
            mark = (
                event.stream_id,
                str(event.partition),
                event.node_id,
                event.kind,
                event["version"],
            )
            if mark not in self._known:
                self._known.add(mark)
                self._book.events.append(event)
        self._losses = losses
