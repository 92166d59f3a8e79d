"""Many questions to one store at once: each has its turn, or is told in time that it has none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import BusyLoadingError

from registry.embedded import EmbeddedStore
from registry.errors import StoreUnavailable
from registry.store import Store
from tests.support.fleet import until
from tests.support.launching import said

AT_ONCE = 32
BESIDE = 8


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedStore]:
    started = EmbeddedStore.start(tmp_path)
    yield started
    started.kill()


async def test_nobody_is_passed_over_however_many_ask_again_and_again(
    server: EmbeddedStore,
) -> None:
    store = await Store.connect(server.url, timeout_s=20.0)
    deadline = time.monotonic() + 4.0

    async def asks() -> int:
        count = 0
        while time.monotonic() < deadline:
            await store.commands([("BLPOP", "nothing", "0.02")])  # has a connection for 20-100 ms
            count += 1
        return count

    try:
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(asks()) for _ in range(3 * AT_ONCE)]
    finally:
        await store.close()
    counts = [task.result() for task in asking]
    assert min(counts) >= max(counts) - 3


@pytest.mark.parametrize("behind_sentinel", [False, True])
async def test_one_server_is_asked_so_many_questions_at_a_time_and_what_is_urgent_beside_them(
    server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, behind_sentinel: bool
) -> None:
    url = "redis+sentinel://127.0.0.1:1/muster/0" if behind_sentinel else server.url
    store = await Store.connect(url, timeout_s=60.0)  # until all who may have asked

    async def discover(_: str) -> tuple[str, int]:
        return "127.0.0.1", server.port

    if behind_sentinel:
        pool = store.client.connection_pool
        monkeypatch.setattr(pool.sentinel_manager, "discover_master", discover)
    try:
        asking = [
            asyncio.create_task(store.commands([("BLPOP", "a-word", 0)]))
            for _ in range(3 * AT_ONCE)
        ]
        await until(lambda: waiting(server, AT_ONCE), "all turns are taken")
        asking += [
            asyncio.create_task(store.asked(lambda: store.client.blpop("a-word"), urgent=True))
            for _ in range(BESIDE)
        ]
        await until(lambda: waiting(server, AT_ONCE + BESIDE), "what is urgent is asked, too")
        most = 0
        for _ in asking:  # each answer makes room for one more
            await asyncio.sleep(0.005)
            most = max(most, blocked(server))
            server.command("RPUSH", "a-word", "said")
        await asyncio.gather(*asking)
    finally:
        await store.close()
    assert most == AT_ONCE + BESIDE


def blocked(server: EmbeddedStore) -> int:
    """How many clients of a server wait for an element."""
    return int(said(server, "clients")["blocked_clients"])


async def waiting(server: EmbeddedStore, clients: int) -> bool:
    return blocked(server) >= clients


class Deaf:
    """A client of a store that answers when it is let."""

    def __init__(self) -> None:
        self.answers = False
        self.asked = 0

    async def execute_command(self, *_: object) -> bytes:
        self.asked += 1
        if self.answers:
            return b"OK"
        await asyncio.sleep(0.1)
        raise TimeoutError("no answer")


async def test_a_crowd_does_not_find_out_one_by_one_that_the_store_does_not_answer() -> None:
    client = Deaf()
    store = Store(client, single=True, genuine=True, at_once=AT_ONCE)
    asking = [store.commands([("GET", "a")]) for _ in range(100 * AT_ONCE)]
    told = await asyncio.gather(*asking, return_exceptions=True)
    assert client.asked == AT_ONCE
    assert {type(each) for each in told} == {StoreUnavailable}
    with pytest.raises(StoreUnavailable, match="no answer"):  # who comes later tries it
        await store.commands([("GET", "b")])
    client.answers = True
    assert await store.commands([("GET", "c")]) == [b"OK"]


class Stumbling:
    """A client of a store that answers, but for some of the questions, by their number from 1."""

    def __init__(self, at: range, error: Exception, after_s: float) -> None:
        self.at, self.error, self.after_s = at, error, after_s
        self.asked = 0

    async def execute_command(self, *_: object) -> bytes:
        self.asked = own = self.asked + 1
        if own in self.at:
            if self.after_s:
                await asyncio.sleep(self.after_s)
            raise self.error
        await asyncio.sleep(0.002)
        return b"OK"


async def test_one_connection_that_breaks_costs_one_question() -> None:
    client = Stumbling(range(50, 51), ConnectionError("reset"), 0)
    store = Store(client, single=True, genuine=True, at_once=AT_ONCE)
    asking = [store.commands([("GET", "a")]) for _ in range(400)]
    told = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in told if each != [b"OK"]] == [StoreUnavailable]


async def test_a_store_that_loads_its_data_is_waited_for_by_all() -> None:
    loading = BusyLoadingError("Redis is loading the dataset in memory")
    client = Stumbling(range(1, AT_ONCE + 1), loading, 0.05)
    store = Store(client, single=True, genuine=True, at_once=AT_ONCE)
    asking = [store.commands([("GET", "a")]) for _ in range(400)]
    assert await asyncio.gather(*asking) == [[b"OK"]] * 400
    assert client.asked == 400 + AT_ONCE
