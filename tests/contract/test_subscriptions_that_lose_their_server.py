"""Who listens to a Cluster goes on hearing when a channel's slot moves or its server dies."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from registry.keys import PARTITIONS, Keys
from registry.store import Store
from registry.subscription import Subscription
from tests.support.clusters import ReplicatedCluster
from tests.support.fleet import until
from tests.support.users import BOTH, as_user, with_users

CHANNELS = Keys("test").gateway_channels("gw1")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicatedCluster]:
    directory = tmp_path_factory.mktemp("listening")
    made = ReplicatedCluster.start(directory, extra=with_users(directory))
    yield made
    made.kill()


@pytest_asyncio.fixture
async def store(cluster: ReplicatedCluster) -> AsyncIterator[Store]:
    made = await Store.connect(as_user(cluster.url, BOTH))
    yield made
    await made.close()


class Ears:
    """Everything that was heard, and a second connection to say things by."""

    def __init__(self, heard: Subscription, speaker: Store) -> None:
        self.heard: list[bytes] = []
        self.subscription = heard
        self.speaker = speaker
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for payload in self.subscription:
            self.heard.append(payload)

    async def hear(self, partition: int) -> bool:
        """Whether what is said in a partition is heard; says it once more each time."""
        said = f"{partition}-{len(self.heard)}".encode()
        await self.speaker.commands([("SPUBLISH", CHANNELS[partition], said)])
        await asyncio.sleep(0.05)
        return said in self.heard


@pytest_asyncio.fixture
async def ears(store: Store, cluster: ReplicatedCluster) -> AsyncIterator[Ears]:
    speaker = await Store.connect(as_user(cluster.url, BOTH))
    async with Subscription(store, CHANNELS, watchdog_s=0.5) as subscription:
        made = Ears(subscription, speaker)
        await until(lambda: healthy(subscription), "the subscription hears itself")
        await until(lambda: made.hear(0), "what is said is heard")
        yield made
        made.task.cancel()
    await speaker.close()


async def hears_everything(ears: Ears) -> None:
    for partition in range(PARTITIONS):
        await until(
            lambda p=partition: ears.hear(p),  # type: ignore[misc]
            f"what is said in partition {partition} is heard",
            every_s=0.1,
        )


async def test_a_slot_moves_and_its_channel_is_heard_again(
    cluster: ReplicatedCluster, ears: Ears
) -> None:
    for partition in (3, 30, 60):
        slot = cluster.slot_of(CHANNELS[partition])
        leaving = cluster.primary_of(CHANNELS[partition])
        to = next(s for s in cluster.primaries if s is not leaving)
        await asyncio.to_thread(cluster.move, slot, to)
    await hears_everything(ears)


async def test_a_server_dies_and_its_channels_are_heard_from_its_successor(
    cluster: ReplicatedCluster, ears: Ears
) -> None:
    gone = cluster.primary_of(CHANNELS[5])
    await asyncio.to_thread(cluster.kill_primary_of, CHANNELS[5])
    await hears_everything(ears)
    await asyncio.to_thread(cluster.restart, gone)
    await asyncio.to_thread(cluster.wait_whole)


async def test_a_server_hands_over_and_its_channels_are_heard_from_its_successor(
    cluster: ReplicatedCluster, ears: Ears
) -> None:
    replica = cluster.replica_of(cluster.primary_of(CHANNELS[5]))
    await asyncio.to_thread(cluster.promote, replica)
    await hears_everything(ears)


@pytest.mark.parametrize("error", [AttributeError("torn"), LookupError("a bug")])
async def test_whatever_ends_listening_it_begins_again(
    store: Store, ears: Ears, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    publish, failed = store.client.execute_command, asyncio.Event()

    async def fails_once(*command: Any, **options: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise error
        return await publish(*command, **options)

    monkeypatch.setattr(store.client, "execute_command", fails_once)
    async with asyncio.timeout(60):
        await failed.wait()
    await hears_everything(ears)


async def test_a_listener_that_fails_while_it_is_ended_is_asked_why(store: Store) -> None:
    """A slot that moves is told on two connections, and the client may swallow a cancellation."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    rounds: Counter[str] = Counter()

    class Deaf(Subscription):
        async def _listen_to(self, name: str, channels: Sequence[str]) -> None:
            rounds[name] += 1
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0 if name == min(rounds) else 60)
            raise ConnectionError(name)

    async def twice() -> bool:
        return len(rounds) > 1 and min(rounds.values()) > 1

    async with Deaf(store, CHANNELS):
        await until(twice, "all failed, and all tried again")
    gc.collect()
    assert complaints == []


async def healthy(subscription: Subscription) -> bool:
    return subscription.healthy
