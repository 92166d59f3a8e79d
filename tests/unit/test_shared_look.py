"""Many who want a look share one, but none that had begun before they asked."""

from __future__ import annotations

import asyncio

import pytest

from registry.shared_look import SharedLook


class Looks:
    """Looks that end when they are let; the last one that began is `begun`."""

    def __init__(self) -> None:
        self.begun = 0
        self.let = asyncio.Event()
        self.fails = False
        self.shared = SharedLook(self.look)

    async def look(self) -> None:
        self.begun += 1
        await self.let.wait()
        if self.fails:
            raise KeyError("a bug of ours")

    async def asks(self) -> bool:
        """Whether a look had begun since, once the answer is there."""
        before = self.begun
        await self.shared.had()
        return self.begun > before

    async def asking(self, count: int) -> list[asyncio.Task[bool]]:
        """So many who wait for a look."""
        tasks = [asyncio.create_task(self.asks()) for _ in range(count)]
        await asyncio.sleep(0)
        return tasks


async def test_many_at_once_cost_two_looks_and_none_is_given_one_that_had_begun_before() -> None:
    looks = Looks()
    readers = await looks.asking(20)
    assert looks.begun == 1
    looks.let.set()
    assert all(await asyncio.gather(*readers))
    assert looks.begun == 2


async def test_who_asks_during_a_look_waits_for_the_next() -> None:
    looks = Looks()
    (first,) = await looks.asking(1)
    (second,) = await looks.asking(1)
    looks.let.set()
    await first
    assert await second
    assert looks.begun == 2


async def test_each_who_asks_when_none_is_under_way_has_a_look() -> None:
    looks = Looks()
    looks.let.set()
    assert [await looks.asks() for _ in range(3)] == [True] * 3
    assert looks.begun == 3


async def test_a_look_that_was_given_up_counts_for_nobody() -> None:
    looks = Looks()
    (first,) = await looks.asking(1)
    second, third = await looks.asking(2)
    first.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert looks.begun == 2, "the second looks"
    second.cancel()
    looks.let.set()
    assert await third
    assert looks.begun == 3, "though the second's began after the third had asked"


async def test_a_look_that_failed_is_had_again_by_those_who_wait() -> None:
    looks = Looks()
    looks.fails = True
    first, second = await looks.asking(2)
    looks.let.set()
    for reader in (first, second):
        with pytest.raises(KeyError):
            await reader
    assert looks.begun == 2
