"""Alarms of the healthy are set on without a judgement; those of anybody else keep ringing.

That no rule leads away from the healthy is shown in the unit tests of the rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from registry.keys import partition_of
from registry.model import Verdict
from registry.registry import Registry
from tests.support.fleet import CAPABILITIES, Fleet

NODE = "node-A"
P = partition_of(NODE)
_LATE_MS = 700


async def ring(registry: Registry, node_id: str = NODE) -> int:
    """The node's alarm should have rung a little ago; the store's clock then."""
    now = await registry.synchronise()
    due = registry.keys.due(partition_of(node_id))
    await registry.store.client.zadd(due, {node_id: now - _LATE_MS})
    return now


async def healthy(registry: Registry, node_id: str = NODE) -> Fleet:
    fleet = Fleet(registry)
    await fleet.make_ready(node_id)
    await fleet.beat(node_id)
    return fleet


async def test_the_healthy_ring_again_a_time_out_after_their_last_beat(registry: Registry) -> None:
    others = [f"node-{i}" for i in range(20)]
    fleet = await healthy(registry)
    pages: dict[int, list[str]] = {P: [NODE]}
    for node_id in others:
        await healthy(registry, node_id)
        await ring(registry, node_id)
        pages.setdefault(partition_of(node_id), []).append(node_id)
    await ring(registry)
    found = await registry.snooze(list(pages.items()))
    assert found.ids == {NODE, *others}
    assert found.late_ms >= _LATE_MS
    facts = await fleet.facts()
    timeout_ms = round(registry.settings.heartbeat_timeout_s * 1000)
    assert facts.due == facts.last_beat + timeout_ms + 1
    assert await registry.snooze([]) == type(found)(frozenset(), 0)


async def failed(fleet: Fleet) -> None:
    await fleet.beat(verdict=Verdict.GPU_UNAVAILABLE)
    await fleet.beat()  # its newest verdict passes, its window does not


async def leaves(fleet: Fleet) -> None:
    assert await fleet.registry.unregister(
        NODE, fleet.sids[NODE], drain=True, why="", digest="d1", capabilities=CAPABILITIES
    )


async def drained(fleet: Fleet) -> None:
    assert await fleet.registry.drain(NODE, "alice", "new card")


async def key_gone(fleet: Fleet) -> None:
    assert await fleet.registry.store.client.delete(fleet.registry.keys.ttl(NODE))


async def key_of_a_clock_ahead(fleet: Fleet) -> None:
    assert await fleet.registry.store.client.pexpire(fleet.registry.keys.ttl(NODE), 300_000)


async def silent(fleet: Fleet) -> None:
    node = fleet.registry.keys.node(NODE)
    last = (await fleet.facts()).last_beat
    await fleet.registry.store.client.hset(node, "beat", last - 60_000)


async def forgotten(fleet: Fleet) -> None:
    assert await fleet.registry.store.client.delete(fleet.registry.keys.node(NODE))


async def registered_anew(fleet: Fleet) -> None:
    await fleet.register(NODE, sid="another", registration=b"\x81", digest="d2")
    await fleet.beat()


@pytest.mark.parametrize(
    "unwell",
    [failed, leaves, drained, key_gone, key_of_a_clock_ahead, silent, forgotten, registered_anew],
)
async def test_the_alarm_of_anybody_else_keeps_ringing(
    registry: Registry, unwell: Callable[[Fleet], Awaitable[None]]
) -> None:
    fleet = await healthy(registry)
    await ring(registry)
    assert (await registry.snooze([(P, [NODE])])).ids == {NODE}, "it was healthy before"
    await unwell(fleet)
    rang = await ring(registry) - _LATE_MS
    assert (await registry.snooze([(P, [NODE])])).ids == frozenset()
    due = await registry.store.client.zscore(registry.keys.due(P), NODE)
    assert int(due) == rang
