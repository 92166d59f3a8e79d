"""The same request that nobody fits is looked into once, and its answer stands for a second."""

from __future__ import annotations

import asyncio

import pytest

from gateway.api.shortfalls import Shortfalls
from registry.surveying import Shortfall


class Clock:
    """Goes on when told to, seconds."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


class Looks:
    """A look that ends when it is let go; counts."""

    def __init__(self, error: Exception | None = None) -> None:
        self.count = 0
        self.go = asyncio.Event()
        self.error = error

    async def __call__(self) -> Shortfall:
        self.count += 1
        mine = self.count
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return Shortfall({}, [], mine, 0, sampled=False)


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_who_asks_meanwhile_shares_the_look() -> None:
    shortfalls, look = Shortfalls(), Looks()
    asks = [asyncio.create_task(shortfalls.of("a", look)) for _ in range(5)]
    await settle()
    look.go.set()
    assert {found.examined for found in await asyncio.gather(*asks)} == {1}
    assert look.count == 1


async def test_an_answer_stands_for_a_second_and_no_longer() -> None:
    clock = Clock()
    shortfalls, look = Shortfalls(clock), Looks()
    look.go.set()
    assert (await shortfalls.of("a", look)).examined == 1
    await settle()
    clock.now += 0.99
    assert (await shortfalls.of("a", look)).examined == 1
    clock.now += 0.01
    assert (await shortfalls.of("a", look)).examined == 2


async def test_a_look_that_takes_long_is_not_begun_again() -> None:
    clock = Clock()
    shortfalls, look = Shortfalls(clock), Looks()
    first = asyncio.create_task(shortfalls.of("a", look))
    await settle()
    clock.now += 60
    second = asyncio.create_task(shortfalls.of("a", look))
    await settle()
    look.go.set()
    assert (await first) is (await second)


async def test_other_requests_are_looked_into_on_their_own() -> None:
    shortfalls, look = Shortfalls(), Looks()
    look.go.set()
    await shortfalls.of("a", look)
    await shortfalls.of("b", look)
    assert look.count == 2


async def test_who_goes_away_does_not_end_the_look_of_others() -> None:
    shortfalls, look = Shortfalls(), Looks()
    first, second = (asyncio.create_task(shortfalls.of("a", look)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    look.go.set()
    assert (await second).examined == 1


async def test_a_failure_is_told_to_all_and_not_kept() -> None:
    shortfalls, look = Shortfalls(), Looks(ConnectionError("gone"))
    asks = [asyncio.create_task(shortfalls.of("a", look)) for _ in range(3)]
    await settle()
    look.go.set()
    told = await asyncio.gather(*asks, return_exceptions=True)
    assert [type(error) for error in told] == [ConnectionError] * 3
    assert len(shortfalls) == 0
    with pytest.raises(ConnectionError):
        await shortfalls.of("a", look)
    assert look.count == 2


async def test_a_failure_nobody_waited_for_is_no_warning() -> None:
    shortfalls, look = Shortfalls(), Looks(ConnectionError("gone"))
    ask = asyncio.create_task(shortfalls.of("a", look))
    await settle()
    ask.cancel()
    look.go.set()
    await settle()  # Warnings are errors here: an exception never retrieved would fail the test.
    assert len(shortfalls) == 0


async def test_of_too_many_the_longest_unused_is_forgotten() -> None:
    shortfalls, look = Shortfalls(Clock(), most=3), Looks()
    look.go.set()
    for key in ("a", "b", "c", "a", "d"):
        await shortfalls.of(key, look)
        assert len(shortfalls) <= 3
    before = look.count
    await shortfalls.of("a", look)
    assert look.count == before
    await shortfalls.of("b", look)
    assert look.count == before + 1
