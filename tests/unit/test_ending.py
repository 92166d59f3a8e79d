"""Tasks are ended, and nobody waits for ever for one that swallows its cancellation."""

from __future__ import annotations

import asyncio
import contextlib

from registry.ending import end

LONG_S = 60.0


async def closes(closed: list[str]) -> None:
    try:
        await asyncio.sleep(LONG_S)
    finally:
        await asyncio.sleep(0.01)
        closed.append("closed")


async def test_all_are_over_and_have_closed_what_they_had_when_it_returns() -> None:
    closed: list[str] = []
    tasks = [asyncio.create_task(closes(closed)) for _ in range(3)]
    await asyncio.sleep(0)
    await end(tasks, LONG_S)
    assert closed == ["closed"] * 3
    assert all(task.cancelled() for task in tasks)


async def test_who_swallows_its_cancellation_is_not_waited_for_nor_cancelled_again() -> None:
    enough = asyncio.Event()
    cancellations = 0

    async def deaf() -> None:
        nonlocal cancellations
        while not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                cancellations += 1

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await asyncio.wait_for(end([task], 0.01), LONG_S / 6)
    assert not task.done()
    assert cancellations == 1
    enough.set()
    await task


async def test_what_they_raise_stays_with_them() -> None:
    async def fails() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(LONG_S)
        raise ConnectionError

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await end([task], LONG_S)
    assert isinstance(task.exception(), ConnectionError)


async def test_there_may_be_none_and_they_may_be_over() -> None:
    await end([])
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    await end([task])
    assert not task.cancelled()
