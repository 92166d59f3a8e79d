"""The checker on toys: nothing to say of the honest one, and the right thing of each wrong one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults import toys
from tests.faults.book import Book
from tests.faults.checker import Breach, Checker
from tests.faults.ending import end
from tests.faults.eye import Follower
from tests.faults.machine import Machine
from tests.faults.pace import Pace
from tests.faults.prober import Prober

PACE = Pace("1:25", 25.0)  # a time-out of 1.8 s

WRONG = {
    toys.NeverExpires: "falsely selected",
    toys.SelectsAnybody: "falsely selected",
    toys.Forgets: "lost registration",
    toys.Renames: "lost registration",
    toys.Hasty: "falsely offline",
    toys.BlamesThePlatform: "falsely offline",
    toys.Mute: "undelivered",
    toys.Stutters: "versions",
    toys.Guesses: "unexplained",
}


async def breaches_of(kind: type[toys.Toy]) -> list[Breach]:
    """A short life with a toy: machines become ready, one dies, one is cut off, one falls ill, one
    comes back."""
    toy = kind(PACE)
    await toy.start()
    book = Book()
    follower = Follower(toy, book)
    dice = random.Random(1)
    machines = [Machine(book.page(f"m{n}", plain=n % 2 == 1), [toy], PACE, dice) for n in range(6)]
    probing = asyncio.create_task(Prober(book, [toy.ask], 0.05).run())
    try:
        for machine in machines:
            machine.start()
        await asyncio.sleep(PACE.s(50))
        await machines[0].die()
        await machines[1].die(silently=True)
        machines[2].fall_ill()
        machines[3].reconnect()
        await asyncio.sleep(PACE.s(100))
        await follower.look()
        ids = [p.node_id for p in book.pages.values()]
        return Checker(book, PACE, await toy.records(ids)).breaches()
    finally:
        await end([probing])
        for machine in machines:
            await machine.stop()
        await toy.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def found() -> AsyncIterator[dict[type[toys.Toy], list[Breach]]]:
    """What the checker says of each toy; they live side by side."""
    kinds = [toys.Toy, *WRONG]
    lists = await asyncio.gather(*(breaches_of(kind) for kind in kinds))
    yield dict(zip(kinds, lists, strict=True))


def test_an_honest_toy_breaks_no_law(found: dict[type[toys.Toy], list[Breach]]) -> None:
    assert not found[toys.Toy]


@pytest.mark.parametrize("kind", WRONG, ids=lambda k: k.__name__)
def test_a_wrong_toy_breaks_its_law(
    found: dict[type[toys.Toy], list[Breach]], kind: type[toys.Toy]
) -> None:
    assert WRONG[kind] in {b.law for b in found[kind]}
