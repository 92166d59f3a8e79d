"""Reading what happens, from a place on: exactly, or with word of what is missing."""

from __future__ import annotations

import asyncio
from collections import Counter

from registry import capabilities as can
from registry.cursor import BEGINNING, Cursor, EventId, Places, event_id, event_id_text
from registry.events import Event, EventType
from registry.keys import partition_of
from registry.model import Reason, Status
from registry.registry import Registry
from registry.tailing import Loss, Page
from tests.support.api import register
from tests.support.fleet import Fleet, until


async def all_behind(registry: Registry, places: Places, each: int = 8) -> list[Event]:
    """Every event that follows, page by page."""
    found: list[Event] = []
    while True:
        page = await registry.events_behind(places, each=each)
        assert page.loss is None
        found += page.events
        places = page.places
        if not page.more:
            return found


async def add(registry: Registry, partition: int, **fields: str | int) -> EventId:
    """Adds an entry as a script would."""
    pairs = [part for pair in {"type": "mend", "at": 1, **fields}.items() for part in pair]
    key = registry.keys.events(partition)
    return event_id((await registry.store.commands([("XADD", key, "*", *pairs)]))[0])


async def add_at(registry: Registry, partition: int, id_: EventId) -> None:
    """Adds an entry with an id of a store whose clock says so."""
    await registry.store.commands(
        [("XADD", registry.keys.events(partition), event_id_text(id_), "type", "mend", "at", 1)]
    )


async def trim(registry: Registry, partition: int, length: int) -> None:
    await registry.store.commands([("XTRIM", registry.keys.events(partition), "MAXLEN", length)])


async def lost(registry: Registry, places: Places, *, check: bool = True) -> Loss | None:
    return (await registry.events_behind(places, check=check)).loss


async def test_an_empty_store_has_no_events_and_its_end_is_its_beginning(
    registry: Registry,
) -> None:
    assert await registry.event_ends() == BEGINNING
    assert await registry.events_behind(BEGINNING) == Page([], BEGINNING)


async def test_events_come_in_the_order_in_which_they_happened_to_each_node(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready("node-A")
    await fleet.make_ready("node-B")
    await registry.drain("node-A", "ann", "new fans")
    events = await all_behind(registry, BEGINNING)
    assert [e.type for e in events if e.node_id == "node-A"] == [
        EventType.REGISTER, EventType.TRANSITION, EventType.OPERATOR_DRAIN,
    ]  # fmt: skip
    assert [e.statuses for e in events if e.node_id == "node-B"] == [
        ("", "registering"), ("registering", "ready"),
    ]  # fmt: skip
    assert events == sorted(events, key=lambda e: e.id)


async def test_reading_on_from_a_page_misses_and_repeats_nothing(registry: Registry) -> None:
    written: Counter[tuple[int, EventId]] = Counter()
    for n in range(300):
        partition = n % 7 * 9
        written[(partition, await add(registry, partition))] += 1
    events = await all_behind(registry, BEGINNING, each=3)
    assert Counter((e.partition, e.id) for e in events) == written
    assert events == sorted(events, key=lambda e: e.id)


async def test_pages_are_in_order_though_one_partition_has_much_more(registry: Registry) -> None:
    for partition in (5, 5, 5, 5, 6, 5, 5, 6, 6, 5):
        await add(registry, partition)
        await asyncio.sleep(0.002)  # so that the ids tell them apart
    events = await all_behind(registry, BEGINNING, each=2)
    assert [e.partition for e in events] == [5, 5, 5, 5, 6, 5, 5, 6, 6, 5]


async def test_every_event_is_a_place_to_read_on_from(registry: Registry) -> None:
    for n in range(40):
        await add(registry, n % 5)
    events = await all_behind(registry, BEGINNING)
    places = list(BEGINNING)
    for read, event in enumerate(events, 1):
        places[event.partition] = event.id
        cursor = Cursor.read(str(Cursor("00c0ffee", tuple(places))))
        rest = await all_behind(registry, cursor.places)
        assert [(e.partition, e.id) for e in rest] == [(e.partition, e.id) for e in events[read:]]


async def test_the_ends_are_behind_all_that_happened(registry: Registry) -> None:
    await add(registry, 3)
    ends = await registry.event_ends()
    assert await all_behind(registry, ends) == []
    last = await add(registry, 40)
    assert [e.id for e in await all_behind(registry, ends)] == [last]


async def test_reading_since_an_instant_tells_all_that_came_then_or_later(
    registry: Registry,
) -> None:
    for partition, id_ in ((3, (1000, 0)), (3, (2000, 0)), (3, (2000, 1)), (9, (3000, 0))):
        await add_at(registry, partition, id_)
    for instant, told in ((0, 4), (1000, 4), (1001, 3), (2000, 3), (2001, 1), (3000, 1), (3001, 0)):
        cursor = await registry.cursor_since(instant)
        assert cursor.epoch == await registry.event_epoch()
        assert len(await all_behind(registry, cursor.places)) == told, instant


async def test_reading_since_before_what_is_kept_begins_behind_the_oldest_without_a_loss(
    registry: Registry,
) -> None:
    ids = [await add(registry, 5) for _ in range(6)]
    await add(registry, 6)
    await trim(registry, 5, 3)
    places = (await registry.cursor_since(0)).places
    assert [e.id for e in await all_behind(registry, places) if e.partition == 5] == ids[-2:]
    assert len(await all_behind(registry, places)) == 3


async def test_a_place_that_was_trimmed_away_is_too_old(registry: Registry) -> None:
    first = await add(registry, 5)
    for _ in range(4):
        await add(registry, 5)
    old = (*BEGINNING[:5], first, *BEGINNING[6:])
    assert await lost(registry, old) is None
    await trim(registry, 5, 2)
    assert await lost(registry, old) is Loss.TOO_OLD


async def test_the_beginning_is_too_old_once_something_was_trimmed_away(
    registry: Registry,
) -> None:
    for _ in range(3):
        await add(registry, 5)
    assert await lost(registry, BEGINNING) is None
    await trim(registry, 5, 2)
    assert await lost(registry, BEGINNING) is Loss.TOO_OLD


async def test_a_stream_that_lost_its_end_is_noticed_before_anything_follows(
    registry: Registry,
) -> None:
    await add(registry, 5)
    read = await registry.event_ends()
    ahead = (*read[:5], (read[5][0] + 60_000, 0), *read[6:])
    assert await lost(registry, ahead) is Loss.STORE_LOST_EVENTS
    assert await lost(registry, ahead, check=False) is None


async def test_a_stream_that_lost_its_end_and_went_on_is_noticed_without_being_asked_to_look(
    registry: Registry,
) -> None:
    kept = await add(registry, 5)
    read_and_lost = (kept[0] + 1, 0)
    await add_at(registry, 5, (kept[0] + 2, 0))
    places = (*BEGINNING[:5], read_and_lost, *BEGINNING[6:])
    assert await lost(registry, places, check=False) is Loss.STORE_LOST_EVENTS


async def test_an_event_never_gets_the_id_of_one_that_was_lost_where_the_clock_is_behind(
    registry: Registry,
) -> None:
    """The replica that takes over has the stream without its last event, and its clock has yet to
    reach the time of the one before: each event it adds is counted on from that."""
    fleet = Fleet(registry)
    p = partition_of("node-A")
    await fleet.make_ready("node-A")
    ahead = (await registry.synchronise() + 60_000, 0)
    for read_and_lost, then in (("drain", "resume"), ("note", "note"), ("note", "drain")):
        await registry.store.commands([("DEL", registry.keys.events(p))])
        await add_at(registry, p, ahead)
        await act(registry, read_and_lost, "before")
        read = await registry.event_ends()
        assert read[p][0] == ahead[0]
        await registry.store.commands([("DEL", registry.keys.events(p))])
        await add_at(registry, p, ahead)
        for _ in range(3):
            await act(registry, then, "after")
            assert await lost(registry, read) is Loss.STORE_LOST_EVENTS


async def act(registry: Registry, what: str, why: str) -> None:
    """Something that adds an event about node-A, in its partition."""
    match what:
        case "drain":
            await registry.drain("node-A", "ann", why)
        case "resume":
            await registry.resume("node-A", "ann", why)
            await registry.drain("node-A", "ann", why)
        case _:
            await registry.note(partition_of("node-A"), "mass_expiry", {"why": why})


async def test_ids_only_grow_whatever_came_before(registry: Registry) -> None:
    now = await registry.synchronise()
    for n, before in enumerate(((now - 5, 7), (now + 60_000, 0), (now + 60_000, 2**63))):
        await add_at(registry, n, before)
        for _ in range(20):
            await registry.note(n, "mass_expiry", {})
        ids = [e.id for e in await all_behind(registry, BEGINNING) if e.partition == n]
        assert ids == sorted(set(ids))
        assert len(ids) == 21
        assert ids[-1][1] < 2**53


async def test_the_store_is_read_only_when_it_is_the_readers_turn(registry: Registry) -> None:
    turn = asyncio.Semaphore(1)
    async with turn:
        reading = asyncio.create_task(registry.events_behind(BEGINNING, turn=turn))
        assert not (await asyncio.wait([reading], timeout=0.1))[0]
    assert await reading == Page([], BEGINNING)


async def test_a_stream_that_is_gone_is_noticed(registry: Registry) -> None:
    await add(registry, 5)
    read = await registry.event_ends()
    await registry.store.commands([("DEL", registry.keys.events(5))])
    assert await lost(registry, read) is Loss.STORE_LOST_EVENTS
    await add(registry, 5)
    assert await lost(registry, read, check=False) is Loss.STORE_LOST_EVENTS


async def test_a_clock_that_is_behind_after_a_failover_loses_nothing(registry: Registry) -> None:
    """Partitions where nothing happened for long get ids below those that others have."""
    ahead = await add(registry, 5)
    read = await registry.event_ends()
    behind = (ahead[0] - 60_000, 0)
    await add_at(registry, 6, behind)
    assert [(e.partition, e.id) for e in await all_behind(registry, read)] == [(6, behind)]


async def test_the_epoch_is_made_once_and_anew_in_a_store_that_was_emptied(
    registry: Registry,
) -> None:
    epoch = await registry.event_epoch()
    assert await registry.event_epoch() == epoch
    assert (await registry.event_cursor()).epoch == epoch
    await registry.store.commands([("DEL", registry.keys.epoch())])
    assert await registry.event_epoch() != epoch


# Whose events they are

OF_X = ("any", "asr:zh", "label:owner=x", "label:rack=b%204", "model:label:no")
OF_Y = ("any", "asr:zh", "label:owner=y")
X, Y = {"owner": "x", "rack": "b 4"}, {"owner": "y"}


async def last(registry: Registry) -> Event:
    """What happened last to any node."""
    events = await all_behind(registry, BEGINNING)
    return max(events, key=lambda e: e.id)


async def test_an_event_carries_the_labels_that_its_node_had_then(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready("node-A", capabilities=OF_X)
    await fleet.make_ready("node-B")
    for event in await all_behind(registry, BEGINNING):
        assert event.labels == (X if event.node_id == "node-A" else {})
        assert event.former_labels is None


async def test_a_registration_with_other_labels_carries_the_former_too(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register("node-A", capabilities=OF_X)
    await fleet.register("node-A", sid="later", digest="d2", capabilities=OF_Y)
    event = await last(registry)
    assert (event.type, event.labels, event.former_labels) == ("register", Y, X)


async def test_an_update_carries_the_labels_before_and_after(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register("node-A", capabilities=OF_X)
    await registry.update(
        "node-A", "sid-node-A", "d1", OF_X,
        registration=b"\x80", digest="d2", capabilities=OF_Y, public=True, capacity=1,
        gpu_memory_gb=8, label_stamp="",
    )  # fmt: skip
    event = await last(registry)
    assert (event.type, event.labels, event.former_labels) == ("update", Y, X)


async def test_acts_of_operators_carry_the_labels_in_force(registry: Registry) -> None:
    fleet = Fleet(registry)
    packed = can.pack(register(labels={"owner": "x"}))
    caps = can.capabilities(register(labels={"owner": "x"}))
    await fleet.register("node-A", registration=packed, capabilities=caps)
    before = len(await all_behind(registry, BEGINNING))
    await registry.drain("node-A", "ann", "fans")
    await registry.label("node-A", {"tier": "gold"}, "ann", "promoted")
    await registry.resume("node-A", "ann", "fans are in")
    await registry.remove("node-A", "ann", "sold")
    acts = (await all_behind(registry, BEGINNING))[before:]
    own, all_ = {"owner": "x"}, {"owner": "x", "tier": "gold"}
    assert [(e.type, e.labels, e.former_labels) for e in acts] == [
        ("operator_drain", own, None),
        ("operator_labels", all_, own),
        ("operator_resume", all_, None),
        ("operator_remove", all_, None),
    ]


async def test_what_expires_carries_the_labels_it_had(quick: Registry) -> None:
    fleet = Fleet(quick)
    await fleet.register("node-A", capabilities=OF_X)
    await fleet.commit(Status.OFFLINE, Reason.UNREGISTERED)

    async def gone() -> bool:
        return await quick.expire_all([await fleet.facts()]) == [True]

    await until(gone, "its retention is over")
    event = await last(quick)
    assert (event.type, event.labels) == ("expired", X)


async def test_what_is_mended_and_two_with_one_identity_carry_the_labels(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    told = await fleet.register("node-A", capabilities=OF_X)
    await registry.mend("node-A", "sid-node-A", told.version + 5, "")
    assert (await last(registry)).labels == X
    seen = await registry.existing("node-A")
    await registry.note(partition_of("node-A"), "duplicate_identity", {"boot_id": "b"}, seen)
    event = await last(registry)
    assert (event.type, event.node_id, event.labels) == ("duplicate_identity", "node-A", X)
    await registry.note(3, "mass_expiry", {"lost": 5})
    assert (await last(registry)).node_id == ""


async def test_unobserved_time_is_told_to_the_sweeper_that_finds_it(registry: Registry) -> None:
    async def patrolled() -> int:
        looks = await registry.patrol([3], "owner", observe=True, limit=1)
        return looks[0].added

    assert await patrolled() == 0
    now = await registry.synchronise()
    key = registry.keys.swept(3)
    (swept,) = await registry.store.commands([("GET", key)])
    run = swept.decode().partition(" ")[2]
    await registry.store.commands([("SET", key, f"{now - 60_000} {run}")])
    assert 60_000 <= await patrolled() < 70_000
    assert await patrolled() == 0
    await registry.store.commands([("SET", key, f"{now + 60_000} {run}")])
    assert -60_000 <= await patrolled() < -50_000
