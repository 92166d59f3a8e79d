"""What selection promises, on every store: only who may be selected, and everybody who may."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from registry.capabilities import label_name
from registry.keys import partition_of
from registry.listing import Filter, Order
from registry.model import Reason, Status
from registry.registry import Registry
from registry.requirement import Ceilings, LabelTest, Requirement
from registry.subject import Subject
from tests.support.fleet import Fleet, asks


async def ids(registry: Registry, wanted: Requirement, limit: int = 100) -> set[str]:
    found = [s.node_id for s in await registry.select(wanted, limit)]
    assert len(found) == len(set(found)), "nobody is selected twice"
    return set(found)


async def test_a_node_that_stops_being_ready_is_not_selected_from_then_on(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    assert await ids(registry, asks()) == {"node-A"}
    await fleet.commit(Status.DEGRADED, Reason.GPU_UNAVAILABLE)
    assert await ids(registry, asks()) == set()


@pytest.mark.parametrize("field", ["st", "lv"])
async def test_an_index_is_not_believed_against_the_record(registry: Registry, field: str) -> None:
    await Fleet(registry).make_ready()
    await registry.store.client.hset(registry.keys.node("node-A"), field, "draining")
    assert await ids(registry, asks()) == set()


async def test_an_index_is_not_believed_against_an_intent(registry: Registry) -> None:
    await Fleet(registry).make_ready()
    await registry.store.client.hset(registry.keys.intent("node-A"), "stamp", "x")
    assert await ids(registry, asks()) == set()


@pytest.mark.parametrize("left", [None, 3_600_000, -1])
async def test_an_index_is_not_believed_against_the_ttl_key(
    registry: Registry, left: int | None
) -> None:
    await Fleet(registry).make_ready()
    client, key = registry.store.client, registry.keys.ttl("node-A")
    await client.delete(key)
    if left is not None:
        await client.set(key, "1", px=left if left > 0 else None)
    assert await ids(registry, asks()) == set()


async def test_an_index_is_not_believed_against_what_the_node_can_do(registry: Registry) -> None:
    await Fleet(registry).make_ready()
    p = partition_of("node-A")
    await registry.store.client.sadd(registry.keys.ready(p, "tts:fr"), "node-A")
    assert await ids(registry, asks("tts:fr")) == set()


async def test_labels_select_by_equal_in_and_not(registry: Registry) -> None:
    fleet = Fleet(registry)
    for name, region in (("node-A", "eu"), ("node-B", "us"), ("node-C", "cn")):
        await fleet.make_ready(name, capabilities=("any", label_name("region", region)))
    await fleet.make_ready("node-D", capabilities=("any",))

    async def found(test: str, *values: str) -> set[str]:
        label = LabelTest("region", "not" if test == "not" else "in", values)
        return await ids(registry, Requirement(labels=(label,)))

    assert await found("in", "eu") == {"node-A"}
    assert await found("in", "eu", "us") == {"node-A", "node-B"}
    assert await found("not", "eu", "us") == {"node-C", "node-D"}
    assert await found("in", "mars") == set()


async def test_the_largest_gpu_must_be_large_enough_to_the_byte(registry: Registry) -> None:
    fleet = Fleet(registry)
    for name, memory, steps in (("node-A", 23.5, (12,)), ("node-B", 24.5, (12, 24))):
        names = ("any", *(f"gpu_memory:{step}" for step in steps))
        await fleet.make_ready(name, capabilities=names, gpu_memory_gb=memory)
    for wanted, found in ((8, {"node-A", "node-B"}), (24, {"node-B"}), (24.6, set())):
        assert await ids(registry, Requirement(min_gpu_memory_gb=wanted)) == found


async def test_a_node_busier_than_the_ceiling_is_left_out_until_it_reports_less(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    wanted = Requirement(ceilings=Ceilings(cpu_percent=80))
    for percent, found in ((90.0, set()), (70.0, {"node-A"})):
        report = msgspec.msgpack.encode({"resource_usage": {"cpu_percent": percent}})
        await fleet.beat(report=report)
        assert await ids(registry, wanted) == found


async def test_avoided_nodes_are_left_out_and_preferred_ones_come_first(registry: Registry) -> None:
    fleet = Fleet(registry)
    for i in range(6):
        await fleet.make_ready(f"node-{i}")
    assert "node-3" not in await ids(registry, Requirement(avoid=frozenset({"node-3"})))
    for _ in range(5):
        found = await registry.select(Requirement(prefer=("node-5", "nobody", "node-2")), 3)
        assert [s.node_id for s in found[:2]] == ["node-5", "node-2"]


async def test_a_preferred_node_that_does_not_fit_is_not_forced(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready("node-A")
    await fleet.register("node-B")
    assert await ids(registry, Requirement(prefer=("node-B",))) == {"node-A"}


async def test_the_less_loaded_go_first_and_equals_take_turns(registry: Registry) -> None:
    fleet = Fleet(registry)
    home = partition_of("node-0")
    names = [n for n in (f"node-{i}" for i in range(999)) if partition_of(n) == home][:4]
    for name in names:
        await fleet.make_ready(name, capacity=4)
        await fleet.beat(name, jobs=2 if name == names[0] else 1, capacity=4)
    first = Counter([(await registry.select(asks(), 1))[0].node_id for _ in range(40)])
    assert set(first) == set(names[1:])
    found = await registry.select(asks(), 4)
    assert (found[-1].node_id, found[-1].load) == (names[0], 2)


async def test_without_holds_callers_do_not_all_get_the_least_loaded(registry: Registry) -> None:
    fleet = Fleet(registry)
    for i in range(6):
        await fleet.make_ready(f"node-{i}", capacity=9)
        await fleet.beat(f"node-{i}", jobs=1 if i else 0, capacity=9)
    first = Counter([(await registry.select(asks(), 1))[0].node_id for _ in range(60)])
    assert first["node-0"] == max(first.values()), "the least loaded still gets most"
    assert len(first) > 2 and first["node-0"] < 55


async def test_a_full_fleet_is_looked_at_once_for_all_who_ask_at_the_same_time(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(registry)
    home = partition_of("node-0")
    names = [n for n in (f"node-{i}" for i in range(1999)) if partition_of(n) == home][:20]
    for name in names:
        await fleet.make_ready(name)
        await fleet.beat(name, jobs=1, capacity=1)
    exactly, looks = registry._exactly, 0

    async def counted(wanted: Any, most: int) -> Any:
        nonlocal looks
        looks += 1
        return await exactly(wanted, most)

    monkeypatch.setattr(registry, "_exactly", counted)
    found = await asyncio.gather(*(registry.select(asks("asr:zh"), 1) for _ in range(30)))
    assert found == [[]] * 30
    assert 1 <= looks <= 10


async def test_a_full_node_is_not_even_sent(registry: Registry) -> None:
    fleet = Fleet(registry)
    for name, jobs in (("node-A", 0), ("node-B", 1), ("node-C", 2)):
        await fleet.make_ready(name)
        await fleet.beat(name, jobs=jobs, capacity=1)
    names = ["node-A", "node-B", "node-C", "nobody"]
    found = await registry.subjects(names, with_room=True)
    assert [s.node_id if s else None for s in found] == ["node-A", None, None, None]
    (only,) = await registry.select(asks(), 1, hold_ms=1000)
    assert await registry.subjects([only.node_id], with_room=True) == [None]


async def test_the_only_fit_is_found_however_many_there_are(registry: Registry) -> None:
    fleet = Fleet(registry)
    for i in range(90):
        await fleet.make_ready(f"node-{i}", capabilities=("any", "asr:zh", f"model:{i}"))
        if i != 77:
            await fleet.beat(f"node-{i}", jobs=1, capacity=1)
    assert await ids(registry, asks(), 1) == {"node-77"}
    assert await ids(registry, asks("asr:zh"), 1) == {"node-77"}
    assert await ids(registry, asks("asr:zh", "model:77"), 1) == {"node-77"}
    assert await ids(registry, asks("model:78"), 1) == set()


async def test_no_index_is_read_whole_while_a_sample_gives_enough(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(registry)
    for i in range(60):
        await fleet.make_ready(f"node-{i}")
    sample, drawn = registry._sample, []

    async def noted(names: Any, partitions: Any, most: int, *rest: Any) -> Any:
        drawn.append(most)
        return await sample(names, partitions, most, *rest)

    monkeypatch.setattr(registry, "_sample", noted)
    for wanted in (asks(), asks("asr:zh", "nmt:zh:en")):
        assert len(await registry.select(wanted, 2)) == 2
    assert drawn and 0 not in drawn


async def test_all_that_fit_are_found_when_that_many_are_wanted(registry: Registry) -> None:
    fleet = Fleet(registry)
    for i in range(60):
        await fleet.make_ready(f"node-{i}")
    assert len(await ids(registry, asks("asr:zh", "nmt:zh:en"), 100)) == 60
    assert len(await ids(registry, asks(), 25)) == 25


async def test_an_answer_tells_load_capacity_and_the_age_of_its_facts(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(capacity=3)
    await fleet.beat(jobs=1, capacity=3, arrived=registry.clock.monotonic() - 5)
    (found,) = await registry.select(asks(), 1)
    assert (found.load, found.capacity, found.gateway) == (1, 3, "gw1")
    assert (found.hold_id, found.hold_expires) == ("", 0)
    assert found.age_ms <= 5_500


# Why nobody fits --------------------------------------------------------------------------------


async def test_a_shortfall_counts_each_node_once_by_the_first_thing_it_lacks(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready("node-full")
    await fleet.beat("node-full", jobs=1, capacity=1)
    await fleet.make_ready("node-private", public=False)
    await fleet.make_ready("node-mute", capabilities=("any", "asr:zh"))
    await fleet.register("node-new")
    found = await registry.shortfall(asks("nmt:zh:en"))
    assert found.counts == {
        "status_not_ready": 1, "not_in_public_pool": 1, "model_not_available": 1,
        "capacity_exceeded": 1,
    }  # fmt: skip
    assert (found.examined, found.total, found.sampled) == (4, 4, False)
    assert {m.subject.node_id for m in found.nearest} == {
        "node-full", "node-private", "node-mute", "node-new",
    }  # fmt: skip


async def test_the_nearest_misses_lack_least_and_are_few(registry: Registry) -> None:
    fleet = Fleet(registry)
    for i in range(8):
        await fleet.make_ready(f"node-{i}", capabilities=("any",), gpu_memory_gb=8)
    await fleet.make_ready("node-near", capabilities=("any", "tts:en"), gpu_memory_gb=8)
    found = await registry.shortfall(Requirement(("tts:en",), min_gpu_memory_gb=16))
    assert len(found.nearest) == 5
    assert found.nearest[0].subject.node_id == "node-near"
    assert [lack.reason for lack in found.nearest[0].lacks] == ["memory_too_small"]


async def test_a_large_fleet_is_sampled_and_that_is_said(registry: Registry) -> None:
    fleet = Fleet(registry)
    for i in range(40):
        await fleet.register(f"node-{i}")
    survey = await registry.survey(10)
    assert (survey.total, survey.exact) == (40, False)
    assert 5 <= len(survey.subjects) < 40
    assert len({s.node_id for s in survey.subjects}) == len(survey.subjects)
    assert (await registry.survey(40)).exact


async def test_a_sorted_list_is_whole_and_in_order(registry: Registry) -> None:
    fleet = Fleet(registry)
    for i in range(23):
        await fleet.make_ready(f"node-{i:02}", capacity=5)
        await fleet.beat(f"node-{i:02}", jobs=i % 3, capacity=5)
    for text in ("node_id", "-load", "since"):
        order, cursor = Order.of(text), None
        seen: list[Subject] = []
        while True:
            page, cursor = await registry.listed(Filter(), 4, cursor, order)
            seen += page
            if cursor is None:
                break
        assert len({s.node_id for s in seen}) == len(seen) == 23
        assert seen == sorted(seen, key=order.key, reverse=order.descending)


async def test_a_filtered_list_looks_at_a_bounded_number_of_nodes_a_page(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    for i in range(30):
        await fleet.register(f"node-{i}")
    registry.settings = replace(registry.settings, list_looks_most=1)
    pages, cursor = 0, None
    seen: list[str] = []
    while True:
        page, cursor = await registry.listed(Filter(id_part="node-7"), 10, cursor)
        assert not (cursor or "").partition(":")[2], "no id of a node that is not shown"
        pages += 1
        seen += [s.node_id for s in page]
        if cursor is None:
            break
    assert seen == ["node-7"] and pages > 1


async def test_an_owners_few_nodes_are_counted_whole_in_a_large_fleet(registry: Registry) -> None:
    fleet = Fleet(registry)
    owned = label_name("owner", "x")
    for i in range(40):
        names = ("any", owned) if i == 17 else ("any",)
        await fleet.make_ready(f"node-{i}", capabilities=names)
    registry.settings = replace(registry.settings, explain_most=4, overview_most=4)
    scope = Filter(Requirement(labels=(LabelTest("owner", "in", ("x",)),), public=None))
    for _ in range(3):
        seen = await registry.overview(scope)
        assert (seen.total, seen.status["ready"], seen.sampled) == (1, 1, False)
        short = await registry.shortfall(asks("tts:fr"), scope)
        assert (short.examined, short.total, short.sampled) == (1, 1, False)
        assert [miss.subject.node_id for miss in short.nearest] == ["node-17"]


@pytest.mark.parametrize("order", [None, Order("load")])
async def test_a_list_of_named_nodes_reads_no_others(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, order: Order | None
) -> None:
    fleet = Fleet(registry)
    for i in range(20):
        await fleet.register(f"node-{i}")
    subjects, read = registry.subjects, []

    async def noted(ids: Any, **named: Any) -> Any:
        read.extend(ids)
        return await subjects(ids, **named)

    monkeypatch.setattr(registry, "subjects", noted)
    wanted = Filter(ids=frozenset({"node-3", "node-7", "node-9", "nobody"}))
    seen, cursor = [], None
    while True:
        page, cursor = await registry.listed(wanted, 2, cursor, order)
        seen += [s.node_id for s in page]
        if cursor is None:
            break
    assert sorted(seen) == ["node-3", "node-7", "node-9"]
    assert set(read) == {"node-3", "node-7", "node-9", "nobody"}


async def test_the_overview_counts_what_there_is(registry: Registry) -> None:
    fleet = Fleet(registry)
    packed = msgspec.msgpack.encode(
        {"version": "1.2", "platform": "linux", "hardware": {"gpus": [{"name": "L4"}]}}
    )
    await fleet.make_ready("node-A", registration=packed)
    await fleet.register("node-B", registration=packed, capabilities=("any", "tts:en"))
    await registry.announce("gw1", {})
    await registry.note_mass_expiry(30, 70, 60)
    found = await registry.overview()
    assert (found.total, found.selectable, found.sampled) == (2, 1, False)
    assert found.status == {
        "registering": 1, "ready": 1, "degraded": 0, "draining": 0, "offline": 0,
    }  # fmt: skip
    assert {k: (t.nodes, t.ready) for k, t in found.kinds.items()} == {
        "asr": (1, 1), "nmt": (1, 1), "tts": (1, 0),
    }  # fmt: skip
    assert found.languages["nmt:zh:en"].ready == 1
    assert (found.gpus["L4"].nodes, found.program_versions["1.2"].nodes) == (2, 2)
    assert (found.gateways, found.sweepers) == (1, 0)
    assert found.watch.watched == 0 and found.watch.stalest_ms is None
    assert found.mass_expiry is not None and found.mass_expiry.lost == 30


async def test_whoever_may_be_given_work_is_counted_so_whichever_way_nodes_are_counted(
    registry: Registry,
) -> None:
    """Without a scope a script counts; with one, whole subjects are looked at."""
    fleet, keys, client = Fleet(registry), registry.keys, registry.store.client
    packed = msgspec.msgpack.encode(
        {"version": "1.2", "hardware": {"gpus": [{"name": "L4"}, {"name": "L4"}]}}
    )
    whole = [f"node-{n}" for n in range(3)]
    for name in (*whole, "drained", "leaving", "silent", "skewed", "bad", "gone", "removed"):
        await fleet.make_ready(name, registration=packed, capabilities=("any", f"tts:{name}"))
    await fleet.register("new", capabilities=("any", "label:a=b"))
    await client.hset(keys.intent("drained"), "stamp", "x")
    await client.hset(keys.node("leaving"), "lv", "x")
    await client.delete(keys.ttl("silent"))
    await client.set(keys.ttl("skewed"), "1", px=3_600_000)
    await fleet.commit(Status.DEGRADED, Reason.GPU_UNAVAILABLE, "bad")
    await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT, "gone")
    assert await registry.remove("removed", "alice", "scrapped")
    short, long = await registry.overview(), await registry.overview(Filter())
    assert (short.selectable, short.examined, short.sampled) == (3, 10, False)
    for group in ("kinds", "languages", "gpus", "program_versions", "platforms"):
        assert getattr(short, group) == getattr(long, group)
    assert (short.selectable, short.examined) == (long.selectable, long.examined)
    assert (short.gpus["L4"].nodes, short.gpus["L4"].ready) == (8, 5 - 2)
    assert short.program_versions["unknown"].nodes == 1
    assert short.languages.keys() == {
        f"tts:{name}" for name in (*whole, "drained", "leaving", "silent", "skewed", "bad")
    }


async def test_the_overview_of_a_large_fleet_counts_a_sample(registry: Registry) -> None:
    fleet = Fleet(registry)
    for i in range(40):
        await fleet.make_ready(f"node-{i}")
    registry.settings = replace(registry.settings, overview_most=10)
    found = await registry.overview()
    assert (found.total, found.sampled) == (40, True)
    assert 5 <= found.examined == found.selectable == found.kinds["asr"].ready < 40
