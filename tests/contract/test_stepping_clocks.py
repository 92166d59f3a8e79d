"""A store that failed over may bring another clock: what the former wrote lies in the future."""

from __future__ import annotations

from registry.keys import partition_of
from registry.registry import Registry
from tests.support.fleet import Fleet, asks

_MINUTE_MS = 60_000


async def test_a_beat_makes_a_node_live_though_its_last_one_lies_in_the_future(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    facts = await fleet.facts()
    client, keys = registry.store.client, registry.keys
    await client.hset(keys.node("node-A"), "beat", facts.last_beat + _MINUTE_MS)
    await client.pexpire(keys.ttl("node-A"), facts.ttl_ms + _MINUTE_MS)
    assert not await registry.select(asks("any"))
    await fleet.beat()
    assert [s.node_id for s in await registry.select(asks("any"))] == ["node-A"]
    after = await fleet.facts()
    assert facts.last_beat <= after.last_beat <= after.now
    assert after.window[:1] == "P"


async def test_every_alarm_rings_when_the_clock_steps_back(registry: Registry) -> None:
    """They were set by a clock ahead, and would ring late by its lead."""
    fleet = Fleet(registry)
    await fleet.register()
    partition = partition_of("node-A")
    first = (await registry.patrol([partition], "one", observe=True, limit=10))[0]
    assert first.due == ()
    client, key = registry.store.client, registry.keys.swept(partition)
    run_id = (await client.get(key)).decode().split(" ")[1]
    await client.set(key, f"{first.now + _MINUTE_MS} {run_id}")
    found = (await registry.patrol([partition], "one", observe=True, limit=10))[0]
    assert found.due == ("node-A",)


async def test_a_key_made_by_a_clock_ahead_does_not_stand_again_when_its_lead_is_over(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    ttl = registry.keys.ttl("node-A")
    await registry.rearm(await fleet.facts())
    assert await registry.store.client.exists(ttl)
    await registry.store.client.pexpire(ttl, 2 * _MINUTE_MS)
    await registry.rearm(await fleet.facts())
    assert not await registry.store.client.exists(ttl)
    await fleet.beat()
    assert [s.node_id for s in await registry.select(asks("any"))] == ["node-A"]
