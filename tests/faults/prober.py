"""Asks every gateway for everybody who may be given work, all the time, for the book."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import httpx

from tests.faults.book import Answer, Book, now_ms

MOST = 100  # what one answer may hold: a fleet must be smaller

Ask = Callable[[], Awaitable[frozenset[str]]]


class CouldNotAsk(Exception):  # noqa: N818 (named for what it says)
    """There was no answer, or one that says nothing about machines."""


class Prober:
    """One loop for each of `asks`, the doors in their order."""

    def __init__(self, book: Book, asks: Sequence[Ask], every_s: float = 0.12) -> None:
        self._book = book
        self._asks = asks
        self._every_s = every_s

    async def run(self) -> None:
        await asyncio.gather(*(self._ask(door, ask) for door, ask in enumerate(self._asks)))

    async def _ask(self, door: int, ask: Ask) -> None:
        while True:
            asked = now_ms()
            try:
                ids: frozenset[str] | None = await ask()
            except CouldNotAsk:
                ids = None
            self._book.answers.append(Answer(asked, now_ms(), door, ids))
            await asyncio.sleep(self._every_s * random.uniform(0.7, 1.3))


def over_http(client: httpx.AsyncClient, url: Callable[[], str]) -> Ask:
    """Asks `POST /v1/select` of the gateway that is at `url` now."""

    async def ask() -> frozenset[str]:
        try:
            answer = await client.post(f"{url()}/v1/select", json={"limit": MOST})
        except httpx.HTTPError as error:
            raise CouldNotAsk(type(error).__name__) from error
        if answer.status_code == 404 and answer.json()["code"] == "NO_AVAILABLE_NODE":
            return frozenset()
        if answer.status_code != 200:
            raise CouldNotAsk(str(answer.status_code))
        return frozenset(node["node_id"] for node in answer.json()["nodes"])

    return ask
