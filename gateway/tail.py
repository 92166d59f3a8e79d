"""Follows what happens, once for everybody who watches here.

Three rules. The store is read by one loop, however many watch, and by nobody while nobody does.
What is in the ring is exact: each read goes on from the last one's places, and if one of those is
not there any more, everybody is told so and goes on from now. And who comes with a cursor of their
own is given what the ring has behind it, or reads the store page by page until the ring has it.

A cursor may be ahead of this gateway's ring, as another one may have read further: what it covers
is passed over when it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from operator import ge

from gateway.clock import monotonic
from gateway.metrics import Metrics
from gateway.ring import Entry, Ring
from registry.cursor import Cursor, Places, earlier
from registry.errors import StoreError, StoreUnavailable
from registry.logs import log
from registry.registry import Registry
from registry.tailing import EVERYWHERE, Loss, Page

logger = logging.getLogger("muster.gateway.tail")

BATCH = 256
"""Entries given to a watcher at once."""
CHECK_S = 1.0
"""How often all places are looked for, also where nothing happens."""
BACK_OFF_S = 0.5
_PAGES_AT_ONCE = 2


class FellBehindError(Exception):
    """A watcher reads so slowly that what it is to get next is no longer in memory."""


class Tail:
    """One gateway's reader of events. `ended`: watchers are to go elsewhere."""

    def __init__(
        self, registry: Registry, metrics: Metrics, *, poll_s: float, buffer_bytes: int
    ) -> None:
        self._registry = registry
        self._metrics = metrics
        self._poll_s = poll_s
        self._buffer_bytes = buffer_bytes
        self._ring: Ring | None = None
        self._watchers = 0
        self._wanted = asyncio.Event()
        self._hurry = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._pages = asyncio.Semaphore(_PAGES_AT_ONCE)
        self._reaching = asyncio.Lock()
        self._checked = 0.0
        self._store_lost = False
        self.news = asyncio.Event()
        self.ended = False

    @property
    def ring(self) -> Ring:
        """What happened lately; only for those who have joined."""
        assert self._ring is not None
        return self._ring

    async def run(self) -> None:
        """Reads while anybody watches, for ever."""
        while True:
            if not self._watchers:
                self._ring = None
                self._wanted.clear()
                await self._wanted.wait()
            self._hurry.clear()
            due, self._waiting = self._waiting, []
            try:
                pause = 0.0 if await self._read(check=bool(due)) else self._poll_s
                self._answered()
            except StoreError as error:
                self._unanswered(error, due)
                pause = BACK_OFF_S
            finally:
                for waiter in due:
                    if not waiter.done():
                        waiter.set_result(None)
            if pause:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), pause)

    async def join(self, after: Cursor | None, *, to_now: bool = False) -> Watch:
        """A watcher's way, from a cursor or from now on; to be left in the end. `to_now`: it ends
        by itself once it is up to date.

        Raises StoreUnavailable."""
        self._watchers += 1
        self._metrics.watchers.set(self._watchers)
        watch = Watch(self, self._metrics, self._left, after)
        try:
            if not self.ended:
                self._wanted.set()
                await self._fresh()
                await watch.begin()
                if to_now:  # after a burst the ring may be several reads behind the store
                    watch.due = await self._registry.event_cursor()
        except BaseException:
            watch.leave()
            raise
        return watch

    def end(self) -> None:
        """Asks everybody who watches to go elsewhere."""
        self.ended = True
        self._tell()

    async def page(
        self, places: Places, partitions: Sequence[int] = EVERYWHERE, *, sure: bool = True
    ) -> Page:
        """A read of one watcher's own; `sure` as in `events_behind`. Raises StoreUnavailable."""
        self._metrics.event_reads.labels("behind").inc()
        return await self._registry.events_behind(
            places, partitions=partitions, turn=self._pages, sure=sure
        )

    async def reach_back(self, after: Cursor) -> None:
        """Has the ring begin at a cursor if that is not too far back, so that all who come back at
        once, as after a restart, are served by one read."""
        async with self._reaching:
            ring, start = self.ring, self.ring.start
            if ring.knows(after):
                return
            cursor = low = Cursor(after.epoch, earlier(after.places, start.places))
            found: list[Entry] = []
            size = 0
            while lacking := [p for p in EVERYWHERE if cursor.places[p] < start.places[p]]:
                if size >= ring.room:
                    return
                # Others wait behind us: whether it is lost for sure is for the watcher to find out.
                page = await self.page(cursor.places, lacking, sure=False)
                if page.loss is not None:
                    return
                for event in page.events:
                    if event.id <= start.places[event.partition]:
                        cursor = cursor.behind(event.partition, event.id)
                        found.append(Entry(cursor, event))
                        size += found[-1].size
            if ring.start is start and size < ring.room:
                ring.prepend(found, low)

    async def _read(self, *, check: bool) -> bool:
        """Reads what is new; whether more may follow at once."""
        self._metrics.event_reads.labels("tail").inc()
        if self._ring is None:
            self._ring = Ring(await self._registry.event_cursor(), self._buffer_bytes)
            return False
        now = monotonic()
        check = check or now - self._checked >= CHECK_S
        cursor = self._ring.cursor
        page = await self._registry.events_behind(cursor.places, check=check)
        if check:
            self._checked = now
        if page.loss is not None:
            await self._lose(self._ring, page.loss)
        for event in page.events:
            cursor = cursor.behind(event.partition, event.id)
            self._ring.append(Entry(cursor, event))
        if page.events:
            self._tell()
        return page.more

    async def _lose(self, ring: Ring, loss: Loss) -> None:
        """Goes on from now, and says so."""
        now = await self._registry.event_cursor()
        if now.epoch != ring.cursor.epoch:
            loss = Loss.STORE_REPLACED
        log(logger, logging.WARNING, "events_lost", why=loss.value, watchers=self._watchers)
        ring.append(Entry(now, loss=loss))
        self._tell()

    async def _fresh(self) -> None:
        """Returns once a read has ended that began after this call. Raises StoreUnavailable."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._hurry.set()
        await waiter

    def _tell(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()

    def _left(self) -> None:
        self._watchers -= 1
        self._metrics.watchers.set(self._watchers)

    def _answered(self) -> None:
        if self._store_lost:
            self._store_lost = False
            log(logger, logging.INFO, "events_go_on")

    def _unanswered(self, error: StoreError, due: Sequence[asyncio.Future[None]]) -> None:
        for waiter in due:
            if not waiter.done():
                waiter.set_exception(StoreUnavailable(str(error)))
        if not self._store_lost:
            self._store_lost = True
            log(logger, logging.WARNING, "events_wait_for_the_store", error=str(error))


class Watch:
    """One watcher's way through what happens. `cursor` is the place behind what it was given, None
    only where it came to be sent away at once."""

    def __init__(
        self, tail: Tail, metrics: Metrics, left: Callable[[], None], after: Cursor | None
    ) -> None:
        self.cursor = after
        self._tail = tail
        self._metrics = metrics
        self._left: Callable[[], None] | None = left
        self._next = 0
        self._behind = False  # the ring does not have what follows: read the store
        self._apart = False  # the places are not those of the ring's entries
        self._lost: Loss | None = None
        self.due: Cursor | None = None  # where it ends: behind all that had happened when it came
        self._told_of_gap = False

    async def begin(self) -> None:
        """Finds where to go on. Raises StoreUnavailable."""
        ring, after = self._tail.ring, self.cursor
        self._next = ring.end
        if after is None:
            self.cursor = ring.cursor
            return
        if after.epoch != ring.start.epoch:
            self._lost = Loss.STORE_REPLACED
            return
        if not ring.knows(after):
            await self._tail.reach_back(after)
        self._apart = True
        if ring.knows(after):
            self._next = ring.since
        else:
            self._behind = True

    def is_up_to_date(self) -> bool:
        """Whether a watcher who came for what there is until now was given it; or was told that it
        can't be had."""
        due, place = self.due, self.cursor
        if due is None or place is None or self._lost is not None:
            return False
        return self._told_of_gap or all(map(ge, place.places, due.places))

    def leave(self) -> None:
        """To be called when the watcher is gone."""
        if self._left is not None:
            self._left()
            self._left = None

    def note_sent(self, entries: Sequence[Entry]) -> None:
        """Counts what the watcher was sent."""
        for entry in entries:
            if entry.loss is not None:
                self._metrics.event_gaps.labels(entry.loss.value).inc()
        self._metrics.events_sent.inc(sum(entry.event is not None for entry in entries))

    def note_end(self, reason: str) -> None:
        """Counts why the watcher is sent nothing more."""
        self._metrics.watchers_ended.labels(reason).inc()
        if reason not in ("gateway_stopping", "up_to_date"):
            log(logger, logging.INFO, "watcher_ended", reason=reason)

    async def batches(self, quiet_s: float) -> AsyncGenerator[list[Entry], None]:
        """What happens, some at once; an empty list after `quiet_s` seconds without anything. Ends
        when the gateway stops, and once it is up to date. Raises FellBehindError."""
        tail = self._tail
        while True:
            news = tail.news
            if tail.ended or self.is_up_to_date():
                return
            if self._lost is not None:
                yield [self._told_of_loss()]
            elif self._behind:
                try:
                    found = await self._from_store(self._place)
                except StoreError:
                    await asyncio.sleep(BACK_OFF_S)
                    yield []
                else:
                    if found:
                        yield found
            elif self._next != tail.ring.end:
                found = self._from_ring(self._place)
                if found:
                    yield found
            else:
                try:
                    await asyncio.wait_for(news.wait(), quiet_s)
                except TimeoutError:
                    yield []

    @property
    def _place(self) -> Cursor:
        assert self.cursor is not None  # it has begun
        return self.cursor

    def _told_of_loss(self) -> Entry:
        """From here the watcher goes on with everybody else."""
        ring = self._tail.ring
        entry = Entry(ring.cursor, loss=self._lost)
        self._next, self.cursor = ring.end, ring.cursor
        self._behind = self._apart = False
        self._lost, self._told_of_gap = None, True
        return entry

    async def _from_store(self, place: Cursor) -> list[Entry]:
        """A page of what happened before the ring begins. Raises StoreError."""
        after_page = self._tail.ring.end
        page = await self._tail.page(place.places)
        self._lost = page.loss
        found = []
        for event in page.events:
            place = place.behind(event.partition, event.id)
            found.append(Entry(place, event))
        self.cursor = place
        if page.loss is None and not page.more:
            # The ring's entries up to there were all in the store when the page was read.
            self._behind, self._next = False, after_page
        return found

    def _from_ring(self, place: Cursor) -> list[Entry]:
        ring = self._tail.ring
        if self._next < ring.first:
            raise FellBehindError
        entries = ring.between(self._next, BATCH)
        self._next += len(entries)
        found = []
        for entry in entries:
            event = entry.event
            if self._apart and event is not None:
                if event.id <= place.places[event.partition]:
                    continue
                place = place.behind(event.partition, event.id)
                self._apart = place != entry.cursor
                found.append(Entry(place, event) if self._apart else entry)
            else:
                self._apart = False
                self._told_of_gap |= entry.loss is not None
                place = entry.cursor
                found.append(entry)
        self.cursor = place
        return found
