"""What `transition` promises, on every store: one script, nothing on stale facts."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from registry.keys import PARTITIONS, partition_of
from registry.listing import Filter
from registry.model import (
    Change,
    Decision,
    Looked,
    Patrolled,
    Reason,
    Stale,
    Status,
    Verdict,
)
from registry.registry import Registry
from tests.support.fleet import Fleet, asks, until


async def test_a_transition_changes_record_index_event_counts_and_tells_the_gateway(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    async with registry.subscription(registry.keys.gateway_channels("gw1")) as heard:

        async def healthy() -> bool:
            return heard.healthy

        await until(healthy, "the subscription hears itself")
        change = await fleet.make_ready()
        message = json.loads(await anext(aiter(heard)))
    assert message["t"] == "status" and message["version"] == change.version
    assert (message["status"], message["previous"]) == ("ready", "registering")
    detail = await registry.node("node-A")
    assert detail is not None
    assert [e["type"] for e in detail.events] == ["transition", "register"]
    counts = await registry.counts(list(range(PARTITIONS)))
    assert counts["ready"] == 1 and counts["registering"] == 0
    assert [s.node_id for s in await registry.select(asks("nmt:zh:en"), 1)] == ["node-A"]


async def test_a_transition_is_applied_once(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    facts = await fleet.facts()
    decision = Decision(Status.DEGRADED, Reason.WARMUP_TIMEOUT)
    assert isinstance(await registry.commit(facts, decision), Change)
    assert isinstance(await registry.commit(facts, decision), Stale)


@pytest.mark.parametrize("moved", ["sid", "intent", "leave", "digest", "window", "version"])
async def test_a_judgement_on_stale_facts_is_refused_and_the_node_marked(
    registry: Registry, moved: str
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    facts = await fleet.facts()
    if moved == "sid":
        await fleet.register(sid="second", kind="resume")
    elif moved == "intent":
        await registry.drain("node-A", "op", "test")
    elif moved == "leave":
        await _leave(registry, "sid-node-A")
    elif moved == "digest":
        await registry.update("node-A", "sid-node-A", "d1", ("any",), b"", "d2", ("any",), True, 1)
    elif moved == "window":
        await fleet.beat(verdict=Verdict.GPU_UNAVAILABLE)
    else:
        await fleet.commit(Status.DEGRADED, Reason.GPU_UNAVAILABLE)
    await fleet.marked()
    decision = Decision(Status.DEGRADED, Reason.MODEL_MISSING)
    assert await registry.commit(facts, decision) == Stale(moved)
    assert await fleet.marked()


async def _leave(registry: Registry, sid: str, drain: bool = True) -> bool:
    seen = await registry.existing("node-A")
    assert seen is not None
    return await registry.unregister(
        "node-A",
        sid,
        drain=drain,
        why="test",
        digest=seen.digest,
        capabilities=seen.capabilities,
    )


async def test_silence_is_refused_while_the_ttl_key_lives(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    answer = await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT, silence_ms=1)
    assert answer == Stale("live")


async def test_silence_is_refused_while_it_is_too_short_though_the_key_is_gone(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await registry.store.client.delete(registry.keys.ttl("node-A"))
    answer = await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT, silence_ms=45_000)
    assert answer == Stale("silence")


@pytest.mark.parametrize("away_ms", [-6_000, 6_000])
async def test_silence_is_refused_far_from_the_look_it_was_judged_after(
    quick: Registry, away_ms: int
) -> None:
    """Something took long, or the store's clock stepped: that is not yet counted as unobserved."""
    fleet = Fleet(quick)
    answer = await _silent(fleet, looked=lambda look: Looked(look.now + away_ms, look.run))
    assert answer == Stale("look")
    assert await fleet.marked()


async def test_silence_is_refused_by_another_run_of_the_store_than_was_looked_at(
    quick: Registry,
) -> None:
    fleet = Fleet(quick)
    if quick.store.genuine:
        answer = await _silent(fleet, looked=lambda look: Looked(look.now, "another"))
        assert answer == Stale("run")
        assert await fleet.marked()
    answer = await _silent(fleet, looked=lambda look: Looked(look.now, look.run))
    assert isinstance(answer, Change)


async def _silent(fleet: Fleet, looked: Callable[[Patrolled], Looked]) -> Change | Stale:
    """What becomes of the word that a node is silent who is, after a look told like that."""
    if not fleet.told:
        await fleet.make_ready()

    async def silent() -> bool:
        facts = await fleet.facts()
        return facts.ttl_ms == -2 and facts.now - facts.last_beat > 2_000

    await until(silent, "the node is silent")
    p = partition_of("node-A")
    (look,) = await fleet.registry.patrol([p], "test", observe=False, limit=100)
    return await fleet.commit(
        Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT, silence_ms=2_000, looked=looked(look)
    )


async def test_unobserved_time_is_no_silence(quick: Registry) -> None:
    fleet = Fleet(quick)
    await fleet.make_ready()
    await quick.store.client.incrby(quick.keys.unobserved(partition_of("node-A")), 3_600_000)

    async def gone() -> bool:
        return (await fleet.facts()).ttl_ms == -2

    await until(gone, "the TTL key expires")
    answer = await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT, silence_ms=200)
    assert answer == Stale("silence")


async def test_a_key_that_outlives_the_time_out_counts_as_gone(quick: Registry) -> None:
    fleet = Fleet(quick)
    await fleet.make_ready()
    await quick.store.client.set(quick.keys.ttl("node-A"), "1", px=3_600_000)
    assert await quick.select(asks(), 3) == []

    async def decided() -> bool:
        answer = await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT, silence_ms=500)
        return isinstance(answer, Change)

    await until(decided, "a skewed key does not keep a silent node")
    assert (await fleet.facts()).ttl_ms == -2


async def test_a_drain_is_not_over_while_holds_are_open(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    facts = await fleet.facts()
    await registry.store.client.zadd(registry.keys.holds("node-A"), {"hold": facts.now + 60_000})
    answer = await fleet.commit(Status.OFFLINE, Reason.DRAINED, drained=True)
    assert answer == Stale("holds")
    await registry.job_result("node-A", "sid-node-A", failed=False, jobs=None, job_id="hold")
    assert isinstance(await fleet.commit(Status.OFFLINE, Reason.DRAINED, drained=True), Change)


async def test_a_version_always_rises(registry: Registry) -> None:
    fleet = Fleet(registry)
    versions = [(await fleet.register()).version]
    for to, reason in [
        (Status.DEGRADED, Reason.WARMUP_TIMEOUT),
        (Status.READY, Reason.HEALTHY),
        (Status.DEGRADED, Reason.GPU_UNAVAILABLE),
        (Status.READY, Reason.RECOVERED),
        (Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT),
    ]:
        change = await fleet.commit(to, reason)
        assert isinstance(change, Change)
        versions.append(change.version)
    assert versions == sorted(set(versions))


async def test_counts_follow_every_change(registry: Registry) -> None:
    fleet = Fleet(registry)
    for name in ("node-A", "node-B", "node-C"):
        await fleet.make_ready(name)
    await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT, "node-B")
    await fleet.register("node-C", sid="again")
    counts = await registry.counts(list(range(PARTITIONS)))
    assert counts == {"registering": 1, "ready": 1, "degraded": 0, "draining": 0, "offline": 1}


async def test_a_record_goes_after_retention_but_intent_stays(quick: Registry) -> None:
    fleet = Fleet(quick)
    await fleet.make_ready()
    await quick.drain("node-A", "op", "keep")
    await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT)

    async def gone() -> bool:
        found = (await quick.facts(partition_of("node-A"), ["node-A"]))[0]
        return found is None or await quick.expire_all([found]) == [True]

    await until(gone, "retention ends")
    assert await quick.node("node-A") is None
    assert (await quick.listed(Filter(), 10))[0] == []
    assert (await fleet.register(sid="back")).status == "draining"


async def test_a_record_in_retention_is_not_deleted(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await fleet.commit(Status.OFFLINE, Reason.REMOVED)
    assert await registry.expire_all([await fleet.facts()]) == [False]


async def test_leaving_takes_a_node_out_of_selection_before_the_sweeper_words_it(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    assert await _leave(registry, "sid-node-A")
    assert await registry.select(asks(), 3) == []
    facts = await fleet.facts()
    assert facts.status is Status.READY and facts.leave_kind == "unregister" and facts.leave_drain


async def test_a_stranger_cannot_unregister_a_node(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    assert not await _leave(registry, "stranger")
    assert len(await registry.select(asks(), 3)) == 1


async def test_an_operator_removes_a_node_whoever_holds_it(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    assert await registry.remove("node-A", "op", "scrapped")
    assert await registry.select(asks(), 3) == []
    assert (await fleet.facts()).leave_kind == "remove"
    assert not await registry.remove("node-Z", "op", "unknown")


async def test_draining_takes_a_node_out_at_once_and_resuming_marks_it(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    assert await registry.drain("node-A", "op", "maintenance", timeout_s=7)
    assert await registry.select(asks(), 3) == []
    assert await fleet.marked()
    assert (await fleet.facts()).intent_timeout_ms == 7_000
    assert await registry.resume("node-A", "op", "done")
    assert await fleet.marked()
    assert (await fleet.facts()).intent == ""
    assert not await registry.resume("node-A", "op", "again")
