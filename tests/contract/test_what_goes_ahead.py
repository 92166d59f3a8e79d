"""Thousands of machines come at once; those that are there must not be taken for silent for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from registry.errors import StoreError
from registry.model import Registered
from registry.registry import Registry
from registry.settings import RegistrySettings
from registry.store import Store
from tests.support.fleet import Fleet, registration

_COMING = 2000


@asynccontextmanager
async def crowd(registry: Registry) -> AsyncIterator[Callable[[], int]]:
    """So many questions under way as only a fleet that comes back asks; how many are answered."""
    tasks = [asyncio.create_task(registry.existing(f"comes-{i}")) for i in range(_COMING)]
    await asyncio.sleep(0)  # all of them have asked now
    try:
        yield lambda: sum(task.done() for task in tasks)
    finally:
        await asyncio.gather(*tasks)


async def beats(registry: Registry, fleet: Fleet) -> None:
    await fleet.beat()


async def some_beat(registry: Registry, fleet: Fleet) -> None:
    answers = await registry.beat([fleet.beat_of(), fleet.beat_of("node-B")])
    assert all(answers)


async def says_that_it_lives(registry: Registry, fleet: Fleet) -> None:
    await registry.announce("gw1", {"id": "gw1"})


@pytest.mark.parametrize("urgent", [beats, some_beat, says_that_it_lives])
async def test_it_stands_behind_few_of_the_questions_of_a_crowd(
    registry: Registry, urgent: Callable[[Registry, Fleet], Awaitable[None]]
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await fleet.make_ready("node-B")
    async with crowd(registry) as answered:
        await urgent(registry, fleet)
        assert answered() < _COMING / 2


class Calls:
    """How often each script was called."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()

    def called(self, script: str, seconds: float) -> None:
        self.count[script] += 1

    def failed(self, error: StoreError) -> None:
        raise AssertionError(error)


@pytest.mark.parametrize("backend", ["valkey"], indirect=True)
async def test_a_registration_that_waited_its_turn_is_not_too_late_for_that(store: Store) -> None:
    """It says when it was packed, and a script that runs long after that changes nothing."""
    registry = Registry(store, replace(RegistrySettings(), redis_prefix="test", max_lag_s=2.0))
    await registry.synchronise()
    store.observer = calls = Calls()
    async with AsyncExitStack() as others:
        while not store._under_way.locked():
            await others.enter_async_context(store._its_turn())
        coming = asyncio.create_task(registry.register(registration(), None))
        await asyncio.sleep(2.2)
        assert not coming.done()
    assert isinstance(await coming, Registered)
    assert calls.count["register"] == 1


async def test_a_crowd_that_comes_before_the_time_is_known_registers(store: Store) -> None:
    registry = Registry(store, replace(RegistrySettings(), redis_prefix="test"))
    assert not registry.clock.known
    names = [f"comes-{i}" for i in range(100)]
    registered = asyncio.gather(*(registry.register(registration(n), None) for n in names))
    assert len(await asyncio.wait_for(registered, 60)) == len(names)


async def test_the_crowd_itself_waits_its_turn(registry: Registry) -> None:
    """Else nothing would go ahead of it."""
    async with crowd(registry) as answered:
        await registry.existing("node-A")
        assert answered() > _COMING / 2
