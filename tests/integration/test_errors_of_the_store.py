"""Every error of a store met by real processes under load: what they say meanwhile, and that nobody
is worse off afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from registry.embedded import EmbeddedStore
from tests.integration.conftest import QUICK
from tests.support.fleet import until
from tests.support.herd import Herd
from tests.support.node import Node, selected
from tests.support.processes import Process, ProcessesFactory
from tests.support.trouble import (
    Loading,
    busy,
    forget_met,
    met,
    out_of_memory,
    read_only,
    too_few_replicas,
)
from tests.support.users import BOTH, as_user, with_users

NODES = 12
TIMEOUT_S = float(str(QUICK["heartbeat_timeout_s"]))
LASTS_S = 2.5 * TIMEOUT_S


@dataclass
class World:
    """Two gateways, two sweepers and a herd that is ready, on a store of their own."""

    store: EmbeddedStore
    users: tuple[str, str]
    gateways: list[Process] = field(default_factory=list)
    herd: Herd = field(init=False)

    async def ready(self) -> bool:
        return await self.herd.all_are("ready")

    async def all_selected(self) -> bool:
        found = await selected(
            self.gateways[0].url, kind="nmt", src_lang="zh", tgt_lang="en", limit=NODES
        )
        return set(found) == {a.node_id for a in self.herd.animals}


@pytest_asyncio.fixture
async def world(tmp_path: Path, processes: ProcessesFactory) -> AsyncIterator[World]:
    users = with_users(tmp_path / "store")
    world = World(EmbeddedStore.start(tmp_path / "store", extra=users), users)
    try:
        made = processes(as_user(world.store.url, BOTH), **QUICK)
        world.gateways = [await made.gateway() for _ in range(2)]
        for _ in range(2):
            await made.sweeper()
        async with Herd([g.ws_url for g in world.gateways], NODES) as world.herd:
            await until(world.ready, "everybody is ready")
            yield world
    finally:
        world.store.kill()


async def lasts(seconds: float) -> None:
    """An outage's length: the one thing here that is a time and not an event."""
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, done.set_result, None)
    await done


async def everybody_is_well(world: World) -> None:
    await until(world.all_selected, "everybody is selected", every_s=0.1)
    assert world.herd.ever("offline") == []
    assert {len(a.acks) for a in world.herd.animals} == {1}, "no socket was closed"


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        ("OOM", out_of_memory),
        ("NOREPLICAS", too_few_replicas),
        ("READONLY", read_only),
        ("BUSY", busy),
    ],
)
async def test_a_store_that_refuses_or_stalls_costs_nobody_anything(
    world: World,
    error: str,
    trouble: Callable[[list[EmbeddedStore]], AbstractContextManager[None]],
) -> None:
    servers = [world.store]
    forget_met(servers)
    async with Node(world.gateways[0].ws_url) as newcomer:
        with trouble(servers):
            refused = await newcomer.register()
            assert refused["code"] == "UNAVAILABLE"
            assert refused["details"]["retry_after_ms"] > 0
            await until(lambda: acks_say(world, "unavailable"), "acks of beats say it")
            await until(lambda: readiness(world, 503), "readiness says it", every_s=0.1)
            if error != "BUSY":
                await told_by_those_who_are_asked(world)
            await lasts(LASTS_S)
        assert met(servers, error)
        await until(lambda: acks_say(world, "ok"), "acks of beats say that it is over")
        await until(lambda: readiness(world, 200), "readiness says that it is over", every_s=0.1)
        assert (await newcomer.register())["type"] == "node_register_ack"
        await everybody_is_well(world)


async def test_a_store_that_loads_its_data_costs_nobody_anything(world: World) -> None:
    for i in range(400):
        world.store.command("SET", f"ballast-{i}", "x" * 200)
    # All that is waited for meanwhile takes some seconds, and to load everything twenty.
    loading = Loading(world.store, key_delay_us=50_000, extra=world.users)
    await asyncio.to_thread(loading.__enter__)
    world.store = loading.store
    try:
        await until(lambda: acks_say(world, "unavailable"), "acks of beats say it")
        await lasts(TIMEOUT_S)
        assert loading.lasts
    finally:
        await asyncio.to_thread(loading.__exit__)
        world.store = loading.store
    assert met([world.store], "LOADING")
    await until(lambda: acks_say(world, "ok"), "acks of beats say that it is over")
    await everybody_is_well(world)


async def test_scripts_forgotten_under_load_are_missed_by_nobody(world: World) -> None:
    forget_met([world.store])
    for animal in world.herd.animals[::2]:
        animal.report = {"health": {"ok": False, "reason": "test"}}

    async def degraded() -> bool:
        world.store.command("SCRIPT", "FLUSH")
        return all(a.status == "degraded" for a in world.herd.animals[::2])

    await until(degraded, "the ill are told that they are degraded", every_s=0.02)
    assert met([world.store], "NOSCRIPT") > 10
    assert not any("unavailable" in str(a.told) for a in world.herd.animals)
    assert world.herd.ever("offline") == []


async def acks_say(world: World, word: str) -> bool:
    """Whether every node's last heartbeat ack says this of the store."""
    return all(
        [f["store"] for f in a.told if f["type"] == "node_heartbeat_ack"][-1:] == [word]
        for a in world.herd.animals
    )


async def told_by_those_who_are_asked(world: World) -> None:
    """A store that refuses writes can be read: readiness says why, and so does the doctor; lists
    and numbers are to be had."""
    async with httpx.AsyncClient(base_url=world.gateways[0].url, trust_env=False) as client:
        ready = (await client.get("/readyz")).json()
        assert ready["checks"]["store"] is False
        (told,) = [w for w in ready["warnings"] if w.startswith("the store refuses writes: ")]
        found = await client.get("/v1/doctor")
        assert found.status_code == 200, found.text
        levels = {f["check"]: f["level"] for f in found.json()["findings"]}
        assert levels["store_writes"] == "fatal"
        assert told in [f["what"] for f in found.json()["findings"]]
        assert "sweepers" not in levels
        for path in ("/v1/fleet", "/v1/nodes", "/v1/nodes?status=offline"):
            assert (await client.get(path)).status_code == 200, path


async def readiness(world: World, status: int) -> bool:
    """Whether every gateway's /readyz answers this."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answers = [await client.get(f"{g.url}/readyz", timeout=10) for g in world.gateways]
    return all(a.status_code == status for a in answers)
