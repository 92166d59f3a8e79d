"""Watching what happens, with real processes: exactly what happened, or told of the gap."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import random
import re
import shutil
import socket
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from muster.wire.bearer import Entry, Role, digest
from registry.cursor import BEGINNING, Cursor
from registry.embedded import EmbeddedStore
from registry.keys import partition_of
from registry.registry import Registry
from registry.settings import RegistrySettings
from tests.integration.conftest import QUICK, System
from tests.support.clusters import ReplicatedCluster
from tests.support.fleet import until
from tests.support.moving import Movers, happened
from tests.support.node import Node, metrics
from tests.support.processes import Process, ProcessesFactory
from tests.support.sentinels import SentinelStore
from tests.support.stores import Backend
from tests.support.users import BOTH, as_user, with_users
from tests.support.watcher import Frame, Frames, Keeper, Reader

IDS = [f"node-{n:03}" for n in range(40)]
KEPT: dict[str, Any] = {
    "heartbeat_interval_s": 15.0, "heartbeat_timeout_s": 600.0, "warmup_timeout_s": 600.0,
}  # fmt: skip
"""For machines that a test moves by hand: nothing happens to them by itself."""


def running(system: System) -> list[str]:
    return [gateway.url for gateway in system.gateways if gateway.running]


def reader(system: System, query: str = "", **more: Any) -> Reader:
    """A reader that asks whichever gateways run."""
    return Reader(lambda: running(system), query, **more)


def keeper(system: System, **more: Any) -> Keeper:
    return Keeper(lambda: running(system), **more)


def bites(seed: int, least: int = 1, most: int = 200_000) -> Iterator[int]:
    """After how many bytes each connection is broken off: anywhere, also inside a frame."""
    chance = random.Random(seed)
    while True:
        yield chance.randint(least, most)


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


async def ask(system: System, method: str, path: str, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=system.http, trust_env=False) as client:
        answer = await client.request(method, path, **more)
        answer.raise_for_status()
        return answer


async def told_so_many(watcher: Reader, count: int, timeout_s: float = 20) -> None:
    await watcher.until(lambda w: len(w.told) >= count, f"{count} events are told", timeout_s)


async def told_everything(readers: list[Reader], registry: Registry) -> None:
    """Each reader ends with exactly what happened to each node: no gap, nothing twice."""
    true = await happened(registry)
    count = sum(len(events) for events in true.values())
    for watcher in readers:
        await told_so_many(watcher, count, 60)
        assert watcher.gaps == []
        assert len(watcher.told) == count
        for node_id, events in true.items():
            assert watcher.of(node_id) == events


async def has_the_roll(watcher: Keeper, registry: Registry) -> None:
    """In the end the reader knows each node's status as the store does."""
    ids = [id_ for p in range(64) for id_ in await registry.roll(p, "", 1000)]
    subjects = [s for s in await registry.subjects(ids) if s is not None and not s.removed]
    true = {s.node_id: (s.version, s.status) for s in subjects}
    await watcher.until(lambda _: watcher.roll == true, f"the roll is {true}, not {watcher.roll}")


# What a reader is told


async def test_a_reader_is_told_what_happens_to_a_node_who_why_and_with_the_evidence(
    system: System,
) -> None:
    await system.start(gateways=2, sweepers=1)
    async with reader(system) as watcher, Node(system.ws) as node:
        await node.become_ready(labels={"rack": "b4"})
        id_ = str(node.node_id)
        await ask(
            system, "POST", f"/v1/nodes/{id_}/drain", json={"reason": "new fans", "timeout_s": 60}
        )
        await node.hear_status("draining")
        await ask(system, "POST", f"/v1/nodes/{id_}/resume", json={"reason": "fans are in"})
        await node.hear_status("ready")
        change = {"labels": {"rack": "c1", "tier": "gold"}, "reason": "moved"}
        await ask(system, "PATCH", f"/v1/nodes/{id_}/labels", json=change)
        async with Node(system.gateways[1].ws_url) as again:
            labels = {"rack": "b4", "hall": "2"}
            ack = await again.register(node_id=id_, node_token=node.token, labels=labels)
            assert ack["resumed"] is True
        await ask(system, "DELETE", f"/v1/nodes/{id_}?reason=sold")
        await watcher.until(
            lambda w: w.of(id_) and w.of(id_)[-1].get("reason") == "removed", "it is taken off"
        )
        told = watcher.of(id_)
    assert types(told) == [
        "register", "transition", "operator_drain", "transition", "operator_resume", "transition",
        "operator_labels", "resume", "operator_remove", "transition",
    ]  # fmt: skip
    registered, ready, drain, draining, resumed, _, labelled, back, removed, gone = told
    assert (registered["to"], registered["address"]) == ("registering", "127.0.0.1")
    assert "from" not in registered
    assert (ready["from"], ready["to"], ready["reason"]) == ("registering", "ready", "healthy")
    assert ready["evidence"]["rule"] == "last_three_pass"
    assert (drain["who"], drain["why"], drain["timeout_ms"]) == ("local", "new fans", 60_000)
    assert draining["to"] == "draining"
    assert (resumed["who"], resumed["why"]) == ("local", "fans are in")
    assert labelled["changes"] == {"rack": "c1", "tier": "gold"}
    assert labelled["former_labels"] == {"rack": "b4"}
    assert labelled["labels"] == {"rack": "c1", "tier": "gold"}
    assert (back["from"], back["to"]) == ("ready", "ready")
    assert back["labels"] == {"rack": "c1", "tier": "gold", "hall": "2"}
    assert (removed["why"], gone["to"], gone["reason"]) == ("sold", "offline", "removed")
    versions = [event["version"] for event in told if event["type"] == "transition"]
    assert versions == sorted(set(versions))


async def test_an_outage_of_the_store_is_told_once_as_unobserved_time(system: System) -> None:
    # No busy machine makes a gap that counts.
    await system.start(gateways=1, sweepers=1, unobserved_gap_s=2.5)
    store = system.backend.servers[0]
    async with reader(system, "types=unobserved") as watcher:

        async def watched() -> bool:
            fleet = (await ask(system, "GET", "/v1/fleet")).json()
            return bool(fleet["watch"]["watched"] == 64)

        await until(watched, "all partitions are watched")
        store.pause()
        await asyncio.sleep(3.0)  # longer than a gap that counts
        store.resume()
        await watcher.until(lambda w: w.told, "it is told")
        assert len(watcher.told) == 1
        assert watcher.told[0]["detail"]["partitions"] == 64
        assert watcher.told[0]["detail"]["ms"] > 2500


async def test_two_machines_with_one_identity_are_told_with_both_names(system: System) -> None:
    await system.start(gateways=1, sweepers=0, takeover_limit=2)
    async with (
        reader(system, "types=duplicate_identity") as watcher,
        contextlib.AsyncExitStack() as machines,
    ):
        first = await machines.enter_async_context(Node(system.ws))
        await first.register(boot_id="boot-0")
        for n in range(1, 4):
            twin = await machines.enter_async_context(Node(system.ws))
            await twin.register(node_id=first.node_id, node_token=first.token, boot_id=f"boot-{n}")
        await watcher.until(lambda w: w.told, "it is told")
        found = watcher.told[0]
        assert found["node_id"] == first.node_id
        assert (found["detail"]["holder_boot_id"], found["detail"]["boot_id"]) == (
            "boot-2",
            "boot-3",
        )


# Filters, and whose events they are


async def test_filters_choose_by_kind_node_status_and_label(
    system: System,
) -> None:
    await system.start(gateways=1, sweepers=0, **KEPT)
    async with contextlib.AsyncExitStack() as stack:

        async def watching(query: str) -> Reader:
            return await stack.enter_async_context(reader(system, query))

        everything = await watching("")
        by_kind = await watching("types=register,operator_drain")
        by_node = await watching("node_id=node-A&node_id=node-B")
        by_status = await watching("status=degraded")
        by_label = await watching("label=region=eu,us&label=tier!=gold")
        movers = Movers(system.registry)
        any_, eu, gold = ("any",), ("any", "label:region=eu"), ("any", "label:tier=gold")
        await movers.register(["node-A"], capabilities=any_)
        await movers.register(["node-B"], capabilities=eu)
        await movers.register(["node-C"], capabilities=(*eu, *gold))
        await movers.move_all(30)
        await system.registry.drain("node-B", "ann", "new fans")
        true = await happened(system.registry)
        every = [event for events in true.values() for event in events]
        for watcher, wanted in (
            (everything, every),
            (by_kind, [e for e in every if e["type"] in ("register", "operator_drain")]),
            (by_node, [*true["node-A"], *true["node-B"]]),
            (by_status, [e for e in every if "degraded" in (e.get("from"), e.get("to"))]),
            (by_label, true["node-B"]),
        ):
            await told_so_many(watcher, len(wanted))
            assert sorted(map(json.dumps, watcher.told)) == sorted(map(json.dumps, wanted))


async def test_an_owner_is_told_of_their_own_nodes_alone_and_of_those_that_come_and_go(
    system: System,
) -> None:
    token = "token-of-x-0123456789abcdef0123"
    entry = Entry("x", Role.READ, digest(token), "x").line()
    other = "token-of-all-0123456789abcdef01"
    everybody = Entry("all", Role.ADMIN, digest(other)).line()
    await system.start(gateways=1, sweepers=0, api_tokens=[entry, everybody], **KEPT)
    async with (
        reader(system, headers={"Authorization": f"Bearer {other}"}) as all_seeing,
        reader(system, headers={"Authorization": f"Bearer {token}"}) as of_x,
    ):
        movers = Movers(system.registry)
        await movers.register(
            ["node-X"], capabilities=("any", "label:owner=x"), address="192.0.2.1"
        )
        await movers.register(["node-Y"], capabilities=("any", "label:owner=y"))
        await movers.register(["node-Z"])
        await system.registry.note(0, "mass_expiry", {"lost": 5, "living": 3})
        await system.registry.release_brake("ann", "test")
        await movers.move_all(30)
        await system.registry.store.commands([("PING",)])
        await all_seeing.until(lambda w: len(w.told) >= 38, "everything is told")
        true = await happened(system.registry)
        await of_x.until(lambda w: len(w.told) >= len(true["node-X"]), "their part is told")
    assert {event["node_id"] for event in of_x.told} == {"node-X"}
    assert len(of_x.told) == len(true["node-X"])
    assert {"mass_expiry", "operator_release_brake"} <= set(types(all_seeing.told))
    assert "address" in all_seeing.of("node-X")[0]
    assert "address" not in of_x.told[0]


# No gap and nothing twice, whoever breaks off


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_readers_cut_anywhere_and_gateways_killed_are_told_10_000_transitions_exactly(
    system: System,
) -> None:
    await system.start(gateways=3, sweepers=0, **KEPT)
    movers = Movers(system.registry)
    await movers.register(IDS)
    beginning = str(Cursor(await system.registry.event_epoch(), BEGINNING))
    chance = random.Random(4711)

    async def kill_gateways(done: asyncio.Task[None]) -> None:
        while not done.done():
            victim = chance.choice([g for g in system.gateways if g.running])
            if chance.random() < 0.5:
                victim.kill()
            else:
                victim.terminate()
            await system.start(gateways=1, sweepers=0, **KEPT)

    async with contextlib.AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(
                reader(system, after=beginning, bites=bites(seed) if seed else None)
            )
            for seed in range(6)
        ]
        moving = asyncio.create_task(movers.move_all(10_000))
        await asyncio.gather(moving, kill_gateways(moving))
        await told_everything(readers, system.registry)
        assert all(watcher.connections > 5 for watcher in readers[1:])


async def test_list_then_watch_has_no_hole_however_much_happens_meanwhile(
    system: System,
) -> None:
    await system.start(gateways=2, sweepers=0, **KEPT)
    movers = Movers(system.registry)
    await movers.register(IDS)
    keepers: list[Keeper] = []

    async def move() -> None:
        await movers.move_all(1500)
        while len(keepers) <= 3:
            await movers.move_all(100)

    moving = asyncio.create_task(move())
    async with contextlib.AsyncExitStack() as stack:
        while not moving.done():
            keepers.append(await stack.enter_async_context(keeper(system)))
        await moving
        for watcher in keepers:
            await has_the_roll(watcher, system.registry)
            assert watcher.lists == 1


async def test_an_answer_without_a_cursor_begins_now_and_says_where_that_is(
    system: System,
) -> None:
    await system.start(gateways=1, sweepers=0, **KEPT)
    movers = Movers(system.registry)
    await movers.register(["node-A"])
    async with reader(system) as watcher:
        first = watcher.cursor
    assert watcher.told == []
    await movers.move_all(3)
    async with reader(system, after=first) as again:
        await again.until(lambda w: len(w.told) == 3, "what happened since is told")


async def test_an_address_with_a_cursor_is_gone_on_from_and_a_remembered_id_goes_before_it(
    system: System,
) -> None:
    await system.start(gateways=1, sweepers=0, **KEPT)
    movers = Movers(system.registry)
    await movers.register(["node-A"])
    listed = (await ask(system, "GET", "/v1/nodes?snapshot=1")).json()
    await movers.move_all(3)
    later = (await ask(system, "GET", "/v1/nodes?snapshot=1")).json()
    query = f"after={listed['events_cursor']}"
    async with reader(system, query) as watcher:
        await watcher.until(lambda w: len(w.told) == 3, "what happened since is told")
    async with reader(system, query, after=later["events_cursor"]) as again:
        await movers.move_all(1)
        await again.until(lambda w: w.told, "what happens is told")
        assert len(again.told) == 1


# The store is restarted, emptied, replaced, failed over


class OwnStore:
    """A store of this test alone, which may be ended and started again, on data of its choice."""

    def __init__(self, directory: Path) -> None:
        self._copies = directory
        self._users = with_users(directory / "store")
        self.server = EmbeddedStore.start(directory / "store", extra=self._users)

    def copy(self, name: str) -> Path:
        """The data as they are now."""
        self.server.pause()
        copied = self._copies / name
        shutil.copytree(self.server.data_dir / "appendonlydir", copied / "appendonlydir")
        self.server.resume()
        return copied

    def start_again(self, data: Path | None = None) -> None:
        """On the same port, with the data it had or other ones."""
        port, directory = self.server.port, data or self.server.data_dir
        self.server.kill()
        self.server = EmbeddedStore.start(directory, port, self._users)


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[OwnStore]:
    made = OwnStore(tmp_path)
    yield made
    made.server.kill()


@pytest_asyncio.fixture
async def own(processes: ProcessesFactory, own_store: OwnStore) -> AsyncIterator[System]:
    """A system on a store of its own."""
    url = as_user(own_store.server.url, BOTH)
    settings = replace(RegistrySettings(), redis_url=url, redis_timeout_s=1.0)
    registry = await Registry.connect(settings)
    yield System(processes(url, **QUICK), registry, Backend("valkey", (), url))
    await registry.close()


async def is_right_or_was_told_why(watcher: Reader, registry: Registry) -> None:
    """Without a gap all is as it happened; behind the last one everything that happened since."""
    true = await happened(registry)
    await watcher.until(
        lambda w: w.gaps or all(w.of(node_id) == events for node_id, events in true.items()),
        "all is told as it happened, or that something is missing",
        60,
    )
    if not watcher.gaps:
        await told_everything([watcher], registry)
        return
    since = Cursor.read(watcher.gaps[-1]["cursor"])
    assert since.epoch == await registry.event_epoch()
    true = await happened(registry, since.places)
    count = sum(len(events) for events in true.values())
    await watcher.until(lambda w: len(w.since_gap) >= count, f"{count} events after the gap")
    assert len(watcher.since_gap) == count
    for node_id, events in true.items():
        assert [e for e in watcher.since_gap if e.get("node_id") == node_id] == events


@contextlib.asynccontextmanager
async def watched(
    system: System, beginning: str | None = None
) -> AsyncIterator[tuple[list[Reader], Keeper]]:
    """Two readers that stay, two that are cut all the time, and one that keeps the roll."""
    async with contextlib.AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(
                reader(system, after=beginning, bites=bites(seed, 1000) if seed > 1 else None)
            )
            for seed in range(4)
        ]
        yield readers, await stack.enter_async_context(keeper(system, bites=bites(9, 1000)))


async def begun(system: System) -> tuple[Movers, str]:
    """A running system with machines, and the cursor of its beginning."""
    await system.start(gateways=2, sweepers=0, **KEPT)
    movers = Movers(system.registry)
    await movers.register(IDS)
    return movers, str(Cursor(await system.registry.event_epoch(), BEGINNING))


async def test_a_store_that_is_restarted_with_its_data_makes_no_gap(
    own: System, own_store: OwnStore
) -> None:
    movers, beginning = await begun(own)
    async with watched(own, beginning) as (readers, keeps):
        moving = asyncio.create_task(movers.move_all(1500))
        await readers[0].until(lambda w: len(w.told) > 300, "it moves")
        own_store.server.command("CONFIG", "SET", "appendfsync", "always")
        own_store.start_again()
        await moving
        await told_everything(readers, own.registry)
        await has_the_roll(keeps, own.registry)
        assert keeps.lists == 1


async def test_a_store_that_lost_its_last_writes_is_told_as_a_gap(
    own: System, own_store: OwnStore
) -> None:
    movers, beginning = await begun(own)
    async with watched(own, beginning) as (readers, keeps):
        await movers.move_all(300)
        data = own_store.copy("replica")
        await movers.move_all(300)
        for watcher in readers:
            await watcher.until(lambda w: len(w.told) >= 680, "all is told")
        async with reader(own, after=readers[0].cursor) as gone_before:
            newer_than_the_store = gone_before.cursor
        own_store.start_again(data)
        await movers.move_all(300)
        for watcher in readers:
            await is_right_or_was_told_why(watcher, own.registry)
            assert [gap["reason"] for gap in watcher.gaps] == ["store_lost_events"]
        await has_the_roll(keeps, own.registry)
        assert keeps.lists == 2
        async with reader(own, after=newer_than_the_store) as returned:
            await returned.until(lambda w: w.gaps, "who comes back later is told, too")
            assert returned.gaps[0]["reason"] == "store_lost_events"
            await is_right_or_was_told_why(returned, own.registry)


async def test_a_store_that_was_killed_makes_no_gap_or_tells_it(
    own: System, own_store: OwnStore
) -> None:
    movers, beginning = await begun(own)
    async with watched(own, beginning) as (readers, keeps):
        for _ in range(3):
            moving = asyncio.create_task(movers.move_all(300))
            await asyncio.sleep(random.uniform(0.05, 0.3))
            own_store.start_again()
            await moving
        for watcher in readers:
            await is_right_or_was_told_why(watcher, own.registry)
        await has_the_roll(keeps, own.registry)


@contextlib.asynccontextmanager
async def system_on(
    stores: SentinelStore | ReplicatedCluster, kind: str, processes: ProcessesFactory
) -> AsyncIterator[System]:
    """A system on stores of which some will die; they end with it."""
    try:
        url = as_user(stores.url, BOTH)
        settings = replace(RegistrySettings(), redis_url=url, redis_timeout_s=1.0)
        registry = await Registry.connect(settings)
        try:
            yield System(processes(url, **QUICK), registry, Backend(kind, (), url))
        finally:
            await registry.close()
    finally:
        stores.kill()
        with warnings.catch_warnings():
            # The client library drops, unclosed, what it had open to a former primary.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("clock_s", [0.0, -60.0], ids=["", "and whose clock is a minute behind"])
@pytest.mark.parametrize("lost", [False, True], ids=["has it all", "lost the last writes"])
async def test_a_replica_is_promoted_that(
    lost: bool, clock_s: float, tmp_path: Path, processes: ProcessesFactory
) -> None:
    directory = tmp_path / "stores"
    # No other failover than the one that is meant: a busy machine may hold a server up for seconds.
    stores = SentinelStore.start(
        directory, extra=with_users(directory), clock_offsets_s={1: clock_s}, patience_s=5.0
    )
    async with system_on(stores, "valkey", processes) as system:
        movers, beginning = await begun(system)
        async with watched(system, beginning) as (readers, keeps):
            await movers.move_all(300)
            if lost:
                await asyncio.to_thread(stores.lose_touch)
                await movers.move_all(100)
                await told_everything(readers, system.registry)
                moving = asyncio.create_task(movers.move_all(500))
                former = stores.kill_primary()
                await asyncio.to_thread(stores.find_touch)
                await asyncio.to_thread(stores.wait_for_successor, former)
                await moving
            else:  # the former lives on, and what it is told before we hear of that is lost
                await told_everything(readers, system.registry)
                await asyncio.to_thread(stores.catch_up)
                new = await asyncio.to_thread(stores.promote)

                async def hears_of_it() -> bool:
                    return bool((await system.registry.store.info())[0]["tcp_port"] == new.port)

                await until(hears_of_it, "the new primary is asked")
                await movers.move_all(500)
            for watcher in readers:
                await is_right_or_was_told_why(watcher, system.registry)
                reasons = [gap["reason"] for gap in watcher.gaps]
                assert reasons == (["store_lost_events"] if lost else [])
            await has_the_roll(keeps, system.registry)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_on_a_cluster_a_primary_dies_and_readers_are_right_or_told_why(
    tmp_path: Path, processes: ProcessesFactory
) -> None:
    stores = ReplicatedCluster.start(tmp_path / "stores", extra=with_users(tmp_path / "stores"))
    async with system_on(stores, "cluster", processes) as system:
        movers, beginning = await begun(system)
        async with watched(system, beginning) as (readers, keeps):
            await movers.move_all(300)
            await told_everything(readers, system.registry)
            moving = asyncio.create_task(movers.move_all(500))
            key = system.registry.keys.events(partition_of(IDS[0]))
            await asyncio.to_thread(stores.kill_primary_of, key)
            await moving
            for watcher in readers:
                await is_right_or_was_told_why(watcher, system.registry)
            await has_the_roll(keeps, system.registry)


async def test_a_store_that_was_emptied_is_told_as_a_gap_to_all_and_to_who_comes_back(
    own: System, own_store: OwnStore
) -> None:
    movers, beginning = await begun(own)
    async with watched(own, beginning) as (readers, keeps):
        await movers.move_all(100)
        before = (await ask(own, "GET", "/v1/nodes?snapshot=1")).json()["events_cursor"]
        own_store.server.command("FLUSHALL")
        await movers.move_all(100)
        for watcher in readers:
            await is_right_or_was_told_why(watcher, own.registry)
            assert [gap["reason"] for gap in watcher.gaps] == ["store_replaced"]
        await has_the_roll(keeps, own.registry)
        async with reader(own, after=before) as returned:
            await returned.until(lambda w: w.gaps, "who comes back later is told, too")
            assert returned.gaps[0]["reason"] == "store_replaced"


async def test_a_store_that_is_away_makes_readers_wait_and_refuses_new_ones(
    own: System, own_store: OwnStore
) -> None:
    movers, beginning = await begun(own)
    async with watched(own, beginning) as (readers, keeps):
        own_store.server.pause()
        newcomer = reader(own)
        coming = asyncio.create_task(newcomer.__aenter__())
        await until(lambda: _is_refused(newcomer), "a newcomer is refused")
        own_store.server.resume()
        await coming
        assert set(newcomer.refused) == {503}
        await newcomer.__aexit__(None, None, None)
        await movers.move_all(50)
        await told_everything(readers, own.registry)
        await has_the_roll(keeps, own.registry)


async def _is_refused(newcomer: Reader) -> bool:
    return bool(newcomer.refused)


async def test_a_cursor_older_than_what_is_kept_is_told_as_a_gap(system: System) -> None:
    await system.start(gateways=1, sweepers=0, **KEPT)
    few = replace(system.registry.settings, events_per_partition=10)
    movers = Movers(Registry(system.registry.store, few))
    await movers.register(["node-A"])
    listed = (await ask(system, "GET", "/v1/nodes?snapshot=1")).json()
    await movers.move_all(300)
    async with reader(system, after=listed["events_cursor"]) as returned:
        await returned.until(lambda w: w.gaps, "it is told")
        assert returned.gaps[0]["reason"] == "too_old"
        await movers.move_all(5)
        await returned.until(lambda w: len(w.told) == 5, "it goes on from now")
    async with reader(system, "since=0&until=now") as past:
        await past.until(lambda w: w.ends, "what is kept is told")
    assert past.ends[0]["reason"] == "up_to_date"
    assert past.gaps == []
    kept = await system.registry.store.commands(
        [("XRANGE", system.registry.keys.events(partition_of("node-A")), "-", "+")]
    )
    assert len(past.told) == len(kept[0]) - 1 > 5  # the oldest is the place to begin behind
    assert past.told[-5:] == returned.told


# Slow readers, silence, and gateways that stop


async def asked_by_hand(system: System, path: str, **options: int) -> socket.socket:
    """A socket that has asked for a path and reads nothing yet."""
    host, port = system.http.removeprefix("http://").split(":")
    made = socket.socket()
    for name, value in options.items():
        made.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    made.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(made, (host, int(port)))
    await loop.sock_sendall(made, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return made


async def read_to_the_end(asked: socket.socket) -> list[Frame]:
    """What comes until the answer is over or the connection breaks."""
    read = b""
    with contextlib.suppress(ConnectionResetError):
        while not read.endswith(b"\r\n0\r\n\r\n"):
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(asked, 65536), 60)
            if not data:
                break
            read += data
    _, _, body = read.partition(b"\r\n\r\n")
    return Frames().feed(re.sub(rb"(^|\r\n)[0-9a-f]+\r\n", b"", body))


LONG = "x" * 4000
"""Evidence so long that few events fill what lies between a gateway and a reader."""


async def test_a_reader_that_falls_behind_is_cut_off_with_the_reason_and_goes_on_exactly(
    system: System,
) -> None:
    await system.start(gateways=1, sweepers=0, watch_buffer_bytes=2_000_000, **KEPT)
    movers = Movers(system.registry, LONG)
    await movers.register(IDS[:10])
    first = (await ask(system, "GET", "/v1/nodes?snapshot=1")).json()["events_cursor"]
    slow = await asked_by_hand(system, f"/v1/events?after={first}", SO_RCVBUF=4096)
    await movers.move_all(2500)
    frames = await read_to_the_end(slow)
    slow.close()
    assert frames[-1].event == "end"
    end = json.loads(frames[-1].data)
    assert end["reason"] == "slow_reader"
    assert 'muster_watchers_ended_total{reason="slow_reader"} 1.0' in await metrics(system.http)
    told = [json.loads(frame.data) for frame in frames if frame.event == "transition"]
    assert 0 < len(told) < 2500
    async with reader(system, after=end["cursor"]) as again:
        await again.until(lambda w: len(told) + len(w.told) >= 2500, "the rest is told")
        true = await happened(system.registry, Cursor.read(first).places)
        for node_id, events in true.items():
            assert [e for e in told + again.told if e["node_id"] == node_id] == events


async def test_a_reader_that_takes_nothing_at_all_is_cut_and_holds_nothing(
    system: System,
) -> None:
    await system.start(gateways=1, sweepers=0, watch_patience_s=0.5, **KEPT)
    movers = Movers(system.registry, LONG)
    await movers.register(IDS[:10])
    stuck = await asked_by_hand(system, "/v1/events", SO_RCVBUF=4096)

    async def cut() -> bool:
        await movers.move_all(200)
        said = await metrics(system.http)
        return 'muster_watchers_ended_total{reason="slow_reader"} 1.0' in said

    await until(cut, "it is cut")

    async def nobody() -> bool:
        return "muster_watchers 0.0" in await metrics(system.http)

    await until(nobody, "nothing is held for it")
    assert (await read_to_the_end(stuck))[-1].event != "end"
    stuck.close()
    assert "Exception" not in system.gateways[0].log()


async def test_silence_is_filled_with_comments_that_move_the_cursor_on(system: System) -> None:
    await system.start(gateways=1, sweepers=0, watch_keepalive_s=0.2, **KEPT)
    movers = Movers(system.registry)
    await movers.register(["node-A"])
    async with reader(system, "types=mass_expiry") as narrow, reader(system) as wide:
        await narrow.until(lambda w: w.comments >= 2, "comments come")
        await movers.move_all(5)
        await wide.until(lambda w: len(w.told) == 5, "all is told")
        last = wide.cursor
        await narrow.until(lambda w: w.cursor == last, "the cursor has moved on")
        assert narrow.told == []


async def test_a_gateway_that_stops_ends_its_streams_and_readers_go_on_elsewhere(
    system: System,
) -> None:
    await system.start(gateways=2, sweepers=0, **KEPT)
    movers = Movers(system.registry)
    await movers.register(IDS[:5])
    beginning = str(Cursor(await system.registry.event_epoch(), BEGINNING))
    async with contextlib.AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(reader(system, after=beginning)) for _ in range(4)
        ]
        moving = asyncio.create_task(movers.move_all(400))
        stopping = system.gateways[1]  # the one that readers ask first
        stopping.terminate()
        await until(lambda: _ended(stopping), "the gateway ends")
        await moving
        await told_everything(readers, system.registry)
    ends = [end["reason"] for watcher in readers for end in watcher.ends]
    assert ends
    assert set(ends) == {"gateway_stopping"}


async def _ended(process: Process) -> bool:
    return not process.running


async def test_who_may_not_ask_any_more_is_sent_away(system: System, tmp_path: Path) -> None:
    token = "token-of-somebody-0123456789abc"
    file = tmp_path / "tokens"
    file.write_text(Entry("somebody", Role.READ, digest(token)).line() + "\n")
    await system.start(
        gateways=1, sweepers=0, api_tokens_file=str(file), watch_keepalive_s=0.2, **KEPT
    )
    headers = {"Authorization": f"Bearer {token}"}
    async with reader(system, headers=headers) as watcher:
        await watcher.until(lambda w: w.comments, "it is let in")
        file.write_text("")
        await watcher.until(lambda w: w.ends, "it is sent away")
        assert watcher.ends[0]["reason"] == "access_changed"
        await watcher.until(lambda w: 401 in w.refused, "it is not let in again")


async def test_what_is_no_cursor_is_refused(system: System) -> None:
    await system.start(gateways=1, sweepers=0)
    async with httpx.AsyncClient(base_url=system.http, trust_env=False) as client:
        by_address = await client.get("/v1/events?after=1.00c0ffee.xyz")
        by_header = await client.get("/v1/events", headers={"Last-Event-ID": "17"})
    assert (by_address.status_code, by_header.status_code) == (400, 400)
    assert by_address.json()["parameter"] == "after"
    assert by_header.json()["parameter"] == "Last-Event-ID"


async def test_head_says_what_would_come_and_ends(system: System) -> None:
    await system.start(gateways=1, sweepers=0)
    answer = await ask(system, "HEAD", "/v1/events")
    assert answer.headers["content-type"] == "text/event-stream"
    assert "muster_watchers 0.0" in await metrics(system.http)


# What it costs


def reads(system: System) -> int:
    """How often the store was asked for events."""
    told = system.backend.servers[0].command("INFO", "commandstats")
    found = re.search(r"cmdstat_xread:calls=(\d+)", told)
    return int(found[1]) if found else 0


class Crowd:
    """Many readers that count what they are told."""

    def __init__(self, system: System) -> None:
        self.told: list[int] = []
        self.cursors: list[str] = []
        self._system = system
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, count: int, cursors: list[str] | None = None) -> None:
        """So many more, each from now on or from its cursor."""
        begun = len(self.told)
        for place in range(count):
            self.told.append(0)
            self.cursors.append(cursors[place] if cursors else "")
            self._tasks.append(asyncio.create_task(self._read(begun + place)))
        await until(self._all_begun, "all have begun", 60)

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _all_begun(self) -> bool:
        return all(self.cursors)

    async def _read(self, place: int) -> None:
        host, port = self._system.http.removeprefix("http://").split(":")
        stream, sink = await asyncio.open_connection(host, int(port))
        after = f"?after={self.cursors[place]}" if self.cursors[place] else ""
        sink.write(f"GET /v1/events{after} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        try:
            while line := await stream.readline():
                self.told[place] += line.startswith(b"data: ")
                if line.startswith(b"id: "):
                    self.cursors[place] = line[4:].decode().strip()
        finally:
            sink.close()


@pytest.mark.slow
async def test_a_thousand_readers_cost_the_store_what_one_costs_also_when_all_come_back(
    system: System,
) -> None:
    poll_s = 0.2
    settings = {"watch_poll_s": poll_s, **KEPT}
    await system.start(gateways=1, sweepers=0, **settings)
    movers = Movers(system.registry)
    await movers.register(IDS[:10])

    async def cost(crowd: Crowd, moves: int) -> float:
        """Reads of the store a second, while all are told of some moves."""
        before, began, told = reads(system), time.monotonic(), sum(crowd.told)
        await movers.move_all(moves)

        async def all_told() -> bool:
            return sum(crowd.told) == told + moves * len(crowd.told)

        await until(all_told, "all are told", 60)
        await asyncio.sleep(1.0)  # a second in which nothing happens
        return (reads(system) - before) / (time.monotonic() - began)

    crowd = Crowd(system)
    await crowd.come(1)
    alone = await cost(crowd, 50)
    await crowd.come(999)
    together = await cost(crowd, 50)
    assert together < 1.5 * alone + 2
    assert f"muster_watchers {len(crowd.told)}.0" in await metrics(system.http)
    cursors = crowd.cursors
    await crowd.leave()

    system.gateways[0].kill()
    system.gateways.clear()
    await movers.move_all(50)
    await system.start(gateways=1, sweepers=0, **settings)
    before, began = reads(system), time.monotonic()
    crowd = Crowd(system)
    await crowd.come(1000, cursors)

    async def all_back() -> bool:
        return crowd.told == [50] * 1000

    await until(all_back, "all are told what they missed", 60)
    looks = (time.monotonic() - began) / poll_s  # of the one who looks for all
    assert reads(system) - before < 100 + 2 * looks
    await crowd.leave()

    async def nobody() -> bool:
        return "muster_watchers 0.0" in await metrics(system.http)

    await until(nobody, "all have left")
    before = reads(system)
    await asyncio.sleep(1.0)
    assert reads(system) == before
