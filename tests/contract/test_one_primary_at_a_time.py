"""Behind Sentinel two servers may both take writes for a while: one process asks one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from registry.embedded import EmbeddedStore
from registry.errors import StoreError
from registry.store import Store
from tests.support.fleet import until
from tests.support.launching import said

AT_ONCE = 8
DEPOSED = "deposed"


@pytest.fixture
def primaries(tmp_path: Path) -> Iterator[tuple[EmbeddedStore, EmbeddedStore]]:
    """The former one and the new one; both live, and neither knows of the other."""
    former = EmbeddedStore.start(tmp_path / "former")
    new = EmbeddedStore.start(tmp_path / "new")
    yield former, new
    for server in (former, new):
        server.kill()


def connections(server: EmbeddedStore) -> list[str]:
    """Ids of the connections that a server has, but for the one that asks."""
    listed = str(server.command("CLIENT", "LIST")).splitlines()
    return [line.split()[0].removeprefix("id=") for line in listed if "cmd=client" not in line]


def written(server: EmbeddedStore) -> bool:
    """Whether anybody wrote since the server's statistics were reset."""
    return "cmdstat_set" in said(server, "commandstats")


async def write(store: Store) -> None:
    await asyncio.gather(*(store.commands([("SET", f"key-{i}", "x")]) for i in range(AT_ONCE)))


@pytest_asyncio.fixture
async def store(
    primaries: tuple[EmbeddedStore, EmbeddedStore], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    """A store whose sentinels name the former primary as long as it is called so."""
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


async def test_a_connection_in_use_while_another_primary_is_found_follows(
    primaries: tuple[EmbeddedStore, EmbeddedStore], store: Store
) -> None:
    former, new = primaries
    waiting = asyncio.create_task(store.commands([("BLPOP", "a-word", 5)]))
    await until(lambda: waits(former), "a connection is in use")
    former.command("SET", DEPOSED, "1")
    await store.ping()
    assert len(connections(former)) == 1, "the other one found the new primary"
    former.command("RPUSH", "a-word", "now")
    await waiting
    former.command("CONFIG", "RESETSTAT")
    await write(store)
    assert written(new)
    assert not written(former)


async def test_a_primary_without_replicas_is_left_as_soon_as_there_is_another(
    primaries: tuple[EmbeddedStore, EmbeddedStore], store: Store
) -> None:
    former, new = primaries
    await write(store)
    former.command("SET", DEPOSED, "1")
    former.command("CONFIG", "SET", "min-replicas-to-write", "1")

    async def goes_on() -> bool:
        try:
            await write(store)
        except StoreError:
            return False
        return True

    await until(goes_on, "it writes elsewhere")
    assert written(new)
    assert connections(former) == []


async def waits(server: EmbeddedStore) -> bool:
    return "cmd=blpop" in str(server.command("CLIENT", "LIST"))
