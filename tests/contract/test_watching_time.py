"""What patrols promise, on every store: leases, observed time, marks and alarms."""

from __future__ import annotations

from registry.keys import partition_of
from registry.registry import Registry
from tests.support.fleet import Fleet, until


async def test_a_lease_is_held_by_one_and_given_back(registry: Registry) -> None:
    one = await registry.patrol([0, 1], "one", observe=False, limit=10)
    two = await registry.patrol([0, 1, 2], "two", observe=False, limit=10)
    assert [p.held for p in one] == [True, True]
    assert [p.held for p in two] == [False, False, True]
    await registry.release([0, 2], "one")
    again = await registry.patrol([0, 1, 2], "two", observe=False, limit=10)
    assert [p.held for p in again] == [True, False, True]


async def test_a_lease_not_renewed_lapses(registry: Registry) -> None:
    await registry.patrol([0], "one", observe=False, limit=10, lease_ttl_s=0.05)

    async def taken() -> bool:
        return (await registry.patrol([0], "two", observe=False, limit=10))[0].held

    await until(taken, "another takes the partition")


async def test_time_seen_without_a_gap_is_not_unobserved(registry: Registry) -> None:
    for _ in range(3):
        found = await registry.patrol([0], "one", observe=True, limit=10)
    assert found[0].unobserved == 0 and found[0].swept > 0


async def test_a_gap_between_observations_is_added_once(registry: Registry) -> None:
    first = await registry.patrol([0], "one", observe=True, limit=10)
    key = registry.keys.swept(0)
    value = (await registry.store.client.get(key)).decode().split(" ")
    await registry.store.client.set(key, f"{first[0].now - 60_000} {value[1]}")
    await registry.patrol([0], "one", observe=True, limit=10)
    found = await registry.patrol([0], "one", observe=True, limit=10)
    assert 60_000 <= found[0].unobserved < 70_000


async def test_time_that_steps_back_is_taken_back(registry: Registry) -> None:
    first = await registry.patrol([0], "one", observe=True, limit=10)
    key = registry.keys.swept(0)
    value = (await registry.store.client.get(key)).decode().split(" ")
    await registry.store.client.set(key, f"{first[0].now + 60_000} {value[1]}")
    found = await registry.patrol([0], "one", observe=True, limit=10)
    assert -60_000 <= found[0].unobserved < -50_000


async def test_another_run_of_the_store_is_unobserved_however_short(registry: Registry) -> None:
    first = await registry.patrol([0], "one", observe=True, limit=10)
    await registry.store.client.set(registry.keys.swept(0), f"{first[0].now - 1_000} otherrun")
    found = await registry.patrol([0], "one", observe=True, limit=10)
    assert found[0].unobserved >= 1_000


async def test_unobserving_patrols_write_no_observed_time(registry: Registry) -> None:
    await registry.patrol([0], "one", observe=False, limit=10)
    assert await registry.store.client.get(registry.keys.swept(0)) is None


async def test_a_mark_taken_by_a_sweeper_that_dies_rings_again(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    await fleet.beat()
    assert await fleet.marked()
    assert not await fleet.marked()
    facts = await fleet.facts()
    assert facts.now < facts.due <= facts.now + 5_000


async def test_an_alarm_rings_when_the_time_out_is_over_and_is_set_on_for_a_live_node(
    quick: Registry,
) -> None:
    fleet = Fleet(quick)
    await fleet.make_ready()  # no warm-up that is over before its silence is
    p = partition_of("node-A")

    async def rings() -> bool:
        found = await quick.patrol([p], "one", observe=False, limit=10)
        return "node-A" in found[0].due

    await until(rings, "the alarm rings")
    await fleet.beat()
    await quick.rearm(await fleet.facts())
    facts = await fleet.facts()
    assert facts.due > facts.now


async def test_an_id_without_a_record_is_forgotten(registry: Registry) -> None:
    p = partition_of("ghost")
    await registry.store.client.zadd(registry.keys.due(p), {"ghost": 1})
    assert await registry.facts(p, ["ghost"]) == [None]
    found = await registry.patrol([p], "one", observe=False, limit=10)
    assert found[0].due == ()


async def test_the_bell_rings_when_the_first_node_is_marked(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    bells = registry.keys.bell_channels([partition_of("node-A")])
    async with registry.subscription(bells) as heard:

        async def healthy() -> bool:
            return heard.healthy

        await until(healthy, "the subscription hears itself")
        await fleet.beat()
        assert await anext(aiter(heard)) == bells[0].encode()


async def test_living_gateways_and_sweepers_are_listed_until_they_withdraw(
    registry: Registry,
) -> None:
    await registry.announce("gw1", {"host": "a"})
    await registry.announce("gw2", {"host": "b"})
    assert sorted(await registry.gateways()) == ["gw1", "gw2"]
    assert await registry.gateway_present("gw1")
    await registry.withdraw("gw1")
    assert sorted(await registry.gateways()) == ["gw2"]
    await registry.announce_sweeper("s2")
    assert await registry.announce_sweeper("s1") == ["s1", "s2"]


async def test_a_gateway_that_stops_announcing_lapses(quick: Registry) -> None:
    await quick.announce("gw1", {"host": "a"})

    async def lapsed() -> bool:
        return not await quick.gateway_present("gw1")

    await until(lapsed, "its presence lapses")
