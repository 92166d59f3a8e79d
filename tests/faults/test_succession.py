"""Failovers that nobody planned are in the book, for as long as they may cost something."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.faults import succession
from tests.faults.book import Book, now_ms
from tests.faults.ending import end
from tests.faults.succession import Succession
from tests.support.fleet import until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "HEARD_OF_S", 0.05)
    monkeypatch.setattr(succession, "_EVERY_S", 0.01)


async def watched(epochs: Iterator[int], losses: int) -> Book:
    """The book after so many losses, or once there are no more epochs."""
    book, over = Book(), asyncio.Event()

    def epoch() -> int:
        found = next(epochs, None)
        if found is None:
            over.set()
            return 0
        return found

    watching = asyncio.create_task(Succession(epoch, book).run())

    async def enough() -> bool:
        return over.is_set() and len(book.losses) >= losses

    await until(enough, "the losses are in the book")
    await end([watching])
    return book


async def test_each_newer_configuration_is_one_loss() -> None:
    began = now_ms()
    book = await watched(iter([3, 3, 4, 4, 4, 5, 5]), 2)
    first, second = book.losses
    assert first.begin < began < first.end <= second.end  # type: ignore[operator]
    assert book.lost_since(began - succession.REPLICATION_LAG_MS)
    assert not book.lost_since(began - 3000)
    assert not book.lost_since(now_ms() + 1)


async def test_sentinels_that_do_not_answer_are_no_failover() -> None:
    book = await watched(iter([3, 0, 0, 3, 3]), 0)
    assert book.losses == []
