"""What holds and requests promise, on every store: no place given twice, none lost, none kept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from muster.wire.messages import Gpu, Hardware, Register
from registry import capabilities as can
from registry.errors import StoreUnavailable
from registry.holding import hold_of, node_of
from registry.model import Reason, Selected, Status
from registry.once import RequestReused, Work
from registry.registry import Registry
from registry.requirement import LabelTest, Requirement
from tests.support.fleet import Fleet, asks, until

MINUTE = 60_000
REGISTER = Register(
    hardware=Hardware(cpu_cores=1, memory_gb=1, gpus=(Gpu(name="L4", memory_gb=24),))
)


async def held(registry: Registry, **changes: Any) -> Selected | None:
    found = await registry.select(asks(), 1, **{"hold_ms": MINUTE} | changes)
    return found[0] if found else None


async def loads(registry: Registry) -> list[int]:
    return [s.load for s in await registry.select(asks(), 5)]


async def test_a_hold_takes_a_place_until_it_is_released(registry: Registry) -> None:
    await Fleet(registry).make_ready()
    first = await held(registry)
    assert first is not None and first.load == 0
    assert node_of(first.hold_id) == "node-A"
    assert first.hold_expires > registry.clock.now_ms() + MINUTE - 5000
    assert await held(registry) is None
    assert await registry.select(asks(), 1) == []
    assert await registry.release_hold(first.hold_id)
    assert not await registry.release_hold(first.hold_id)
    assert await held(registry) is not None


async def test_holds_and_jobs_together_never_exceed_the_capacity(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(capacity=3)
    await fleet.beat(jobs=1, capacity=3)
    got = await asyncio.gather(*(held(registry) for _ in range(8)))
    assert len([h for h in got if h]) == 2


async def test_a_job_result_ends_its_hold_by_the_holds_id(registry: Registry) -> None:
    await Fleet(registry).make_ready()
    first = await held(registry)
    assert first is not None
    await registry.job_result("node-A", "sid-node-A", failed=False, jobs=0, job_id=first.hold_id)
    assert await loads(registry) == [0]


async def test_a_job_result_ends_its_hold_by_the_requests_id(registry: Registry) -> None:
    await Fleet(registry).make_ready()
    assert await held(registry, request_id="job-17") is not None
    await registry.job_result("node-A", "sid-node-A", failed=False, jobs=None, job_id="job-18")
    assert await loads(registry) == []
    await registry.job_result("node-A", "sid-node-A", failed=True, jobs=None, job_id="job-17")
    assert await loads(registry) == [0]


async def test_a_hold_whose_time_is_over_counts_until_the_next_report(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(capacity=2)
    await fleet.beat(capacity=2)
    first = await held(registry, hold_ms=1)
    assert first is not None

    async def over() -> bool:
        return await registry.synchronise() > first.hold_expires

    await until(over, "the hold's time is over")
    assert await loads(registry) == [1], "its job may have begun after the last report"
    await fleet.beat(jobs=1, capacity=2)
    assert await loads(registry) == [1], "now it is the job that counts, not the hold"
    await fleet.beat(jobs=0, capacity=2)
    assert await loads(registry) == [0]
    again = await held(registry)
    assert again is not None
    assert {h.hold_id for h in await registry.holds("node-A")} == {again.hold_id}


async def test_a_hold_is_not_taken_from_a_node_that_changed_since_it_was_judged(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    (judged,) = await registry.subjects(["node-A"])
    assert judged is not None
    assert await registry.update(
        "node-A", "sid-node-A", "d1", ("any",), b"\x80", "d2", ("any",), True, 1
    )
    assert isinstance(await registry.hold(judged, hold_of("", "node-A"), MINUTE), str)


async def test_a_hold_is_not_taken_once_labels_moved(registry: Registry) -> None:
    await Fleet(registry).make_ready()
    (judged,) = await registry.subjects(["node-A"])
    assert judged is not None
    await registry.store.client.hset(registry.keys.intent("node-A"), "lst", "new")
    assert isinstance(await registry.hold(judged, hold_of("", "node-A"), MINUTE), str)


@pytest.mark.parametrize("how", ["degraded", "drained", "leaving", "silent", "skewed"])
async def test_a_hold_is_not_taken_from_a_node_that_may_not_be_given_work(
    registry: Registry, how: str
) -> None:
    fleet, client, keys = Fleet(registry), registry.store.client, registry.keys
    await fleet.make_ready()
    (judged,) = await registry.subjects(["node-A"])
    assert judged is not None
    if how == "degraded":
        await fleet.commit(Status.DEGRADED, Reason.GPU_UNAVAILABLE)
    elif how == "drained":
        await registry.drain("node-A", "op", "why")
    elif how == "leaving":
        await client.hset(keys.node("node-A"), "lv", "unregister 1")
    elif how == "silent":
        await client.delete(keys.ttl("node-A"))
    else:
        await client.set(keys.ttl("node-A"), "1", px=100_000)
    assert isinstance(await registry.hold(judged, hold_of("", "node-A"), MINUTE), str)
    assert await registry.holds("node-A") == []


async def test_taking_the_same_hold_twice_takes_one_place(registry: Registry) -> None:
    await Fleet(registry).make_ready()
    (judged,) = await registry.subjects(["node-A"])
    assert judged is not None
    hold_id = hold_of("r", "node-A")
    first = await registry.hold(judged, hold_id, MINUTE)
    again = await registry.hold(judged, hold_id, 2 * MINUTE)
    assert isinstance(first, Selected) and isinstance(again, Selected)
    assert (again.load, again.hold_expires) == (0, first.hold_expires)
    assert len(await registry.holds("node-A")) == 1


@pytest.mark.parametrize("times", [1, 3])
async def test_a_node_that_changes_while_it_is_judged_is_judged_again(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Labels that nobody asks for change: the only node there is still fits."""
    await Fleet(registry).make_ready(registration=can.pack(REGISTER))
    hold, left = registry.hold, times

    async def late(*arguments: Any) -> Selected | str:
        nonlocal left
        if left:
            left -= 1
            await registry.label("node-A", {"rack": str(left)}, "op", "moved")
        return await hold(*arguments)

    monkeypatch.setattr(registry, "hold", late)
    assert await held(registry) is not None


async def test_a_node_that_no_longer_fits_when_judged_again_is_left_alone(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Fleet(registry).make_ready(registration=can.pack(REGISTER))
    hold = registry.hold
    wanted = Requirement(labels=(LabelTest("rack", "not", ("b",)),))

    async def late(*arguments: Any) -> Selected | str:
        await registry.label("node-A", {"rack": "b"}, "op", "moved")
        return await hold(*arguments)

    monkeypatch.setattr(registry, "hold", late)
    assert await registry.select(wanted, 1, hold_ms=MINUTE) == []
    assert await registry.holds("node-A") == []


@pytest.mark.parametrize("how", ["error", "cancelled"])
async def test_what_a_selection_held_before_it_broke_off_is_given_back(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    fleet = Fleet(registry)
    for name in ("node-A", "node-B"):
        await fleet.make_ready(name)
    hold, taken = registry.hold, asyncio.Event()

    async def failing(*arguments: Any) -> Selected | str:
        if taken.is_set():
            await hold(*arguments)  # it is taken, but the answer never comes
            if how == "error":
                raise StoreUnavailable("gone")
            await asyncio.sleep(3600)
        found = await hold(*arguments)
        taken.set()
        return found

    monkeypatch.setattr(registry, "hold", failing)
    selecting = asyncio.create_task(registry.select(asks(), 2, hold_ms=MINUTE))
    if how == "cancelled":

        async def both() -> bool:
            return all([await registry.holds(n) for n in ("node-A", "node-B")])

        await until(both, "both are held")
        selecting.cancel()
    with pytest.raises((StoreUnavailable, asyncio.CancelledError)):
        await selecting

    async def none() -> bool:
        return not any([await registry.holds(n) for n in ("node-A", "node-B")])

    await until(none, "both are given back")


async def test_a_hold_that_has_ended_is_not_among_the_open_ones(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    first = await held(registry, hold_ms=1)
    assert first is not None

    async def over() -> bool:
        return await registry.synchronise() > first.hold_expires

    await until(over, "the hold's time is over")
    assert len(await registry.holds("node-A")) == 1
    await fleet.beat()
    assert await registry.holds("node-A") == []


async def test_a_draining_node_is_looked_at_when_its_hold_is_released(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    first = await held(registry)
    assert first is not None
    await registry.drain("node-A", "op", "why")
    await fleet.commit(Status.DRAINING, Reason.OPERATOR)
    await fleet.marked()
    assert await registry.release_hold(first.hold_id)
    assert await fleet.marked()


async def test_holds_of_a_node_nobody_looks_at_again_do_not_stay_for_ever(
    registry: Registry,
) -> None:
    await Fleet(registry).make_ready()
    assert await held(registry, hold_ms=1000) is not None
    left = await registry.store.client.pttl(registry.keys.holds("node-A"))
    assert 1000 < left <= 91_000


@pytest.mark.parametrize("hold_id", ["", "x", "~node-A", "0" * 24, "0" * 24 + "~", "é~node-A"])
async def test_an_id_that_is_no_holds_ends_nothing(registry: Registry, hold_id: str) -> None:
    assert not await registry.release_hold(hold_id)


# Requests ---------------------------------------------------------------------------------------


async def test_the_same_request_gets_the_same_answer_and_one_hold(registry: Registry) -> None:
    fleet = Fleet(registry)
    for i in range(4):
        await fleet.make_ready(f"node-{i}", capacity=4)
    first = await registry.select(asks(), 2, hold_ms=MINUTE, request_id="r1")
    again = await registry.select(asks(), 2, hold_ms=MINUTE, request_id="r1")
    assert again == first and len(first) == 2
    taken = [await registry.holds(f"node-{i}") for i in range(4)]
    assert sum(map(len, taken)) == 2


async def test_the_same_request_asked_at_once_by_many_is_answered_once(registry: Registry) -> None:
    fleet = Fleet(registry)
    for i in range(4):
        await fleet.make_ready(f"node-{i}", capacity=4)
    got = await asyncio.gather(*(held(registry, request_id="r1") for _ in range(6)))
    assert len({h.hold_id for h in got if h}) == 1
    taken = [await registry.holds(f"node-{i}") for i in range(4)]
    assert sum(map(len, taken)) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"wanted": asks("asr:zh")},
        {"wanted": Requirement(public=False)},
        {"limit": 2},
        {"hold_ms": 5},
        {"asker": "somebody else"},
    ],
)
async def test_a_request_id_cannot_be_used_for_something_else(
    registry: Registry, changed: dict[str, Any]
) -> None:
    await Fleet(registry).make_ready(capacity=9)
    plain: dict[str, Any] = {"wanted": asks(), "limit": 1, "request_id": "r1"}
    await registry.select(**plain)
    with pytest.raises(RequestReused):
        await registry.select(**plain | changed)


@pytest.mark.parametrize("how", ["released", "done", "over"])
async def test_a_request_whose_hold_has_ended_gets_a_new_one(registry: Registry, how: str) -> None:
    await Fleet(registry).make_ready()
    first = await held(registry, request_id="r1", hold_ms=1 if how == "over" else MINUTE)
    assert first is not None
    if how == "released":
        await registry.release_hold(first.hold_id)
    elif how == "done":
        await registry.job_result("node-A", "sid-node-A", failed=False, jobs=0, job_id="r1")
    else:

        async def over() -> bool:
            return await registry.synchronise() > first.hold_expires

        await until(over, "the hold's time is over")
        await registry.release_hold(first.hold_id)
    again = await held(registry, request_id="r1", hold_ms=1 if how == "over" else MINUTE)
    assert again is not None and again.hold_expires > first.hold_expires


async def test_what_is_kept_of_a_request_does_not_grow_with_it(registry: Registry) -> None:
    await Fleet(registry).make_ready()
    many = frozenset(f"node-{i}" for i in range(1000))
    await registry.select(Requirement(avoid=many), 1, request_id="r1")
    kept = await registry.store.client.hgetall(registry.keys.request("r1"))
    assert sum(len(k) + len(v) for k, v in kept.items()) < 400


async def test_a_request_that_found_nobody_is_asked_anew(registry: Registry) -> None:
    assert await held(registry, request_id="r1") is None
    await Fleet(registry).make_ready()
    assert await held(registry, request_id="r1") is not None


async def test_who_asks_after_a_crash_gets_the_hold_that_was_taken_before_it(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(registry)
    for i in range(4):
        await fleet.make_ready(f"node-{i}")
    monkeypatch.setattr("registry.once.LEASE_S", 0.1)
    settle = registry._settle

    async def crash(request_id: str, token: str, what: str, value: str) -> bool:
        if what == "answer":
            raise ConnectionError("the gateway died before it could answer")
        return await settle(request_id, token, what, value)

    monkeypatch.setattr(registry, "_settle", crash)
    with pytest.raises(ConnectionError):
        await held(registry, request_id="r1")
    taken = {f"node-{i}": await registry.holds(f"node-{i}") for i in range(4)}
    (owner,) = [node for node, holds in taken.items() if holds]
    monkeypatch.setattr(registry, "_settle", settle)
    monkeypatch.setattr("registry.once.LEASE_S", 1.0)
    again = await held(registry, request_id="r1")
    assert again is not None and again.node_id == owner
    assert again.hold_id == taken[owner][0].hold_id
    assert sum([len(await registry.holds(f"node-{i}")) for i in range(4)]) == 1


async def test_a_hold_found_after_a_crash_on_a_node_that_went_bad_is_given_back(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready("node-A")
    (judged,) = await registry.subjects(["node-A"])
    assert judged is not None
    assert isinstance(await registry.hold(judged, hold_of("r1", "node-A"), MINUTE), Selected)
    await fleet.commit(Status.DEGRADED, Reason.GPU_UNAVAILABLE)
    await fleet.make_ready("node-B")
    assert isinstance(await registry.hold(judged, hold_of("r1", "node-A"), MINUTE), str)
    found = await registry._selected(asks(), 1, MINUTE, "r1", Work("token", '["node-A","gone"]'))
    assert found == [], "whoever does not hold the request any more takes nothing new"
    assert await registry.holds("node-A") == []


async def test_an_asker_that_was_overtaken_gives_back_what_it_took(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(registry)
    for i in range(2):
        await fleet.make_ready(f"node-{i}")
    monkeypatch.setattr("registry.once.LEASE_S", 0.5)
    hold = registry.hold
    overtaker: list[Selected | None] = []

    async def late(*arguments: Any) -> Selected | str:
        if not overtaker:
            overtaker.append(None)
            await registry.store.client.hset(registry.keys.request("r1"), "until", 0)
            await registry.drain(arguments[0].node_id, "op", "so that another one is taken")
            overtaker.append(await held(registry, request_id="r1"))
            await registry.resume(arguments[0].node_id, "op", "")
            await registry.store.client.hset(
                registry.keys.node(arguments[0].node_id), "st", "ready"
            )
        return await hold(*arguments)

    monkeypatch.setattr(registry, "hold", late)
    mine = await held(registry, request_id="r1")
    assert mine is not None and mine == overtaker[1]
    assert sum([len(await registry.holds(f"node-{i}")) for i in range(2)]) == 1


async def test_an_asker_that_never_ends_is_not_waited_for_for_ever(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.once.LEASE_S", 0.1)
    key = registry.keys.request("r1")
    await registry.store.client.hset(key, mapping={"by": "other", "until": 10**15, "print": "same"})

    async def work(_: Work) -> str:
        raise AssertionError("somebody else works on it")

    with pytest.raises(StoreUnavailable):
        await registry.answer_once("r1", "same", 1000, work)
