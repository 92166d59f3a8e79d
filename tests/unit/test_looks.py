"""One look for many askers, never older than their question."""

from __future__ import annotations

import asyncio

import pytest

from registry.looks import Looks


class Looking:
    """Looks that end when they are told to."""

    def __init__(self) -> None:
        self.looks: Looks[int] = Looks(at_once=2)
        self.begun = 0
        self.gate = asyncio.Event()

    async def look(self) -> int:
        self.begun += 1
        mine = self.begun
        await self.gate.wait()
        return mine

    def ask(self, question: str = "q") -> asyncio.Task[int]:
        return asyncio.create_task(self.looks.share(question, self.look))


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_asks_during_a_look_shares_the_next_one() -> None:
    scene = Looking()
    first = scene.ask()
    await settled()
    others = [scene.ask() for _ in range(5)]
    await settled()
    assert scene.begun == 1
    scene.gate.set()
    assert await first == 1
    assert await asyncio.gather(*others) == [2] * 5, "one look, and it began after they asked"
    assert len(scene.looks) == 0, "nothing is kept"


async def test_different_questions_do_not_wait_for_each_other_but_for_the_bound() -> None:
    scene = Looking()
    asked = [scene.ask(question) for question in ("a", "b", "c")]
    await settled()
    assert scene.begun == 2
    scene.gate.set()
    assert sorted(await asyncio.gather(*asked)) == [1, 2, 3]


async def test_an_asker_who_goes_away_takes_no_answer_from_the_others() -> None:
    scene = Looking()
    first = scene.ask()
    await settled()
    second, third = scene.ask(), scene.ask()
    await settled()
    first.cancel()
    await settled()
    assert scene.begun == 2
    second.cancel()
    await settled()
    scene.gate.set()
    assert await third == 3


async def test_a_look_that_fails_fails_for_who_made_it_and_is_made_again_for_the_next() -> None:
    looks: Looks[int] = Looks(at_once=1)
    tries = 0

    async def look() -> int:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        if tries == 1:
            raise ValueError("no")
        return tries

    first = asyncio.create_task(looks.share("q", look))
    await asyncio.sleep(0)
    second = asyncio.create_task(looks.share("q", look))
    with pytest.raises(ValueError, match="no"):
        await first
    assert await second == 2
