"""Behind Sentinel two servers may both take writes for a while: one process asks one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio.sentinel import MasterNotFoundError

from gateway.metrics import Metrics
from gateway.tail import Tail
from registry import primary
from registry.cursor import BEGINNING, Cursor
from registry.embedded import EmbeddedStore
from registry.ending import end
from registry.registry import Registry
from registry.settings import RegistrySettings
from registry.store import Store
from registry.tailing import Loss
from tests.support.fleet import until
from tests.support.launching import said

AT_ONCE = 8
READERS = 20
DEPOSED = "deposed"
SELDOM_S, OFTEN_S = 3600.0, 0.05


@pytest.fixture
def primaries(tmp_path: Path) -> Iterator[tuple[EmbeddedStore, EmbeddedStore]]:
    """The former one and the new one; both live, and neither knows of the other."""
    former = EmbeddedStore.start(tmp_path / "former")
    new = EmbeddedStore.start(tmp_path / "new")
    yield former, new
    for server in (former, new):
        server.kill()


@pytest.fixture
def asked_every_s() -> float:
    """How often the sentinels are asked though no connection is opened."""
    return SELDOM_S


@pytest_asyncio.fixture
async def store(
    primaries: tuple[EmbeddedStore, EmbeddedStore],
    monkeypatch: pytest.MonkeyPatch,
    asked_every_s: float,
) -> AsyncIterator[Store]:
    """A store whose sentinels name the former primary as long as it is called so."""
    monkeypatch.setattr(primary, "ASKED_EVERY_S", asked_every_s)
    made = await Store.connect("redis+sentinel://127.0.0.1:1/muster/0")

    async def discover(service: str) -> tuple[str, int]:
        former, new = primaries
        return "127.0.0.1", (new if former.command("EXISTS", DEPOSED) else former).port

    monkeypatch.setattr(made.client.connection_pool.sentinel_manager, "discover_master", discover)
    yield made
    await made.close()


async def test_once_one_connection_broke_and_found_another_primary_none_asks_the_former(
    primaries: tuple[EmbeddedStore, EmbeddedStore], store: Store
) -> None:
    former, new = primaries
    await write(store)
    opened = connections(former)
    assert len(opened) == AT_ONCE
    former.command("SET", DEPOSED, "1")
    await write(store)
    assert not written(new), "nobody has looked anew yet"
    former.command("CLIENT", "KILL", "ID", opened[0])
    await write(store)
    former.command("CONFIG", "RESETSTAT")
    await write(store)
    assert written(new)
    assert not written(former)
    assert connections(former) == []


async def test_what_a_former_primary_answers_is_asked_again_of_the_new_one(
    primaries: tuple[EmbeddedStore, EmbeddedStore], store: Store
) -> None:
    former, new = primaries
    waiting = asyncio.create_task(store.commands([("BLPOP", "a-word", 4)]))
    await until(lambda: waits(former), "a connection is in use")
    former.command("SET", DEPOSED, "1")
    await store.ping()
    assert len(connections(former)) == 1, "the other one found the new primary"
    former.command("RPUSH", "a-word", "the former's")
    await until(lambda: waits(new), "it is asked again")
    new.command("RPUSH", "a-word", "the new one's")
    assert await waiting == [(b"a-word", b"the new one's")]
    assert connections(former) == []


@pytest.mark.parametrize("asked_every_s", [OFTEN_S])
async def test_a_primary_that_lives_on_is_left_as_soon_as_another_is_named(
    primaries: tuple[EmbeddedStore, EmbeddedStore], store: Store
) -> None:
    former, new = primaries
    await write(store)
    former.command("SET", DEPOSED, "1")

    async def left() -> bool:
        return connections(former) == []

    await until(left, "nobody is connected with it")
    await write(store)
    assert written(new)


@pytest.mark.parametrize("asked_every_s", [OFTEN_S])
async def test_who_listens_to_a_former_primary_hears_the_new_one(
    primaries: tuple[EmbeddedStore, EmbeddedStore], store: Store
) -> None:
    former, new = primaries
    listening = store.client_of("a-channel").pubsub()
    await listening.ssubscribe("a-channel")
    former.command("SET", DEPOSED, "1")

    async def heard() -> bool:
        new.command("SPUBLISH", "a-channel", "a word")
        message = await listening.get_message(timeout=OFTEN_S)
        return message is not None and message["data"] == b"a word"

    await until(heard, "a word of the new one")
    assert connections(former) == []
    await listening.aclose()


async def test_an_event_that_only_a_new_primary_has_is_looked_for_there_before_it_is_called_lost(
    primaries: tuple[EmbeddedStore, EmbeddedStore], store: Store
) -> None:
    former, new = primaries
    registry = Registry(store, RegistrySettings())
    stream = registry.keys.events(0)
    former.command("XADD", stream, "1-1", "type", "mend")
    new.command("XADD", stream, "1-1", "type", "mend")
    new.command("XADD", stream, "2-1", "type", "mend")
    read_elsewhere = ((2, 1), *BEGINNING[1:])
    assert (await registry.events_behind(read_elsewhere)).loss is Loss.STORE_LOST_EVENTS
    former.command("SET", DEPOSED, "1")
    assert (await registry.events_behind(read_elsewhere)).loss is None
    assert connections(former) == []


async def test_what_no_sentinel_denies_is_lost(
    primaries: tuple[EmbeddedStore, EmbeddedStore], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, _ = primaries
    registry = Registry(store, RegistrySettings())
    former.command("XADD", registry.keys.events(0), "1-1", "type", "mend")
    await store.ping()

    async def nobody_answers(service: str) -> tuple[str, int]:
        raise MasterNotFoundError

    manager = store.client.connection_pool.sentinel_manager
    monkeypatch.setattr(manager, "discover_master", nobody_answers)
    read_elsewhere = ((2, 1), *BEGINNING[1:])
    assert (await registry.events_behind(read_elsewhere)).loss is Loss.STORE_LOST_EVENTS


async def test_many_whose_places_are_lost_are_told_after_two_looks(
    primaries: tuple[EmbeddedStore, EmbeddedStore], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, _ = primaries
    registry = Registry(store, RegistrySettings())
    former.command("XADD", registry.keys.events(0), "2-1", "type", "mend")
    await write(store)  # connections ask the sentinels when they are opened
    looks, wanted, answers = 0, 0, asyncio.Event()

    async def discover(service: str) -> tuple[str, int]:
        nonlocal looks
        looks += 1
        await answers.wait()
        return "127.0.0.1", former.port

    look = store.look_for_primary

    async def wanting() -> bool:
        nonlocal wanted
        wanted += 1
        return await look()

    monkeypatch.setattr(store.client.connection_pool.sentinel_manager, "discover_master", discover)
    monkeypatch.setattr(store, "look_for_primary", wanting)
    tail = Tail(registry, Metrics(), poll_s=0.01, buffer_bytes=1_000_000)
    following = asyncio.create_task(tail.run())
    lost = Cursor(await registry.event_epoch(), ((1, 1), *BEGINNING[1:]))
    readers = [asyncio.create_task(told_of(tail, lost)) for _ in range(READERS)]

    async def all_want() -> bool:
        return wanted == READERS

    await until(all_want, "all want the sentinels to be asked at once")
    answers.set()
    assert await asyncio.gather(*readers) == [Loss.STORE_LOST_EVENTS] * READERS
    assert looks == 2
    await end([following])


async def told_of(tail: Tail, lost: Cursor) -> Loss | None:
    """What a reader is told who comes with a cursor."""
    watch = await tail.join(lost)
    async for batch in watch.batches(30):
        for entry in batch:
            watch.leave()
            return entry.loss
    raise AssertionError("told nothing")


async def write(store: Store) -> None:
    await asyncio.gather(*(store.commands([("SET", f"key-{i}", "x")]) for i in range(AT_ONCE)))


def connections(server: EmbeddedStore) -> list[str]:
    """Ids of the connections that a server has, but for the one that asks."""
    listed = str(server.command("CLIENT", "LIST")).splitlines()
    return [line.split()[0].removeprefix("id=") for line in listed if "cmd=client" not in line]


def written(server: EmbeddedStore) -> bool:
    """Whether anybody wrote since the server's statistics were reset."""
    return "cmdstat_set" in said(server, "commandstats")


async def waits(server: EmbeddedStore) -> bool:
    return "cmd=blpop" in str(server.command("CLIENT", "LIST"))
