"""What selection, indexes and lists promise, on every store."""

from __future__ import annotations

import pytest

from registry.keys import partition_of
from registry.listing import CursorError, Filter
from registry.model import Change, Reason, Status
from registry.registry import Registry
from registry.requirement import Requirement
from sweeper.repair import Repair
from tests.support.fleet import Fleet, asks


async def test_only_nodes_with_every_capability_are_selected(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready("node-A")
    await fleet.make_ready("node-B", capabilities=("any", "asr:zh"))
    both = await registry.select(asks("asr:zh", "nmt:zh:en"), 5)
    assert [s.node_id for s in both] == ["node-A"]
    assert {s.node_id for s in await registry.select(asks("asr:zh"), 5)} == {"node-A", "node-B"}
    assert await registry.select(asks("tts:fr"), 5) == []


async def test_a_full_node_is_not_selected(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await fleet.beat(jobs=1, capacity=1)
    assert await registry.select(asks(), 5) == []
    await fleet.beat(jobs=1, capacity=2)
    assert [(s.load, s.capacity) for s in await registry.select(asks(), 5)] == [(1, 2)]


async def test_private_nodes_are_selected_only_on_demand(registry: Registry) -> None:
    await Fleet(registry).make_ready(public=False)
    assert await registry.select(asks(), 5) == []
    assert len(await registry.select(Requirement(public=False), 5)) == 1


async def test_a_single_fit_among_many_is_found(registry: Registry) -> None:
    fleet = Fleet(registry)
    for i in range(40):
        await fleet.make_ready(f"node-{i}", public=i == 17)
    assert [s.node_id for s in await registry.select(asks(), 1)] == ["node-17"]


async def test_an_index_that_lies_is_caught_by_the_check(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    p = partition_of("node-A")
    await registry.store.client.sadd(registry.keys.ready(p, "any"), "node-A", "ghost")
    assert await registry.select(asks(), 5) == []


async def test_models_that_change_move_the_index_places(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    seen = await registry.existing("node-A")
    assert seen is not None
    for _ in range(2):
        assert await registry.update(
            "node-A", "sid-node-A", "d1", seen.capabilities, b"", "d2", ("any", "tts:en"), True, 1
        )
    assert await registry.select(asks("nmt:zh:en"), 5) == []
    assert len(await registry.select(asks("tts:en"), 5)) == 1


async def test_an_update_by_a_superseded_session_is_refused(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    assert not await registry.update("node-A", "x", "d1", (), b"", "d2", ("tts:en",), True, 1)


async def test_a_node_that_is_not_ready_updates_without_being_indexed(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    assert await registry.update("node-A", "sid-node-A", "d1", (), b"", "d2", ("any",), True, 1)
    assert await registry.index_members(partition_of("node-A"), "any") == set()


async def test_repair_puts_a_node_where_it_belongs_and_nowhere_else(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    p = partition_of("node-A")
    client, keys = registry.store.client, registry.keys
    await client.srem(keys.ready(p, "any"), "node-A")
    await client.sadd(keys.ready(p, "tts:fr"), "node-A")
    assert await registry.reindex(await fleet.facts(), ["tts:fr"])
    assert "node-A" in await registry.index_members(p, "any")
    assert await registry.index_members(p, "tts:fr") == set()
    assert not await registry.reindex(await fleet.facts(), [])


async def test_a_partition_is_repaired_whole_and_what_is_right_is_left_alone(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    p = partition_of("node-A")
    ghost, *same = [f"n{i}" for i in range(2000) if partition_of(f"n{i}") == p][:10]
    for place, node_id in enumerate(same):
        await fleet.make_ready(node_id, capabilities=("any", f"label:host={place}"))
    repair = Repair(registry, 4)
    assert await repair.partition(p) == 0
    client, keys = registry.store.client, registry.keys
    await client.srem(keys.ready(p, "label:host=3"), same[3])
    await client.sadd(keys.ready(p, "label:host=5"), same[4], ghost)
    await fleet.commit(Status.DEGRADED, Reason.GPU_UNAVAILABLE, same[8])
    await client.sadd(keys.ready(p, "any"), same[8])
    assert await repair.partition(p) == 4
    for place, node_id in enumerate(same[:8]):
        assert await registry.index_members(p, f"label:host={place}") == {node_id}
    assert await registry.index_members(p, "any") == set(same[:8])
    assert await repair.partition(p) == 0


async def test_whom_a_lost_roll_lacks_is_put_back_though_nobody_but_the_repair_sees_to_the_healthy(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    p = partition_of("node-A")
    ghost, *same = sorted(f"n{i}" for i in range(2000) if partition_of(f"n{i}") == p)[:10]
    for node_id in same:
        await fleet.make_ready(node_id)
        await fleet.beat(node_id)
    client, keys = registry.store.client, registry.keys
    await client.delete(keys.roll(p))
    await client.sadd(keys.ready(p, "any"), ghost)
    await client.srem(keys.ready(p, "asr:zh"), same[2])
    assert (await registry.snooze([(p, same)])).ids == set(same)
    assert (await registry.listed(Filter(), 100))[0] == []
    repair = Repair(registry, 4)
    assert await repair.partition(p) == len(same) + 1
    assert await registry.roll(p, "", 100) == same
    assert [node.node_id for node in (await registry.listed(Filter(), 100))[0]] == same
    assert (await registry.counts([p]))["ready"] == len(same)
    assert await registry.index_members(p, "any") == set(same)
    assert await registry.index_members(p, "asr:zh") == set(same)
    assert await repair.partition(p) == 0


async def test_whom_no_index_has_comes_back_to_a_lost_roll_too_and_counts_once(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    p = partition_of("node-A")
    ghost, *same = sorted(f"n{i}" for i in range(2000) if partition_of(f"n{i}") == p)[:6]
    _, weak, *gone = same
    for node_id in same:
        await fleet.make_ready(node_id)
    assert isinstance(await fleet.commit(Status.DEGRADED, Reason.GPU_UNAVAILABLE, weak), Change)
    for node_id in gone:
        await fleet.leave(node_id, drain=False)
        change = await fleet.commit(Status.OFFLINE, Reason.UNREGISTERED, node_id)
        assert isinstance(change, Change)
    assert await registry.remove(gone[0], "op", "sold")
    before = await registry.counts([p])
    assert {s: n for s, n in before.items() if n} == {"ready": 1, "degraded": 1, "offline": 2}
    client, keys = registry.store.client, registry.keys
    alarms = await client.zrange(keys.due(p), 0, -1, withscores=True)
    await client.delete(keys.roll(p))
    await client.zadd(keys.due(p), {ghost: 1})
    repair = Repair(registry, 2)
    assert await repair.partition(p) == len(same)
    assert await registry.roll(p, "", 100) == same
    assert await registry.counts([p]) == before
    after = dict(await client.zrange(keys.due(p), 0, -1, withscores=True))
    assert sorted(after) == sorted(id_ for id_, _ in alarms)
    assert [after[id_.encode()] for id_ in gone] == [dict(alarms)[id_.encode()] for id_ in gone]
    assert await repair.partition(p) == 0
    assert await registry.counts([p]) == before


async def test_repair_on_stale_facts_changes_nothing(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    facts = await fleet.facts()
    await fleet.commit(Status.DEGRADED, Reason.GPU_UNAVAILABLE)
    assert not await registry.reindex(facts, [])
    assert await registry.index_members(partition_of("node-A"), "any") == set()


async def test_an_id_without_a_record_leaves_the_indexes(registry: Registry) -> None:
    p = partition_of("ghost")
    await registry.store.client.sadd(registry.keys.ready(p, "any"), "ghost")
    assert await registry.unindex("ghost", p, ["any"])
    assert await registry.index_members(p, "any") == set()


async def test_pages_show_every_node_once_and_filter_by_status(registry: Registry) -> None:
    fleet = Fleet(registry)
    for i in range(25):
        await fleet.register(f"node-{i:02}")
    await fleet.commit(Status.DEGRADED, Reason.WARMUP_TIMEOUT, "node-07")
    seen: list[str] = []
    cursor = None
    while True:
        rows, cursor = await registry.listed(Filter(), 4, cursor)
        seen += [r.node_id for r in rows]
        if cursor is None:
            break
    assert sorted(seen) == [f"node-{i:02}" for i in range(25)]
    rows, _ = await registry.listed(Filter(statuses=frozenset({"degraded"})), 10)
    assert [r.node_id for r in rows] == ["node-07"]


async def test_a_cursor_that_is_none_of_ours_is_refused(registry: Registry) -> None:
    for cursor in ("nonsense", "0:node-A", "99:x", "²:x", ":"):
        with pytest.raises(CursorError):
            await registry.listed(Filter(), 4, cursor)


async def test_two_prefixes_share_a_store_without_meeting(
    registry: Registry, quick: Registry
) -> None:
    await Fleet(registry).register("node-A")
    assert await quick.existing("node-A") is None
