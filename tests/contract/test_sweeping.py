"""A running sweeper on a real store: what it decides, when, and what it must not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

import pytest

from registry.errors import StoreMisbehaved, StoreUnavailable
from registry.keys import PARTITIONS, partition_of
from registry.model import Patrolled, Reason, Verdict
from registry.registry import Registry
from registry.store import Store
from sweeper.loop import Sweeper
from sweeper.metrics import SweeperMetrics
from sweeper.settings import SweeperSettings
from tests.support.fleet import Fleet, asks, until
from tests.support.stores import Backend

QUICK: dict[str, Any] = {
    "redis_prefix": "swept",
    "heartbeat_interval_s": 0.9,  # a busy machine's test may come late with a beat
    "heartbeat_timeout_s": 1.0,
    "warmup_timeout_s": 30.0,
    "presence_ttl_s": 0.5,
    "gateway_grace_s": 3.0,
    "unobserved_gap_s": 0.8,
    "observe_interval_s": 0.1,
    "lease_ttl_s": 1.5,
}
PATIENT: dict[str, Any] = {"heartbeat_interval_s": 29.0, "heartbeat_timeout_s": 30.0}
"""No beat comes too late to be one of three in a row, and nobody falls silent."""


class Unreliable(Registry):
    """A registry whose store can be taken away."""

    away = False

    async def patrol(self, *args: Any, **kwargs: Any) -> list[Patrolled]:
        if self.away:
            raise StoreUnavailable("taken away")
        return await super().patrol(*args, **kwargs)


class Scene:
    """One store, a fleet on it, one sweeper, and a gateway that may be there."""

    def __init__(self, store: Store, **changes: Any) -> None:
        self.settings = SweeperSettings(**(QUICK | changes))
        self.registry = Unreliable(store, self.settings)
        self.fleet = Fleet(self.registry)
        self.metrics = SweeperMetrics()
        self.sweeper = Sweeper(self.registry, self.settings, self.metrics, "sweeper-1")
        self.gateway = True
        self.ended = False

    async def announce(self) -> None:
        while not self.ended:  # not by cancellation: the store's client may swallow one
            if self.gateway:
                with suppress(StoreUnavailable):  # another server's clock: the next one knows it
                    await self.registry.announce("gw1", {})
            await asyncio.sleep(0.1)

    async def status(self, node_id: str = "node-A") -> str:
        seen = await self.registry.existing(node_id)
        return seen.status if seen else ""

    async def word(self, node_id: str = "node-A") -> tuple[str, str]:
        """Status and reason of a node that is known."""
        seen = await self.registry.existing(node_id)
        assert seen is not None
        return seen.status, seen.reason

    async def becomes(self, status: str, node_id: str = "node-A") -> None:
        async def there() -> bool:
            return await self.status(node_id) == status

        await until(there, f"{node_id} is {status}")

    async def observed(self) -> bool:
        keys = [("GET", self.registry.keys.swept(p)) for p in range(PARTITIONS)]
        return all(await self.registry.store.commands(keys))

    async def events(self, kind: str, partition: int) -> list[dict[bytes, bytes]]:
        key = self.registry.keys.events(partition)
        (found,) = await self.registry.store.commands([("XRANGE", key, "-", "+")])
        rows = []
        for _, fields in found:
            row = (
                fields
                if isinstance(fields, dict)
                else dict(zip(fields[::2], fields[1::2], strict=True))
            )
            if row[b"type"] == kind.encode():
                rows.append(row)
        return rows


@asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[Scene]:
    tasks = [asyncio.create_task(scene.announce()), asyncio.create_task(scene.sweeper.run())]
    try:
        yield scene
    finally:
        scene.ended = True
        scene.sweeper.stop()
        await asyncio.gather(*tasks)


async def test_three_beats_make_a_node_ready_and_three_failures_degrade_it(store: Store) -> None:
    async with running(Scene(store, **PATIENT)) as scene:
        await scene.fleet.register()
        for _ in range(3):
            await scene.fleet.beat()
        await scene.becomes("ready")
        for _ in range(3):
            await scene.fleet.beat(verdict=Verdict.GPU_UNAVAILABLE)
        await scene.becomes("degraded")
        await scene.fleet.beat()
        await scene.becomes("ready")


async def test_a_silent_node_is_called_offline_with_its_evidence(store: Store) -> None:
    async with running(Scene(store)) as scene:
        await scene.fleet.register()
        await scene.becomes("offline")
        (event,) = await scene.events("transition", partition_of("node-A"))
        evidence = json.loads(event[b"evidence"])
        assert event[b"reason"] == b"heartbeat_timeout"
        assert evidence["blame"] == "node"
        assert evidence["silence_ms"] >= 1000


async def test_without_any_gateway_a_node_is_held_for_the_grace(store: Store) -> None:
    scene = Scene(store)
    scene.gateway = False
    async with running(scene):
        await scene.fleet.register()
        await asyncio.sleep(1.6)
        assert await scene.status() == "registering"
        await scene.becomes("offline")
        (event,) = await scene.events("transition", partition_of("node-A"))
        assert json.loads(event[b"evidence"])["blame"] == "platform"


async def test_while_no_gateway_is_present_nothing_counts_as_observed(store: Store) -> None:
    scene = Scene(store)
    scene.gateway = False
    keys = scene.registry.keys

    async def all_held() -> bool:
        return len(scene.sweeper.watch.held) == PARTITIONS

    async with running(scene):
        await until(all_held, "every partition is looked at")
        assert not await store.client.exists(keys.swept(0))
        scene.gateway = True
        await until(scene.observed, "every partition is observed")


async def test_an_outage_of_the_store_makes_nobody_silent(store: Store) -> None:
    grace_s = 3.0
    scene = Scene(store, heartbeat_timeout_s=2.0, gateway_grace_s=grace_s)
    unobserved = [("GET", scene.registry.keys.unobserved(partition_of("node-A")))]

    async def looked_again() -> bool:
        return scene.sweeper.watch.last_look > before

    async def written_down() -> bool:
        return await scene.registry.store.commands(unobserved) != [None]

    async with running(scene):
        await scene.fleet.register()
        await until(scene.observed, "every partition was observed")
        scene.registry.away, scene.gateway = True, False
        await asyncio.sleep(grace_s + 0.5)
        scene.registry.away = False
        for _ in range(3):  # well within a grace
            before = scene.sweeper.watch.last_look
            await until(looked_again, "it looks again")
        scene.gateway = True
        await until(written_down, "the outage is written down")
        assert await scene.status() == "registering"
        await scene.becomes("offline")
        assert scene.sweeper.alive


@pytest.mark.parametrize("what", ["warm-up", "own drain", "operator's drain"])
async def test_an_outage_of_the_store_ends_no_warm_up_and_no_drain(store: Store, what: str) -> None:
    """Outages are as long as a test says, as all that was written before them is set back."""
    allowed = {"warmup_timeout_s": 60.0, "drain_timeout_s": 60.0, "gateway_grace_s": 60.0}
    scene = Scene(store, **PATIENT | allowed | {"heartbeat_timeout_s": 600.0})
    p, keys = partition_of("node-A"), scene.registry.keys

    async def later(ms: int) -> None:
        """As if so much time had passed since it began."""
        of = "wu" if what == "warm-up" else "lva" if what == "own drain" else "at"
        began = keys.intent("node-A") if of == "at" else keys.node("node-A")
        due = [("ZADD", keys.due(p), await scene.registry.synchronise(), "node-A")]
        await store.commands([("HINCRBY", began, of, -ms), *due])

    async def looked_again() -> bool:
        return scene.sweeper.watch.last_look > before

    async def written_down() -> bool:
        (found,) = await store.commands([("GET", keys.unobserved(p))])
        return int(found or 0) >= 61_000

    async def over() -> bool:
        return (await scene.word())[1] in ("warmup_timeout", "drain_timeout")

    async with running(scene):
        await until(scene.observed, "every partition was observed")
        await scene.fleet.register()
        if what != "warm-up":
            for _ in range(3):
                await scene.fleet.beat(jobs=1)
            await scene.becomes("ready")
            if what == "own drain":
                assert await scene.fleet.leave()
            else:
                assert await scene.registry.drain("node-A", "ann", "a new card")
            await scene.becomes("draining")
        began = await scene.word()

        scene.registry.away, scene.gateway = True, False
        await asyncio.sleep(1.0)  # the gateway is not known to live any more
        await later(61_000)
        (swept,) = await store.commands([("GET", keys.swept(p))])
        at, _, run = swept.decode().partition(" ")
        await store.commands([("SET", keys.swept(p), f"{int(at) - 61_000} {run}")])
        scene.registry.away = False
        for _ in range(3):
            before = scene.sweeper.watch.last_look
            await until(looked_again, "it looks again")
        assert await scene.word() == began, "nobody has written the outage down yet"

        scene.gateway = True
        await until(written_down, "the outage is written down")
        for _ in range(3):
            before = scene.sweeper.watch.last_look
            await until(looked_again, "it looks again")
        assert await scene.word() == began
        await later(60_000)
        await until(over, "its time is over in the end")


@pytest.mark.parametrize(("lease_ttl_s", "still"), [(1.0, (0, None)), (60.0, (64, 1))])
async def test_a_sweeper_cut_off_counts_nodes_as_long_as_no_other_can(
    store: Store, lease_ttl_s: float, still: tuple[float, float | None]
) -> None:
    async with running(Scene(store, **PATIENT, lease_ttl_s=lease_ttl_s)) as scene:
        told = scene.metrics.registry.get_sample_value

        async def counted(*wanted: float | None) -> bool:
            return wanted == (
                told("muster_partitions_held"),
                told("muster_nodes", {"status": "registering"}),
            )

        await scene.fleet.register()
        await until(lambda: counted(64, 1), "it is counted")
        scene.registry.away = True
        looked = scene.sweeper.watch.last_look

        async def long_ago() -> bool:
            return scene.registry.clock.monotonic() - looked > 1.5

        await until(long_ago, "it was cut off for a while")
        await until(lambda: counted(*still), f"it counts {still}")
        scene.registry.away = False
        await until(lambda: counted(64, 1), "it counts again")


async def test_an_operators_drain_and_its_end_are_worded(store: Store) -> None:
    async with running(Scene(store, **PATIENT)) as scene:
        await scene.fleet.register()
        for _ in range(3):
            await scene.fleet.beat()
        await scene.becomes("ready")
        assert await scene.registry.drain("node-A", "ann", "a new card")
        await scene.becomes("draining")
        await asyncio.sleep(0.01)
        await scene.fleet.beat()

        async def drained() -> bool:
            seen = await scene.registry.existing("node-A")
            return seen is not None and seen.reason == "drained"

        await until(drained, "safe to take away")
        assert await scene.registry.resume("node-A", "ann", "done")
        await scene.becomes("ready")


async def test_a_sweeper_that_ends_gives_its_partitions_back(store: Store) -> None:
    scene = Scene(store)
    async with running(scene):
        await until(lambda: _true(len(scene.sweeper.watch.held) == PARTITIONS), "all is held")
    leases = [("GET", scene.registry.keys.lease(p)) for p in range(PARTITIONS)]
    assert set(await scene.registry.store.commands(leases)) == {None}


async def test_much_of_the_fleet_silent_at_once_raises_one_alert(store: Store) -> None:
    async with running(Scene(store, mass_expiry_min=5)) as scene:
        for number in range(6):
            await scene.fleet.register(f"node-{number}")
        for number in range(6):
            await scene.becomes("offline", f"node-{number}")

        async def told() -> bool:
            return bool(await scene.events("mass_expiry", 0))

        await until(told, "the event is there")
        assert len(await scene.events("mass_expiry", 0)) == 1


@pytest.mark.parametrize("end", ["released", "deadline"])
@pytest.mark.parametrize("backend", ["valkey"], indirect=True)
async def test_the_brake_holds_the_word_back_and_nothing_else_until_it_ends(
    store: Store, end: str
) -> None:
    most_s = 60.0 if end == "released" else 10.0
    brake = {"offline_brake": True, "offline_brake_per_s": 0.01, "offline_brake_most_s": most_s}
    async with running(Scene(store, mass_expiry_min=3, **brake)) as scene:
        registry, names = scene.registry, [f"node-{number}" for number in range(16)]
        for name in names[:8]:
            await scene.fleet.register(name)
        begun = await registry.synchronise()

        async def later() -> bool:
            return await registry.synchronise() > begun + 500

        await until(later, "the others are younger by half a time-out")
        for name in names[8:]:
            await scene.fleet.register(name)
            for _ in range(3):
                await scene.fleet.beat(name)
        # The first half falls silent, which is noticed; then the other half does.

        found = await registry.overview()

        async def braked() -> bool:
            nonlocal found
            found = await registry.overview()
            held = found.brake is not None and found.brake.waiting > 0
            return held and found.selectable == 0 and found.status["ready"] > 0

        await until(braked, "nodes are silent, and called ready because of the brake")
        assert await registry.select(asks(), 20) == [], "the word waits, not the fact"
        assert found.brake is not None and found.mass_expiry is not None
        assert found.brake.until - found.brake.since == most_s * 1000
        if end == "released":
            await registry.release_brake("alice", "they are really gone")
            (event,) = await scene.events("operator_release_brake", 0)
            assert (event[b"who"], event[b"why"]) == (b"alice", b"they are really gone")
        for name in names:
            await scene.becomes("offline", name)

        async def over() -> bool:
            return (await registry.overview()).brake is None

        await until(over, "the brake is told no more")


@pytest.mark.parametrize("backend", ["valkey"], indirect=True)
async def test_the_brake_waits_for_nobody_who_beats_again(store: Store) -> None:
    brake = {"offline_brake": True, "offline_brake_per_s": 0.01, "offline_brake_most_s": 600.0}
    # Who is called silent has not missed a beat yet, so that nothing but its next one is noticed.
    brake |= {"heartbeat_interval_s": 2.9, "heartbeat_timeout_s": 3.0}
    async with running(Scene(store, mass_expiry_min=3, **brake)) as scene:
        names = [f"node-{number}" for number in range(8)]

        async def comes(name: str) -> None:
            await scene.fleet.register(name)
            for _ in range(3):
                await scene.fleet.beat(name)

        await asyncio.gather(*map(comes, names))
        for name in names:
            await scene.becomes("ready", name)

        async def braked() -> bool:
            found = (await scene.registry.overview()).brake
            return found is not None and found.waiting >= 3

        await until(braked, "all are silent, and most of them held back")
        held = [name for name in names if await scene.status(name) == "ready"]

        async def over() -> bool:
            for name in held:
                await scene.fleet.beat(name)
            return (await scene.registry.overview()).brake is None

        await until(over, "nobody is held back any more, long before the deadline")


@pytest.mark.parametrize("place", ["missing", "extra"])
async def test_indexes_are_put_right(store: Store, place: str) -> None:
    scene = Scene(store, **PATIENT, repair_interval_s=0.2)
    keys, p = scene.registry.keys, partition_of("node-A")
    ghost = next(name for n in range(9999) if partition_of(name := f"ghost-{n}") == p)
    async with running(scene):
        await scene.fleet.register()
        for _ in range(3):
            await scene.fleet.beat()
        await scene.becomes("ready")
        right = {"any", "asr:zh", "nmt:zh:en"}
        if place == "missing":
            await store.commands([("SREM", keys.ready(p, "asr:zh"), "node-A")])
        else:
            await store.commands(
                [
                    ("SADD", keys.ready(p, "tts:fr"), "node-A", ghost),
                    ("SADD", keys.names(p), "tts:fr"),
                ]
            )

        async def repaired() -> bool:
            found = {
                name: await scene.registry.index_members(p, name)
                for name in await scene.registry.index_names(p)
            }
            return found == {name: {"node-A"} if name in right else set() for name in found}

        await until(repaired, "the indexes are right")


async def test_far_from_the_store_the_silent_one_of_many_is_called_and_nobody_else(
    valkey: Backend,
) -> None:
    far, near = await valkey.connect(), await valkey.connect()
    ask = far.asked

    async def from_afar(question: Any, *, urgent: bool = False) -> Any:
        await asyncio.sleep(0.02)
        return await ask(question, urgent=urgent)

    far.asked = from_afar  # type: ignore[assignment, method-assign]
    scene = Scene(far, heartbeat_timeout_s=3.0, unobserved_gap_s=1.5, lease_ttl_s=3.0)
    registry = Registry(near, scene.settings)
    fleet = scene.fleet = Fleet(registry)
    beating = {f"node-{number}" for number in range(400)}

    async def beat() -> None:
        while beating:
            await registry.beat([fleet.beat_of(name) for name in sorted(beating)])
            await asyncio.sleep(0.3)

    async def the_others_are_ready() -> bool:
        counts = await registry.counts(list(range(PARTITIONS)))
        return counts["ready"] == len(beating)

    try:
        await asyncio.gather(*(fleet.register(name) for name in beating))
        async with running(scene):
            beats = asyncio.create_task(beat())
            await until(the_others_are_ready, "all are ready")
            beating.discard("node-7")
            await scene.becomes("offline", "node-7")
            assert await the_others_are_ready()
            beating.clear()
            await beats
    finally:
        beating.clear()
        await far.close()
        await near.close()


async def test_a_long_pass_keeps_its_leases_and_is_no_unobserved_time(store: Store) -> None:
    # The pass lasts longer than a lease and than a gap that counts, a page of it much less.
    lasts = {"lease_ttl_s": 3.5, "unobserved_gap_s": 3.0}
    scene = Scene(store, heartbeat_timeout_s=2.0, pass_batch=5, **lasts)
    registry, keys = scene.registry, scene.registry.keys
    pages, slow = 0, registry.facts_of

    async def slowly(asked: Any) -> Any:
        nonlocal pages
        pages += 1
        await asyncio.sleep(0.5)
        return await slow(asked)

    names = [f"node-{n}" for n in range(9999) if partition_of(f"node-{n}") < 8]
    names = [name for p in range(8) for name in [n for n in names if partition_of(n) == p][:5]]
    async with running(scene):
        await until(scene.observed, "every partition is observed")
        await asyncio.gather(*(scene.fleet.register(name) for name in names))
        registry.facts_of = slowly  # type: ignore[assignment, method-assign]

        async def passed() -> bool:
            leases = await store.commands([("GET", keys.lease(p)) for p in range(PARTITIONS)])
            assert set(leases) == {b"sweeper-1"}
            return pages >= 8

        await until(passed, "it took eight pages of half a second each")
        found = await store.commands([("GET", keys.unobserved(p)) for p in range(PARTITIONS)])
        assert set(found) == {None}, "its own slowness is not time that nobody observed"
        for name in names:
            await scene.becomes("offline", name)


async def test_a_sweeper_stopped_amid_a_page_calls_nobody_silent_by_what_it_read_before(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.judge._COMMITS_AT_ONCE", 1)
    scene = Scene(store, heartbeat_timeout_s=2.0)
    registry = scene.registry
    facts_of, commit_all = registry.facts_of, registry.commit_all
    called_since_read: list[int] = []
    silent_in_a_page: list[int] = []

    async def read(pages: Any) -> Any:
        found = await facts_of(pages)
        old = [f for row in found for f in row if f is not None and f.now - f.last_beat > 2000]
        silent_in_a_page.append(len(old))
        called_since_read.append(0)
        return found

    async def commit(judged: Any) -> Any:
        done = await commit_all(judged)
        if any(decision.reason is Reason.HEARTBEAT_TIMEOUT for _, decision in judged):
            called_since_read[-1] += 1
            # As if it stood still for a minute, and now goes on.
            scene.sweeper.watch.last_look -= 60
        return done

    registry.facts_of = read  # type: ignore[method-assign]
    registry.commit_all = commit  # type: ignore[method-assign]
    names = [name for n in range(999) if partition_of(name := f"node-{n}") == 7][:10]
    async with running(scene):
        await until(scene.observed, "every partition is observed")
        await asyncio.gather(*(scene.fleet.register(name) for name in names))
        for name in names:
            await scene.becomes("offline", name)
    assert max(silent_in_a_page) > 1
    assert max(called_since_read) == 1


async def _true(value: bool) -> bool:
    return value


async def test_how_late_it_is_shows_while_it_is_late_and_no_longer(valkey: Backend) -> None:
    store = await valkey.connect()
    scene = Scene(store, **PATIENT)

    def shown(name: str) -> float:
        return scene.metrics.registry.get_sample_value(name) or 0.0

    async def late() -> bool:
        return 9 < shown("muster_sweep_overdue_seconds") < 30

    async def in_time() -> bool:
        late_s, age_s = map(shown, ("muster_sweep_overdue_seconds", "muster_look_age_seconds"))
        return late_s == 0 and age_s < 1

    try:
        await scene.fleet.register()
        alarm = scene.registry.keys.due(partition_of("node-A"))
        ago = await scene.registry.synchronise() - 10_000
        await store.commands([("ZADD", alarm, ago, "node-A")])
        async with running(scene):
            await until(late, "it shows that an alarm was late")
            await until(in_time, "it shows no more")
    finally:
        await store.close()


@pytest.mark.parametrize("odd", [None, 5])
async def test_on_a_cluster_several_partitions_are_judged_at_a_time_and_none_waits_for_a_lost_one(
    store: Store, monkeypatch: pytest.MonkeyPatch, odd: int | None
) -> None:
    scene = Scene(store, pass_batch=10)
    monkeypatch.setattr(store, "single", False)
    judged: set[int] = set()
    under_way, most = 0, 0

    async def judge(waiting: list[Patrolled]) -> None:
        nonlocal under_way, most
        (look,) = waiting
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        if look.partition == 3:
            raise StoreUnavailable("away")
        if look.partition == odd:
            raise StoreMisbehaved("odd")
        judged.add(look.partition)

    monkeypatch.setattr(scene.sweeper.judge, "_judge", judge)
    looks = [Patrolled(p, True, 0, "run", ("node-A",), (), 0, 0, 0, 0) for p in range(20)]
    with nullcontext() if odd is None else pytest.raises(StoreMisbehaved, match="odd"):
        await scene.sweeper.judge.where_it_can(looks)
    assert judged == set(range(20)) - {3, odd}
    assert 1 < most <= 8


async def test_on_a_cluster_little_is_judged_together_and_a_lost_part_keeps_nobody_from_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(store)
    monkeypatch.setattr(store, "single", False)
    asked: list[list[int]] = []

    async def judge(waiting: list[Patrolled]) -> None:
        asked.append([look.partition for look in waiting])
        if 3 in asked[-1]:
            raise StoreUnavailable("away")

    monkeypatch.setattr(scene.sweeper.judge, "_judge", judge)
    looks = [Patrolled(p, True, 0, "run", ("node-A",), (), 0, 0, 0, 0) for p in range(5)]
    await scene.sweeper.judge.where_it_can(looks[:3])
    assert asked == [[0, 1, 2]]
    await scene.sweeper.judge.where_it_can(looks)
    assert asked[1:] == [[0, 1, 2, 3, 4], [0], [1], [2], [3], [4]]
