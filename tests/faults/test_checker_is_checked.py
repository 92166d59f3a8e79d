"""The checker on toys: nothing to say of the honest one, and the right thing of each wrong one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from registry.errors import StoreUnavailable
from registry.registry import Registry
from registry.settings import RegistrySettings
from tests.faults import toys
from tests.faults.book import Book
from tests.faults.checker import Breach, Checker
from tests.faults.ending import end
from tests.faults.eye import Follower, StoreEye, Unseen
from tests.faults.machine import Machine
from tests.faults.pace import Pace
from tests.faults.prober import Prober
from tests.support.fleet import Fleet
from tests.support.stores import Backend

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
    toys.Revives: "undone",
}


async def breaches_of(kind: type[toys.Toy]) -> list[Breach]:
    """A short life with a toy: machines become ready, one dies, one is cut off, one falls ill, one
    comes back, one leaves."""
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
        await _at_work(book)
        await machines[0].die()
        await machines[1].die(silently=True)
        machines[2].fall_ill()
        machines[3].reconnect()
        machines[4].leave()
        await asyncio.sleep(PACE.s(100))
        await follower.look()
        ids = [p.node_id for p in book.pages.values()]
        return Checker(book, PACE, await toy.records(ids)).breaches()
    finally:
        await end([probing])
        for machine in machines:
            await machine.stop()
        await toy.stop()


async def _at_work(book: Book) -> None:
    """Until every machine has beaten often enough to be ready, however busy this machine is."""
    async with asyncio.timeout(100):
        while any(sum(s.sign for s in page.sent) < 6 for page in book.pages.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


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


async def test_what_was_read_when_the_store_went_away_is_read_again(
    valkey: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The eye looks at one stream after the other; the store may go away in between."""
    store = await valkey.connect()
    registry = Registry(store, RegistrySettings())
    fleet, book = Fleet(registry), Book()
    for name in ("node-A", "node-B"):
        await fleet.register(name)
        book.page(name, plain=True).node_id = name
    follower = Follower(StoreEye(registry), book)
    commands, streams = store.commands, 0

    async def away_after_one_stream(asked: Sequence[tuple[Any, ...]]) -> list[Any]:
        nonlocal streams
        if asked[0][0] == "XRANGE":
            streams += 1
            if streams > 1:
                raise StoreUnavailable("it went away")
        return await commands(asked)

    with monkeypatch.context() as broken:
        broken.setattr(store, "commands", away_after_one_stream)
        with pytest.raises(Unseen):
            await follower.look()
    await follower.look()
    assert sorted(e.node_id for e in book.events) == ["node-A", "node-B"]
    await store.close()
