"""Every error a store answers with, really met: what a process learns of it, and when it goes on.

Errors of a passing state are waited for, up to the time-out, and then the store is away. Errors
that refuse writes are told at once, and reading goes on. None is ever a bug of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from registry.embedded import EmbeddedStore
from registry.errors import StoreRefused, StoreUnavailable
from registry.keys import PARTITIONS, Keys, partition_of
from registry.model import BeatAnswer, BeatOutcome
from registry.registry import Registry
from registry.settings import RegistrySettings
from registry.store import Store
from tests.support.clusters import ReplicatedCluster
from tests.support.fleet import Fleet, asks, until
from tests.support.launching import wait_until
from tests.support.stores import Stores, debian_redis
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

KEYS = Keys("test")
NODE, OTHER = "node-A", "node-B"
Servers = tuple[EmbeddedStore, ...]
Way = Callable[[Store], Awaitable[object]]

WRITES: dict[str, Way] = {
    "a script": lambda s: s.call("announce", [KEYS.node(NODE)], [60_000, "a", "b"]),
    "scripts": lambda s: s.call_many(
        "announce", [([KEYS.node(i)], [60_000, "a", "b"]) for i in (NODE, OTHER)]
    ),
    "a command": lambda s: s.commands([("SET", KEYS.ttl(NODE), "1")]),
    "commands": lambda s: s.commands([("SET", KEYS.ttl(i), "1") for i in (NODE, OTHER)]),
}
READS: dict[str, Way] = {
    "a script": lambda s: s.call("sample", [KEYS.ready(0, "any")], [1, 4, 8]),
    "scripts": lambda s: s.call_many(
        "sample", [([KEYS.ready(p, "any")], [1, 4, 8]) for p in range(64)]
    ),
    "a command": lambda s: s.commands([("GET", KEYS.ttl(NODE))]),
    "commands": lambda s: s.commands([("GET", KEYS.ttl(i)) for i in (NODE, OTHER)]),
    "the time": lambda s: s.call("now", [KEYS.gateways()], []),
    "a look at the set-up": lambda s: s.info(),
    "a ping": lambda s: s.ping(),
}
ALL = {f"{kind} {name}": way for kind, ways in (("writing", WRITES), ("reading", READS))
       for name, way in ways.items()}  # fmt: skip


@pytest.fixture(params=["valkey", "redis", "cluster"])
def servers(request: pytest.FixtureRequest, stores: Stores) -> Servers:
    """The servers of a store, all of them in trouble at once."""
    name: str = request.param
    request.node.user_properties.append(("store", name))
    backend = stores.backend(name)
    backend.empty()
    forget_met(backend.servers)
    return backend.servers


@pytest_asyncio.fixture
async def asking(servers: Servers) -> AsyncIterator[Store]:
    """A connection that waits as long as a busy machine needs, except where it is `hasty`."""
    scheme = "redis+cluster" if len(servers) > 1 else "redis"
    url = as_user(f"{scheme}://127.0.0.1:{servers[0].port}", BOTH)
    store = await Store.connect(url, timeout_s=20.0)
    yield store
    await store.close()


@contextlib.contextmanager
def hasty(store: Store, timeout_s: float = 0.3) -> Iterator[None]:
    """A store that can't be had is not waited for long while this lasts."""
    patient, store.timeout_s = store.timeout_s, timeout_s
    try:
        yield
    finally:
        store.timeout_s = patient


# What refuses writes


@pytest.mark.parametrize(
    ("servers", "error", "trouble"),
    [
        ("valkey", "OOM", out_of_memory),
        ("redis", "OOM", out_of_memory),
        ("cluster", "OOM", out_of_memory),
        ("valkey", "NOREPLICAS", too_few_replicas),
        ("redis", "NOREPLICAS", too_few_replicas),
        ("cluster", "NOREPLICAS", too_few_replicas),
        ("valkey", "READONLY", read_only),
        ("redis", "READONLY", read_only),
    ],
    indirect=["servers"],
)
async def test_refused_writes_are_told_at_once_and_reading_goes_on(
    servers: Servers,
    asking: Store,
    error: str,
    trouble: Callable[[Servers], AbstractContextManager[None]],
) -> None:
    with trouble(servers):
        for name, write in WRITES.items():
            with pytest.raises(StoreRefused):
                await write(asking)
            assert met(servers, error), name
            forget_met(servers)
        for read in READS.values():
            await read(asking)
    for write in WRITES.values():
        await write(asking)


# What passes


async def test_a_busy_store_is_waited_for_and_then_called_away(
    servers: Servers, asking: Store
) -> None:
    await asking.ping()
    with busy(servers), hasty(asking):
        for name, way in ALL.items():
            with pytest.raises(StoreUnavailable) as told:
                await way(asking)
            assert not isinstance(told.value, StoreRefused), name
    assert met(servers, "BUSY") >= len(ALL)
    for way in ALL.values():
        await way(asking)


async def test_what_was_asked_of_a_busy_store_is_done_when_it_is_free(
    servers: Servers, asking: Store
) -> None:
    await asking.ping()
    with busy(servers):
        asked = [asyncio.ensure_future(way(asking)) for way in ALL.values()]
        answered, _ = await asyncio.wait(asked, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
        assert not answered
    await asyncio.gather(*asked)


@pytest.mark.parametrize("name", ["valkey", "redis"])
async def test_a_store_that_loads_its_data_is_waited_for(tmp_path: Path, name: str) -> None:
    binary = debian_redis() if name == "redis" else None
    loading = Loading(EmbeddedStore.start(tmp_path, server=binary), server=binary)
    store = await Store.connect(loading.store.url, timeout_s=20.0)
    try:
        await store.commands([("SET", f"key-{i}", "x" * 200) for i in range(150)])
        with loading:
            await store.call("announce", [KEYS.node(NODE)], [60_000, "a", "b"])
            assert met([loading.store], "LOADING")
            assert await store.commands([("GET", "key-1"), ("GET", "key-149")]) == [b"x" * 200] * 2
    finally:
        await store.close()
        loading.store.kill()


async def test_a_store_that_loads_for_too_long_is_away(tmp_path: Path) -> None:
    loading = Loading(EmbeddedStore.start(tmp_path))
    store = await Store.connect(loading.store.url, timeout_s=20.0)
    try:
        await store.commands([("SET", f"key-{i}", "x" * 200) for i in range(1000)])
        with loading, hasty(store, 0.1):
            for name in ("writing scripts", "reading commands", "reading a ping"):
                with pytest.raises(StoreUnavailable) as told:
                    await ALL[name](store)
                assert not isinstance(told.value, StoreRefused), name
            assert loading.lasts
    finally:
        await store.close()
        loading.store.kill()


async def test_scripts_the_store_forgot_are_sent_again(servers: Servers, asking: Store) -> None:
    for name in ("a script", "scripts"):
        for way in (WRITES[name], READS[name]):
            await way(asking)
            for server in servers:
                server.command("SCRIPT", "FLUSH")
            await way(asking)
            assert met(servers, "NOSCRIPT"), name
            forget_met(servers)


async def test_what_the_user_may_not_do_is_refused(servers: Servers, asking: Store) -> None:
    with forbidden(servers, "hset", "set"):
        for name, write in WRITES.items():
            with pytest.raises(StoreRefused, match=r"(?i)permission|can't run"):
                await write(asking)
            assert met(servers, "NOPERM") + met(servers, "ERR"), name
            forget_met(servers)
        for read in READS.values():
            await read(asking)


@contextlib.contextmanager
def forbidden(servers: Servers, *commands: str) -> Iterator[None]:
    """NOPERM: the user may not run these commands."""
    for server in servers:
        server.command("ACL", "SETUSER", BOTH, *(f"-{c}" for c in commands))
    try:
        yield
    finally:
        for server in servers:
            server.command("ACL", "SETUSER", BOTH, *(f"+{c}" for c in commands))


# A slot that moves


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicatedCluster]:
    """Three primaries alone: nothing here fails over."""
    directory = tmp_path_factory.mktemp("moving")
    made = ReplicatedCluster.start(directory, replicas=0, extra=with_users(directory))
    yield made
    made.kill()


@pytest_asyncio.fixture
async def store(cluster: ReplicatedCluster) -> AsyncIterator[Store]:
    cluster.empty()
    made = await Store.connect(as_user(cluster.url, BOTH), timeout_s=20.0)
    yield made
    await made.close()


@dataclass
class Move:
    """The slot of a key on its way to another primary."""

    cluster: ReplicatedCluster
    slot: int
    leaving: EmbeddedStore
    to: EmbeddedStore

    def send_ahead(self, most: int) -> None:
        self.cluster.move_keys(self.slot, self.leaving, self.to, most)

    def end(self) -> None:
        self.cluster.end_move(self.slot, self.leaving, self.to)

    def met(self, error: str) -> int:
        return met(self.cluster.servers, error)


@contextlib.contextmanager
def moving(cluster: ReplicatedCluster, key: str, to: EmbeddedStore | None = None) -> Iterator[Move]:
    """The slot of a key is on its way while this lasts; what is met is counted from here on."""
    slot = cluster.slot_of(key)
    to = to or next(s for s in cluster.servers if s is not cluster.primary_of(key))
    move = Move(cluster, slot, cluster.begin_move(slot, to), to)
    forget_met(cluster.servers)
    try:
        yield move
    finally:
        move.end()


@pytest.mark.parametrize("way", [n for n in ALL if n.endswith(("script", "scripts", "command"))])
async def test_a_slot_that_moved_is_found(
    cluster: ReplicatedCluster, store: Store, way: str
) -> None:
    await ALL[way](store)
    for key in (KEYS.node(NODE), KEYS.ready(0, "any")):
        with moving(cluster, key):
            pass
    forget_met(cluster.servers)
    await ALL[way](store)
    assert met(cluster.servers, "MOVED")
    forget_met(cluster.servers)
    await ALL[way](store)
    assert not met(cluster.servers, "MOVED"), "where it is, is remembered"


async def test_keys_that_are_ahead_of_their_slot_are_asked_for_there(
    cluster: ReplicatedCluster, store: Store
) -> None:
    await store.commands([("SET", KEYS.ttl(NODE), "0")])
    with moving(cluster, KEYS.ttl(NODE)) as move:
        move.send_ahead(10)
        for way in WRITES:
            await WRITES[way](store)
            assert move.met("ASK"), way
            forget_met(cluster.servers)
    assert await store.commands([("GET", KEYS.ttl(NODE))]) == [b"1"]


async def test_many_questions_at_once_find_keys_that_are_ahead_of_their_slot(
    cluster: ReplicatedCluster, store: Store
) -> None:
    await store.commands([("SET", KEYS.ttl(NODE), "1")])
    with moving(cluster, KEYS.ttl(NODE)) as move:
        move.send_ahead(10)
        found = await asyncio.gather(
            *(store.commands([("GET", KEYS.ttl(NODE))]) for _ in range(200)),
            *(store.commands([("GET", KEYS.ttl(i)) for i in (NODE, OTHER)]) for _ in range(50)),
        )
        assert found == [[b"1"]] * 200 + [[b"1", None]] * 50
        assert move.met("ASK")


async def test_a_script_with_keys_on_both_sides_of_a_move_waits_for_its_end(
    cluster: ReplicatedCluster, store: Store
) -> None:
    registry = Registry(store, replace(RegistrySettings(), redis_prefix="test"))
    fleet = Fleet(registry)
    await fleet.make_ready(NODE)
    with moving(cluster, KEYS.node(NODE)) as move:
        move.send_ahead(2)
        done = asyncio.ensure_future(registry.job_result(NODE, f"sid-{NODE}", failed=True, jobs=0))

        async def tried_again() -> bool:
            return move.met("TRYAGAIN") > 20  # more often than the client library would by itself

        await until(tried_again, "the script is tried again and again")
        assert not done.done()
    assert await done
    assert (await fleet.facts(NODE)).window == "j"


async def test_a_move_that_does_not_end_is_an_outage_and_no_bug(
    cluster: ReplicatedCluster, store: Store
) -> None:
    registry = Registry(store, replace(RegistrySettings(), redis_prefix="test"))
    fleet = Fleet(registry)
    await fleet.make_ready(NODE)
    with moving(cluster, KEYS.node(NODE)) as move:
        move.send_ahead(2)
        with hasty(store, 1.0), pytest.raises(StoreUnavailable) as told:
            await registry.job_result(NODE, f"sid-{NODE}", failed=True, jobs=0)
        assert not isinstance(told.value, StoreRefused)
        assert move.met("TRYAGAIN")
    assert await registry.job_result(NODE, f"sid-{NODE}", failed=True, jobs=0)


async def test_a_slot_on_its_way_holds_up_the_beats_of_its_own_nodes_alone(
    cluster: ReplicatedCluster, store: Store
) -> None:
    registry = Registry(store, replace(RegistrySettings(), redis_prefix="test"))
    fleet = Fleet(registry)
    for name in (NODE, OTHER):
        await fleet.make_ready(name)
    beats = [fleet.beat_of(name) for name in (NODE, OTHER)]
    with moving(cluster, KEYS.node(NODE)) as move:
        move.send_ahead(2)
        assert await registry.beat(beats) == [None, BeatAnswer(BeatOutcome.FINE)]
        assert await registry.beat(beats[:1]) == [None]
        assert move.met("TRYAGAIN")
    assert await registry.beat(beats) == [BeatAnswer(BeatOutcome.FINE)] * 2
    assert [(await fleet.facts(name)).window for name in (NODE, OTHER)] == ["P", "P"]


async def test_selection_looks_elsewhere_and_says_when_it_can_not(
    cluster: ReplicatedCluster, store: Store
) -> None:
    registry = Registry(store, replace(RegistrySettings(), redis_prefix="test"))
    fleet = Fleet(registry)
    await fleet.make_ready(NODE, capabilities=("any", "asr:zh", "tts:en"))
    await fleet.make_ready(OTHER, capabilities=("any", "asr:zh"))
    with moving(cluster, KEYS.node(NODE)) as move:
        move.send_ahead(4)
        assert [s.node_id for s in await registry.select(asks("any", "asr:zh"), 2)] == [OTHER]
        with hasty(store, 1.0), pytest.raises(StoreUnavailable):
            await registry.select(asks("any", "tts:en"))
    assert len(await registry.select(asks("any", "asr:zh"), 2)) == 2


async def test_a_partition_on_its_way_is_left_out_of_a_patrol_and_not_missed_later(
    cluster: ReplicatedCluster, store: Store
) -> None:
    registry = Registry(store, replace(RegistrySettings(), redis_prefix="test"))
    fleet = Fleet(registry)
    await fleet.register(NODE)
    await fleet.beat(NODE)
    every = list(range(PARTITIONS))
    stuck = partition_of(NODE)
    with moving(cluster, KEYS.node(NODE)) as move:
        move.send_ahead(2)
        found = await registry.patrol(every, "one", observe=True, limit=10)
        assert [look.partition for look in found] == [p for p in every if p != stuck]
    (look,) = await registry.patrol([stuck], "one", observe=True, limit=10)
    assert look.marked == (NODE,)


async def test_a_slot_moves_to_a_server_nobody_has_heard_of(tmp_path: Path) -> None:
    cluster = ReplicatedCluster.start(tmp_path, replicas=0, extra=with_users(tmp_path))
    store = await Store.connect(as_user(cluster.url, BOTH))
    try:
        await store.commands([("SET", KEYS.ttl(NODE), "1")])
        newcomer = cluster.add()
        with moving(cluster, KEYS.ttl(NODE), to=newcomer) as move:
            move.send_ahead(10)
            assert await store.commands([("GET", KEYS.ttl(NODE))]) == [b"1"]
            assert move.met("ASK")
            await WRITES["scripts"](store)
        for way in ALL.values():
            await way(store)
        assert met([newcomer], "ASK") == 0
        assert newcomer.command("GET", KEYS.ttl(NODE)) == "1"
    finally:
        await store.close()
        cluster.kill()


async def test_a_cluster_that_lacks_slots_is_away(tmp_path: Path) -> None:
    cluster = ReplicatedCluster.start(tmp_path, replicas=0, extra=with_users(tmp_path))
    store = await Store.connect(as_user(cluster.url, BOTH), timeout_s=20.0)
    try:
        await ALL["writing commands"](store)
        wanted = [cluster.primary_of(KEYS.node(i)) for i in (NODE, OTHER)]
        gone = next(s for s in cluster.servers if s not in wanted)
        gone.kill()
        living = [s for s in cluster.servers if s is not gone]
        wait_until(lambda: all(_down(s) for s in living), "the cluster is down")
        for name in ("writing a script", "writing scripts", "reading commands"):
            with hasty(store, 0.5), pytest.raises(StoreUnavailable):
                await ALL[name](store)
        assert met(living, "CLUSTERDOWN")
    finally:
        await store.close()
        cluster.kill()


def _down(server: EmbeddedStore) -> bool:
    return "cluster_state:fail" in str(server.command("CLUSTER", "INFO"))
