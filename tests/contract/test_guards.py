"""Guards that no other promise would miss; `python -m tests.mutants` breaks each in turn."""

from __future__ import annotations

from dataclasses import replace

from registry.keys import partition_of
from registry.model import Decision, Reason, Registered, Stale, Status
from registry.registry import Registry
from tests.support.fleet import Fleet, asks, until


async def _leave(registry: Registry, digest: str = "d1") -> bool:
    return await registry.unregister(
        "node-A",
        "sid-node-A",
        drain=True,
        why="test",
        digest=digest,
        capabilities=("any", "asr:zh", "nmt:zh:en"),
    )


async def _index(registry: Registry, capability: str) -> None:
    """Makes the index lie: it names the node although something took it out."""
    key = registry.keys.ready(partition_of("node-A"), capability)
    await registry.store.client.sadd(key, "node-A")


async def _past_retention(fleet: Fleet) -> None:
    kept_ms = fleet.registry.settings.retention_s * 1000

    async def over() -> bool:
        facts = await fleet.facts()
        return facts.now - facts.since > kept_ms

    await until(over, "retention ends")


async def test_time_between_packing_and_running_counts_as_age(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register(arrived=registry.clock.monotonic() - 30)
    registry.clock._offset_ms = (registry.clock._offset_ms or 0) - 3_000
    await fleet.beat()
    assert (await fleet.facts()).ttl_ms <= 42_100


async def test_an_older_frame_that_comes_later_takes_no_time_away(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    before = await fleet.facts()
    await fleet.beat(arrived=registry.clock.monotonic() - 20)
    after = await fleet.facts()
    assert after.last_beat == before.last_beat and after.ttl_ms > 40_000


async def test_a_drain_is_not_over_once_another_report_came(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    facts = await fleet.facts()
    await registry.job_result("node-A", "sid-node-A", failed=False, jobs=1)
    assert (await fleet.facts()).reported_at != facts.reported_at
    stale = replace(await fleet.facts(), reported_at=facts.reported_at)
    decision = Decision(Status.OFFLINE, Reason.DRAINED, drained=True)
    assert await registry.commit(stale, decision) == Stale("report")


async def test_a_registration_in_a_late_call_is_packed_again(registry: Registry) -> None:
    fleet = Fleet(registry)
    await registry.synchronise()
    registry.clock._offset_ms = (registry.clock._offset_ms or 0) - 60_000
    assert isinstance(await fleet.register(), Registered)
    assert (await fleet.facts()).ttl_ms > 40_000


async def test_a_node_that_asked_to_leave_does_not_resume(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    assert await _leave(registry)
    answer = await fleet.register(sid="second", kind="resume")
    assert not answer.resumed and answer.status == "registering"


async def test_a_leaving_node_is_not_selected_though_the_index_names_it(
    registry: Registry,
) -> None:
    await Fleet(registry).make_ready()
    assert await _leave(registry)
    await _index(registry, "any")
    assert await registry.select(asks(), 3) == []


async def test_a_drained_node_is_not_selected_though_the_index_names_it(
    registry: Registry,
) -> None:
    await Fleet(registry).make_ready()
    assert await registry.drain("node-A", "op", "test")
    await _index(registry, "any")
    assert await registry.select(asks(), 3) == []


async def test_a_node_is_not_selected_for_what_it_can_no_longer_do(registry: Registry) -> None:
    await Fleet(registry).make_ready()
    await _index(registry, "tts:en")
    assert await registry.select(asks("tts:en"), 3) == []


async def test_a_lease_is_given_back_by_its_owner_alone(registry: Registry) -> None:
    await registry.patrol([0], "one", observe=False, limit=10)
    await registry.release([0], "two")
    found = await registry.patrol([0], "two", observe=False, limit=10)
    assert not found[0].held


async def test_leaving_on_an_old_view_of_the_capabilities_is_refused(registry: Registry) -> None:
    await Fleet(registry).make_ready()
    assert not await _leave(registry, digest="d0")
    assert len(await registry.select(asks(), 3)) == 1


async def test_draining_on_an_old_view_of_the_capabilities_is_refused(registry: Registry) -> None:
    await Fleet(registry).make_ready()
    k, p = registry.keys, partition_of("node-A")
    keys = [
        k.node("node-A"), k.intent("node-A"), k.todo(p), k.bell(p), k.unobserved(p), k.events(p),
    ]  # fmt: skip
    args = ["node-A", "d0", "s", "op", "why", 1, 10]
    assert await registry.store.call("intend", keys, args) == 0
    assert len(await registry.select(asks(), 3)) == 1


async def test_an_update_on_an_old_view_of_the_capabilities_is_refused(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    assert not await registry.update(
        "node-A", "sid-node-A", "d0", (), b"", "d2", ("tts:en",), True, 1
    )
    assert (await fleet.facts()).digest == "d1"


async def test_only_the_record_that_was_judged_is_deleted(quick: Registry) -> None:
    fleet = Fleet(quick)
    await fleet.make_ready()
    await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT)
    judged = await fleet.facts()
    await fleet.commit(Status.OFFLINE, Reason.REMOVED)
    await _past_retention(fleet)
    assert await quick.expire_all([judged, await fleet.facts()]) == [False, True]


async def test_a_record_that_is_not_offline_is_never_deleted(quick: Registry) -> None:
    fleet = Fleet(quick)
    await fleet.make_ready()
    await _past_retention(fleet)
    assert await quick.expire_all([await fleet.facts()]) == [False]
    assert await quick.node("node-A") is not None


async def test_a_superseded_session_mends_nothing(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    before = await fleet.facts()
    k, p = registry.keys, partition_of("node-A")
    keys = [
        k.node("node-A"), k.intent("node-A"), k.todo(p), k.bell(p), k.unobserved(p), k.events(p),
    ]  # fmt: skip
    args = ["node-A", "stranger", "d1", before.version + 9, "operator", 1, 10]
    assert await registry.store.call("mend", keys, args) == 0
    after = await fleet.facts()
    assert (after.version, after.intent) == (before.version, "")


async def test_what_the_store_did_not_lose_is_not_mended(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    version = (await fleet.facts()).version
    change = await registry.mend("node-A", "sid-node-A", version, "operator")
    assert change is not None and change.version == version
    assert (await fleet.facts()).intent == ""


async def test_the_late_close_of_an_old_socket_changes_nothing(registry: Registry) -> None:
    await Fleet(registry).make_ready()
    assert not await registry.closed("node-A", "stranger")
    seen = await registry.existing("node-A")
    assert seen is not None and not seen.closed
    assert await registry.closed("node-A", "sid-node-A")
