"""A Cluster that speaks TLS and nothing else: clients, its bus, its replicas, slots that move."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from registry.embedded import EmbeddedStore
from registry.errors import StoreUnavailable
from registry.keys import PARTITIONS, Keys, partition_of
from registry.opening import Access
from registry.registry import Registry
from registry.settings import RegistrySettings
from registry.store import Store
from tests.integration.conftest import QUICK
from tests.support.certificates import Certificates
from tests.support.clusters import ReplicatedCluster
from tests.support.fleet import Fleet, asks, until
from tests.support.herd import Herd
from tests.support.node import selected
from tests.support.processes import ProcessesFactory
from tests.support.secure import SecureCluster, access_by
from tests.support.trouble import forget_met, met

KEYS = Keys("test")
NODES = tuple(f"node-{letter}" for letter in "ABCDEFGH")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureCluster]:
    """Three primaries with a replica each."""
    made = SecureCluster.start(tmp_path_factory.mktemp("secure"), replicas=1)
    yield made
    made.kill()


async def registry_of(secure: SecureCluster) -> Registry:
    """A connection of the test's own to an empty store."""
    secure.cluster.empty()
    known = RegistrySettings(redis_url=secure.url, **secure.settings)  # type: ignore[arg-type]
    return await Registry.connect(replace(known, redis_prefix="test"))


def primaries_of(ids: tuple[str, ...], cluster: ReplicatedCluster) -> set[int]:
    """The ports of those who hold the records of these nodes."""
    return {cluster.primary_of(KEYS.node(id_)).port for id_ in ids}


async def test_no_server_of_it_speaks_in_the_clear(secure: SecureCluster) -> None:
    for server in secure.cluster.servers:
        assert server.command("CONFIG", "GET", "port")[1] == "0"
        assert server.command("CONFIG", "GET", "tls-cluster")[1] == "yes"
        url = f"redis+cluster://127.0.0.1:{server.port}"
        store = await Store.connect(url, timeout_s=0.5)
        with pytest.raises(StoreUnavailable):
            await store.ping()
        await store.close()


async def test_machines_on_every_server_register_beat_are_judged_and_selected(
    secure: SecureCluster,
) -> None:
    registry = await registry_of(secure)
    try:
        fleet = Fleet(registry)
        for id_ in NODES:
            await fleet.make_ready(id_)
        assert len(primaries_of(NODES, secure.cluster)) == 3
        await fleet.register("node-NEW")
        await fleet.beat("node-NEW")
        found = await registry.patrol(list(range(PARTITIONS)), "me", observe=True, limit=100)
        assert len(found) == PARTITIONS
        assert "node-NEW" in {id_ for look in found for id_ in look.marked}
        answers = await registry.beat([fleet.beat_of(id_) for id_ in NODES])
        assert all(answer is not None and answer.outcome == "fine" for answer in answers)
        chosen = await registry.select(asks("any", "asr:zh"), len(NODES))
        assert {subject.node_id for subject in chosen} == set(NODES)
        assert len(await registry.store.info()) == 3
    finally:
        await registry.close()


async def test_a_status_travels_by_a_subscription_on_every_server(secure: SecureCluster) -> None:
    registry = await registry_of(secure)
    try:
        channels = registry.keys.gateway_channels("gw1")
        assert len({secure.cluster.primary_of(c).port for c in channels}) == 3
        async with registry.subscription(channels, watchdog_s=0.3) as heard:

            async def healthy() -> bool:
                return heard.healthy

            await until(healthy, "the subscription hears itself on every server")
            fleet, missing = Fleet(registry), set(NODES)
            for id_ in NODES:
                await fleet.make_ready(id_)
            async with asyncio.timeout(30):
                async for message in heard:
                    missing -= {id_ for id_ in NODES if id_.encode() in message}
                    if not missing:
                        break
    finally:
        await registry.close()


async def test_a_slot_on_its_way_is_followed_to_a_server_nobody_has_heard_of(
    tmp_path: Path,
) -> None:
    secure = SecureCluster.start(tmp_path)
    cluster = secure.cluster
    store = await Store.connect(secure.url, access=secure.access)
    try:
        key = KEYS.ttl("node-A")
        await store.commands([("SET", key, "1")])
        newcomer = cluster.add()
        slot = cluster.slot_of(key)
        leaving = cluster.begin_move(slot, newcomer)
        forget_met(cluster.servers)
        assert cluster.move_keys(slot, leaving, newcomer, 10) == 1
        assert await store.commands([("GET", key)]) == [b"1"]
        assert met([leaving], "ASK")
        cluster.end_move(slot, leaving, newcomer)
        forget_met(cluster.servers)
        assert await store.commands([("GET", key)]) == [b"1"]
        assert met([leaving], "MOVED")
    finally:
        await store.close()
        secure.kill()


async def refusal(url: str, access: Access) -> str:
    store = await Store.connect(url, timeout_s=20.0, access=access)
    try:
        with pytest.raises(StoreUnavailable) as told:
            await store.ping()
    finally:
        await store.close()
    return str(told.value)


async def test_who_can_not_speak_to_it_is_told_which_setting_is_wrong(
    secure: SecureCluster, tmp_path: Path
) -> None:
    others = access_by(Certificates.make(tmp_path))
    mixed = replace(secure.access, ca_file=others.ca_file)
    assert "MUSTER_REDIS_CA_FILE" in await refusal(secure.url, mixed)
    bare = replace(secure.access, cert_file=None, key_file=None)
    assert "MUSTER_REDIS_CERT_FILE" in await refusal(secure.url, bare)
    in_the_clear = secure.url.replace("rediss", "redis", 1)
    assert "must begin with rediss" in await refusal(in_the_clear, Access())


async def test_a_fleet_lives_through_a_slot_that_moves_and_a_primary_that_dies(
    processes: ProcessesFactory, tmp_path: Path
) -> None:
    secure = SecureCluster.start(tmp_path, replicas=1)
    cluster = secure.cluster
    try:
        made = processes(secure.url, **QUICK, **secure.settings)
        gateways = [await made.gateway() for _ in range(2)]
        for _ in range(2):
            await made.sweeper()
        async with Herd([g.ws_url for g in gateways], 12) as herd:

            async def all_selected() -> bool:
                found = await selected(gateways[0].url, kind="nmt", src_lang="zh",
                                       tgt_lang="en", limit=12)  # fmt: skip
                return set(found) == {a.node_id for a in herd.animals}

            async def told(status: str) -> bool:
                return all(a.status == status for a in herd.animals)

            await until(all_selected, "everybody is selected", every_s=0.1)
            key = Keys("muster").head(partition_of(herd.animals[0].node_id))
            await asyncio.to_thread(move_away, cluster, key)
            for animal in herd.animals:
                animal.report = {"health": {"ok": False, "reason": "test"}}
            await until(lambda: told("degraded"), "all are told that they are degraded")
            await asyncio.to_thread(cluster.kill_primary_of, key)
            for animal in herd.animals:
                animal.report = {}
            await until(lambda: told("ready"), "all are told that they are ready again")
            await until(all_selected, "everybody is selected again", every_s=0.1)
            assert herd.ever("offline") == []
            for server in running(cluster):
                assert server.command("ACL", "LOG") == []
            users = {word for s in running(cluster) for word in words_of(s, "CLIENT", "LIST")}
            assert {"user=muster-gateway", "user=muster-sweeper"} <= users
    finally:
        secure.kill()


def move_away(cluster: ReplicatedCluster, key: str) -> None:
    """Moves the slot of a key to another primary."""
    to = next(s for s in cluster.primaries if s is not cluster.primary_of(key))
    cluster.move(cluster.slot_of(key), to)


def running(cluster: ReplicatedCluster) -> list[EmbeddedStore]:
    return [server for server in cluster.servers if server.running]


def words_of(server: EmbeddedStore, *command: str) -> set[str]:
    return set(str(server.command(*command)).split())
