"""One reader of the store for everybody who watches: two gateways over one store that only this
test knows, with everything happening between any two steps."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, cast

import pytest

from gateway.metrics import Metrics
from gateway.ring import Entry
from gateway.tail import FellBehindError, Tail
from registry.cursor import BEGINNING, NOWHERE, Cursor, EventId, Places
from registry.errors import StoreUnavailable
from registry.events import Event
from registry.keys import PARTITIONS
from registry.registry import Registry
from registry.tailing import EVERYWHERE, Loss, Page
from tests.support.fleet import until

QUIET_S = 0.01
_AT_ONCE = nullcontext()
WORDS = 2**21 - 1
"""As in `lib/event.lua`."""


class Streams:
    """A store of events, in the place of the registry."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.epoch = "00000001"
        self.happened: list[list[EventId]] = [[] for _ in range(PARTITIONS)]
        self.said: dict[tuple[int, EventId], str] = {}
        """What tells an event from a lost one that had its id."""
        self.trimmed = [0] * PARTITIONS
        self.clock = 1000
        self.away = False
        self.reads = 0
        self.sentinels: asyncio.Event | None = None
        """Once set they answer those who ask."""
        self.unsure = 0
        """How many asked them."""
        self.reading = self.most_reading = 0

    def add(self, partition: int) -> None:
        self.clock += self.chance.choice((0, 0, 0, 1, 2))
        ids = self.happened[partition]
        last = ids[-1] if ids else NOWHERE
        ms = max(self.clock, last[0])
        word = self.chance.randint(1, WORDS)  # counting on by one, a lost event's id comes again
        ids.append((ms, last[1] + word if ms == last[0] else word))
        self.said[partition, ids[-1]] = f"event {len(self.said)} at {self.chance.random()}"

    def lose_the_end(self, partition: int, clock_back: int) -> None:
        """As a failover does, to a replica whose clock may be behind."""
        if len(self.kept(partition)) > 2:
            del self.happened[partition][-2:]
        self.clock -= clock_back

    def trim(self, partition: int) -> None:
        if len(self.kept(partition)) > 2:
            self.trimmed[partition] += 2

    def replace(self) -> None:
        self.epoch = f"{int(self.epoch) + 1:08}"
        self.happened = [[] for _ in range(PARTITIONS)]
        self.trimmed = [0] * PARTITIONS

    def kept(self, partition: int) -> list[EventId]:
        return self.happened[partition][self.trimmed[partition] :]

    def behind(self, places: Places) -> list[tuple[int, EventId, str]]:
        """All that happened after some places, also what is not kept any more."""
        return [
            (p, id_, self.said[p, id_])
            for p in range(PARTITIONS)
            for id_ in self.happened[p]
            if id_ > places[p]
        ]

    async def event_cursor(self) -> Cursor:
        await self._answer()
        return Cursor(self.epoch, tuple(ids[-1] if ids else NOWHERE for ids in self.happened))

    async def events_behind(
        self,
        places: Places,
        *,
        partitions: Sequence[int] = EVERYWHERE,
        check: bool = True,
        each: int = 3,
        turn: AbstractAsyncContextManager[Any] = _AT_ONCE,
        sure: bool = True,
    ) -> Page:
        async with turn:
            self.reading += 1
            self.most_reading = max(self.reading, self.most_reading)
            page = await self._behind(places, partitions, check, each)
            self.reading -= 1
        if sure and page.loss is Loss.STORE_LOST_EVENTS and self.sentinels is not None:
            self.unsure += 1
            await self.sentinels.wait()
        return page

    async def _behind(
        self, places: Places, partitions: Sequence[int], check: bool, each: int
    ) -> Page:
        await self._answer()
        found: list[Event] = []
        more = False
        for p in partitions:
            kept = self.kept(p)
            ids = [id_ for id_ in kept if id_ > places[p]]
            there = places[p] in kept if places[p] != NOWHERE else not self.trimmed[p]
            if (ids or check) and not there:
                early = self.trimmed[p] and places[p] < kept[0]
                return Page([], places, loss=Loss.TOO_OLD if early else Loss.STORE_LOST_EVENTS)
            more = more or len(ids) > each
            found += [Event(p, id_, {"id": self.said[p, id_]}) for id_ in ids[:each]]
        moved = list(places)
        for event in found:
            moved[event.partition] = event.id
        page = Page(found, tuple(moved), more=more)
        await self._answer()
        return page

    async def _answer(self) -> None:
        self.reads += 1
        for _ in range(self.chance.randint(0, 3)):
            await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("away")


class Told:
    """What one reader was told, at whichever gateway; it can be cut after any event."""

    def __init__(self, cursor: Cursor | None) -> None:
        self.cursor = cursor
        self.events: list[tuple[int, EventId, str]] = []
        self.gap: Cursor | None = None
        self.losses: list[Loss] = []
        self.fell_behind = 0

    async def read(self, tail: Tail, most: int) -> None:
        """Reads at most so many entries, or until nothing comes for a while."""
        try:
            watch = await tail.join(self.cursor)
        except StoreUnavailable:
            return
        try:
            self.cursor = self.cursor or watch.cursor
            async with contextlib.aclosing(watch.batches(QUIET_S)) as batches:
                async for batch in batches:
                    for entry in batch[:most]:
                        self._take(entry)
                    most -= len(batch)
                    if most <= 0 or not batch:
                        return
        except FellBehindError:
            self.fell_behind += 1
        finally:
            watch.leave()

    def _take(self, entry: Entry) -> None:
        self.cursor = entry.cursor
        if entry.event is None:
            assert entry.loss is not None
            self.losses.append(entry.loss)
            self.gap, self.events = entry.cursor, []
        else:
            event = entry.event
            self.events.append((event.partition, event.id, event.node_id))

    def is_right(self, streams: Streams, start: Places) -> None:
        """Everything since the beginning or the last gap, in order by partition, nothing twice."""
        true = streams.behind(self.gap.places if self.gap else start)
        assert sorted(self.events) == sorted(true)
        for partition in range(PARTITIONS):
            ids = [id_ for p, id_, _ in self.events if p == partition]
            assert ids == sorted(ids)


@contextlib.asynccontextmanager
async def tails(
    streams: Streams, count: int = 2, buffer_bytes: int = 10_000_000
) -> AsyncIterator[list[Tail]]:
    made = [
        Tail(cast("Registry", streams), Metrics(), poll_s=0.001, buffer_bytes=buffer_bytes)
        for _ in range(count)
    ]
    tasks = [asyncio.create_task(tail.run()) for tail in made]
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def wander(
    told: Told, gateways: list[Tail], chance: random.Random, done: asyncio.Event
) -> None:
    """Reads here and there until all is over."""
    while not done.is_set():
        await told.read(chance.choice(gateways), chance.randint(1, 30))


async def catch_up(told: Told, streams: Streams, tail: Tail) -> None:
    """Reads until there is nothing more to be told."""

    async def has_all() -> bool:
        await told.read(tail, 10_000)
        return told.cursor == await streams.event_cursor()

    await until(has_all, "everything is told")


async def live(streams: Streams, chance: random.Random, steps: int, *, faults: bool) -> None:
    """Things happen, a few partitions more often than others."""
    for _ in range(steps):
        for _ in range(chance.choice((0, 1, 1, 2, 20))):
            streams.add(chance.choice((0, 1, 1, 2, 5, 40, chance.randrange(PARTITIONS))))
        if faults and chance.random() < 0.05:
            match chance.randrange(4):
                case 0:
                    partition = chance.choice((0, 1, 2))
                    streams.lose_the_end(partition, chance.choice((0, 50)))
                    for _ in range(chance.choice((0, 2, 4))):
                        streams.add(partition)  # before anybody can notice
                case 1:
                    streams.trim(chance.choice((0, 1, 2)))
                case 2 if chance.random() < 0.3:
                    streams.replace()
                case _:
                    streams.away = not streams.away
        for _ in range(chance.randint(0, 5)):
            await asyncio.sleep(0)
        if chance.random() < 0.1:
            await asyncio.sleep(0.002)
    streams.away = False


@pytest.mark.parametrize("seed", range(8))
async def test_readers_that_come_and_go_anywhere_are_told_exactly_what_happens(seed: int) -> None:
    chance = random.Random(seed)
    streams = Streams(chance)
    for _ in range(40):
        streams.add(chance.randrange(PARTITIONS))
    start = (await streams.event_cursor()).places
    async with tails(streams) as gateways:
        readers = [Told(Cursor(streams.epoch, start)) for _ in range(8)]
        done = asyncio.Event()
        wandering = [asyncio.create_task(wander(r, gateways, chance, done)) for r in readers]
        await live(streams, chance, 150, faults=False)
        done.set()
        await asyncio.gather(*wandering)
        for told in readers:
            await catch_up(told, streams, chance.choice(gateways))
            assert told.losses == []
            told.is_right(streams, start)


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_the_store_loses_readers_are_told_exactly_or_told_of_the_gap(
    seed: int,
) -> None:
    chance = random.Random(seed)
    streams = Streams(chance)
    streams.add(3)
    start = (await streams.event_cursor()).places
    async with tails(streams) as gateways:
        readers = [Told(Cursor(streams.epoch, start)) for _ in range(6)]
        done = asyncio.Event()
        wandering = [asyncio.create_task(wander(r, gateways, chance, done)) for r in readers]
        await live(streams, chance, 200, faults=True)
        done.set()
        await asyncio.gather(*wandering)
        for told in readers:
            await catch_up(told, streams, chance.choice(gateways))
            told.is_right(streams, start)


async def test_nobody_watches_and_the_store_is_left_alone() -> None:
    streams = Streams(random.Random(1))
    async with tails(streams, 1) as (tail,):
        await asyncio.sleep(0.02)
        assert streams.reads == 0
        watch = await tail.join(None)
        watch.leave()
        await asyncio.sleep(0.02)
        reads = streams.reads
        await asyncio.sleep(0.05)
        assert streams.reads == reads


async def test_who_watches_from_now_on_is_told_what_happens_after_they_were_let_in() -> None:
    streams = Streams(random.Random(1))
    streams.add(1)
    async with tails(streams, 1) as (tail,):
        told = Told(None)
        await told.read(tail, 1)
        streams.add(1)
        await told.read(tail, 10)
        assert [p for p, *_ in told.events] == [1]


async def test_who_stays_is_told_that_the_store_lost_events() -> None:
    streams = Streams(random.Random(1))
    async with tails(streams, 1) as (tail,):
        watch = await tail.join(None)
        batches = watch.batches(QUIET_S)
        for _ in range(3):
            streams.add(1)
        told: list[Entry] = []
        while len(told) < 3:
            told += await anext(batches)
        streams.lose_the_end(1, 1)
        streams.add(1)
        for _ in range(100):
            told += await anext(batches)
            if told[-1].loss is not None:
                break
        assert [entry.loss for entry in told] == [None, None, None, Loss.STORE_LOST_EVENTS]
        watch.leave()


async def test_a_cursor_of_another_store_is_told_so_even_if_its_places_are_there() -> None:
    streams = Streams(random.Random(1))
    async with tails(streams, 1) as (tail,):
        told = Told(Cursor(streams.epoch, BEGINNING))
        streams.replace()
        streams.add(1)
        await told.read(tail, 10)
        assert told.losses == [Loss.STORE_REPLACED]
        assert told.events == []
        streams.add(1)
        await catch_up(told, streams, tail)
        told.is_right(streams, BEGINNING)


async def test_many_who_come_back_at_once_are_served_by_a_few_reads() -> None:
    chance = random.Random(1)
    streams = Streams(chance)
    start = Cursor(streams.epoch, BEGINNING)
    for _ in range(60):
        streams.add(chance.randrange(8))
    async with tails(streams, 1) as (tail,):
        readers = [Told(start) for _ in range(50)]
        await asyncio.gather(*(told.read(tail, 1000) for told in readers))
        assert all(len(told.events) == 60 for told in readers)
        read_behind = tail._metrics.event_reads.labels("behind")._value.get()
        assert read_behind < 10


async def test_who_comes_from_too_far_back_reads_the_store_alone_and_loses_nothing() -> None:
    chance = random.Random(1)
    streams = Streams(chance)
    start = Cursor(streams.epoch, BEGINNING)
    for _ in range(1000):
        streams.add(chance.randrange(8))
    async with tails(streams, 1, buffer_bytes=500_000) as (tail,):
        told = Told(start)
        reading = asyncio.create_task(told.read(tail, 10_000))
        for _ in range(100):
            streams.add(chance.randrange(8))
            await asyncio.sleep(0)
        await reading
        await catch_up(told, streams, tail)
        told.is_right(streams, BEGINNING)


async def test_nobody_waits_while_others_who_may_have_lost_events_have_the_sentinels_asked() -> (
    None
):
    chance = random.Random(1)
    streams = Streams(chance)
    streams.sentinels = asyncio.Event()
    for _ in range(300):
        streams.add(chance.randrange(8))
    behind = Cursor(streams.epoch, BEGINNING)
    lost = Cursor(streams.epoch, ((1, 1), *BEGINNING[1:]))
    async with tails(streams, 1, buffer_bytes=10_000) as (tail,):
        unsure = [Told(lost) for _ in range(5)]
        reading = [asyncio.create_task(told.read(tail, 1)) for told in unsure]

        async def all_wait() -> bool:
            return streams.unsure == len(unsure)

        await until(all_wait, "all have the sentinels asked at once")
        other = await told_to_now(tail, behind)
        assert (len(other.events), other.losses) == (300, [])
        streams.sentinels.set()
        await asyncio.gather(*reading)
        assert [told.losses for told in unsure] == [[Loss.STORE_LOST_EVENTS]] * len(unsure)


async def test_however_many_read_the_store_by_themselves_two_do_so_at_once() -> None:
    streams = Streams(random.Random(1))
    streams.add(1)
    ahead = Cursor(streams.epoch, ((streams.clock + 1000, 1),) * PARTITIONS)
    async with tails(streams, 1) as (tail,):
        readers = [Told(ahead) for _ in range(20)]
        await asyncio.gather(*(told.read(tail, 1) for told in readers))
        assert all(told.losses == [Loss.STORE_LOST_EVENTS] for told in readers)
        assert streams.most_reading in (2, 3), "maybe with the one who reads for all"


async def test_who_falls_behind_what_is_kept_is_told_so_and_goes_on_from_the_store() -> None:
    chance = random.Random(1)
    streams = Streams(chance)
    async with tails(streams, 1, buffer_bytes=100_000) as (tail,):
        slow = await tail.join(None)
        told = Told(slow.cursor)
        for _ in range(200):
            streams.add(chance.randrange(8))

        async def read() -> bool:
            return len(tail.ring.between(tail.ring.first, 1000)) > 30 and tail.ring.end == 200

        await until(read, "all is read")
        with pytest.raises(FellBehindError):
            await anext(slow.batches(QUIET_S))
        slow.leave()
        await catch_up(told, streams, tail)
        told.is_right(streams, BEGINNING)


async def test_a_stopping_gateway_sends_everybody_away_without_asking_the_store() -> None:
    streams = Streams(random.Random(1))
    async with tails(streams, 1) as (tail,), asyncio.timeout(5):
        watch = await tail.join(None)
        tail.end()
        assert [batch async for batch in watch.batches(60)] == []
        watch.leave()
        streams.away = True
        late = await tail.join(Cursor("00000001", BEGINNING))
        assert [batch async for batch in late.batches(60)] == []
        late.leave()


async def test_a_store_that_is_away_is_told_to_who_comes_and_waited_for_by_who_is_there() -> None:
    streams = Streams(random.Random(1))
    async with tails(streams, 1) as (tail,):
        watch = await tail.join(None)
        streams.away = True
        with pytest.raises(StoreUnavailable):
            await tail.join(None)
        streams.add(1)
        assert await anext(watch.batches(QUIET_S)) == []
        streams.away = False
        batches: Any = watch.batches(5)
        assert len(await anext(batches)) == 1
        watch.leave()


async def told_to_now(tail: Tail, after: Cursor | None) -> Told:
    """What a reader is told until it is up to date."""
    told = Told(after)
    watch = await tail.join(after, to_now=True)
    async with asyncio.timeout(5):
        async for batch in watch.batches(60):
            for entry in batch:
                told._take(entry)
    assert watch.is_up_to_date()
    watch.leave()
    return told


@pytest.mark.parametrize("buffer_bytes", [10_000_000, 200_000])
async def test_who_asks_until_now_is_told_what_happened_and_ends_though_nothing_more_comes(
    buffer_bytes: int,
) -> None:
    chance = random.Random(1)
    streams = Streams(chance)
    for _ in range(300):
        streams.add(chance.randrange(8))
    async with tails(streams, 1, buffer_bytes) as (tail,):
        told = await told_to_now(tail, Cursor(streams.epoch, BEGINNING))
        assert told.losses == []
        told.is_right(streams, BEGINNING)
        assert (await told_to_now(tail, None)).events == []
        assert (await told_to_now(tail, await streams.event_cursor())).events == []


async def test_who_asks_until_now_in_the_middle_of_a_burst_is_told_all_of_it() -> None:
    streams = Streams(random.Random(1))
    async with tails(streams, 1) as (tail,):
        watch = await tail.join(None)
        for _ in range(100):  # three are read at once
            streams.add(1)
        told = await told_to_now(tail, Cursor(streams.epoch, BEGINNING))
        assert len(told.events) == 100
        watch.leave()


async def test_who_asks_until_now_and_is_told_of_a_gap_is_up_to_date_behind_it() -> None:
    streams = Streams(random.Random(1))
    old = Cursor(streams.epoch, BEGINNING)
    streams.replace()
    streams.add(1)
    async with tails(streams, 1) as (tail,):
        told = await told_to_now(tail, old)
        assert (told.losses, told.events) == ([Loss.STORE_REPLACED], [])


async def test_who_asks_until_now_and_is_told_of_a_gap_on_the_way_ends_behind_it() -> None:
    streams = Streams(random.Random(1))
    async with tails(streams, 1) as (tail,):
        other = await tail.join(None)
        for _ in range(100):  # three are read at once
            streams.add(1)
        watch = await tail.join(None, to_now=True)
        assert not watch.is_up_to_date()
        streams.replace()
        async with asyncio.timeout(5):
            told = [entry async for batch in watch.batches(60) for entry in batch]
        assert told[-1].loss is Loss.STORE_REPLACED
        assert watch.is_up_to_date()
        watch.leave()
        other.leave()


async def test_who_did_not_ask_until_now_goes_on_when_it_was_told_everything() -> None:
    streams = Streams(random.Random(1))
    async with tails(streams, 1) as (tail,):
        watch = await tail.join(None)
        batches: Any = watch.batches(QUIET_S)
        assert await anext(batches) == []
        assert not watch.is_up_to_date()
        streams.add(1)
        assert len(await anext(batches)) == 1
        watch.leave()
