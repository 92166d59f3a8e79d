"""A Cluster's slots move while nodes beat: nobody is called offline, and only what is on its way
waits."""

from __future__ import annotations

import asyncio

import pytest

from registry.keys import Keys, partition_of
from tests.integration.conftest import QUICK
from tests.support.clusters import ReplicatedCluster
from tests.support.fleet import until
from tests.support.herd import Herd
from tests.support.launching import said
from tests.support.node import node_row, selected
from tests.support.processes import Processes, ProcessesFactory
from tests.support.trouble import forget_met, met
from tests.support.users import BOTH, as_user

KEYS = Keys("muster")


@pytest.fixture
def cluster(replicated_cluster: ReplicatedCluster) -> ReplicatedCluster:
    return replicated_cluster


@pytest.fixture
def made(processes: ProcessesFactory, cluster: ReplicatedCluster) -> Processes:
    return processes(as_user(cluster.url, BOTH), **QUICK)


async def keep_moving(cluster: ReplicatedCluster, partitions: list[int]) -> None:
    """Moves the slots of some partitions to the next server, one after the other, for ever."""
    while True:
        for partition in partitions:
            await asyncio.to_thread(move_on, cluster, KEYS.head(partition))


def move_on(cluster: ReplicatedCluster, key: str) -> None:
    primaries = sorted(cluster.primaries, key=lambda s: s.port)
    place = primaries.index(cluster.primary_of(key))
    cluster.move(cluster.slot_of(key), primaries[(place + 1) % len(primaries)])


async def test_slots_move_under_load_and_nobody_is_worse_off(
    made: Processes, cluster: ReplicatedCluster
) -> None:
    gateways = [await made.gateway() for _ in range(2)]
    for _ in range(2):
        await made.sweeper()
    async with Herd([g.ws_url for g in gateways], 24) as herd:
        await until(lambda: herd.all_are("ready"), "everybody is ready")
        forget_met(cluster.servers)
        partitions = sorted({partition_of(a.node_id) for a in herd.animals})
        moving = asyncio.create_task(keep_moving(cluster, partitions))
        ill = herd.animals[::2]

        async def told(status: str) -> bool:
            assert not moving.done()
            return all(a.status == status for a in ill)

        for _ in range(3):
            for animal in ill:
                animal.report = {"health": {"ok": False, "reason": "test"}}
            await until(lambda: told("degraded"), "the ill are told that they are degraded")
            for animal in ill:
                animal.report = {}
            await until(lambda: told("ready"), "they are told that they are ready again")
        moving.cancel()
        await asyncio.wait([moving])
        assert met(cluster.servers, "MOVED")
        assert await herd.all_are("ready")
        assert herd.ever("offline") == []
        assert set(herd.ever("degraded")) == {a.node_id for a in ill}
        assert all(len(a.acks) == 1 for a in herd.animals), "no socket was closed"

        async def all_selected() -> bool:
            found = await selected(
                gateways[0].url, kind="nmt", src_lang="zh", tgt_lang="en", limit=24
            )
            return set(found) == {a.node_id for a in herd.animals}

        await until(all_selected, "everybody is selected")


async def test_a_slot_that_does_not_arrive_costs_the_others_nothing(
    made: Processes, cluster: ReplicatedCluster
) -> None:
    gateway = await made.gateway()
    await made.sweeper()
    async with Herd([gateway.ws_url], 24) as herd:
        await until(lambda: herd.all_are("ready"), "everybody is ready")
        stuck = partition_of(herd.animals[0].node_id)
        others = {a.node_id for a in herd.animals if partition_of(a.node_id) != stuck}
        key = KEYS.head(stuck)
        slot, leaving = cluster.slot_of(key), cluster.primary_of(key)
        to = next(s for s in cluster.primaries if s is not leaving)
        cluster.begin_move(slot, to)
        cluster.move_keys(slot, leaving, to, 3)
        loop = asyncio.get_running_loop()
        began, missed = loop.time(), set()
        while loop.time() < began + 3 * float(str(QUICK["heartbeat_timeout_s"])):
            row = await selected(gateway.url, kind="nmt", src_lang="zh", tgt_lang="en", limit=24)
            missed |= others - set(row)
            await asyncio.sleep(0.1)
        newcomers = Herd([gateway.ws_url], 8)
        async with newcomers:
            elsewhere = 4  # of eight ids, as good as never more than four are of one partition

            async def ready() -> bool:
                return sum(a.status == "ready" for a in newcomers.animals) >= elsewhere

            await until(ready, "newcomers become ready")
        cluster.end_move(slot, leaving, to)
        await until(lambda: herd.all_are("ready"), "everybody is ready")
        assert missed == set()
        assert herd.ever("offline") == []
        assert await node_row(gateway.url, herd.animals[0].node_id)
        assert said(to, "errorstats").get("errorstat_TRYAGAIN") or met([leaving], "TRYAGAIN")
