"""Several nodes at once, each beating by itself and keeping everything it was told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.support.node import Node


class Animal:
    """One node of a herd: registers, beats, and reconnects with its token when it is closed."""

    def __init__(self, urls: Sequence[str], place: int, every_s: float) -> None:
        self.urls = list(urls)
        self.told: list[dict[str, Any]] = []
        self.acks: list[dict[str, Any]] = []
        self.node_id = ""
        self.report: dict[str, Any] = {}
        self._place = place
        self._every_s = every_s
        self._token: str | None = None

    @property
    def status(self) -> str:
        """The status it was told last."""
        said = [f["status"] for f in self.told if f["type"] in ("node_status", "node_register_ack")]
        return str(said[-1]) if said else ""

    def statuses(self) -> list[str]:
        """Every status it was told, acks of registrations included."""
        return [f["status"] for f in self.told if f["type"] in ("node_status", "node_register_ack")]

    async def live(self) -> None:
        """Lives for ever, one socket after the other, at one gateway after the other."""
        attempt = 0
        while True:
            url = self.urls[(self._place + attempt) % len(self.urls)]
            attempt += 1
            with contextlib.suppress(OSError, TimeoutError, ConnectionClosed, InvalidHandshake):
                async with Node(url) as node:
                    await self._socket(node)
            await asyncio.sleep(0.05)

    async def _socket(self, node: Node) -> None:
        node.told = self.told
        answer = await node.register(
            node_id=self.node_id or None, node_token=self._token, heartbeat_ack=True
        )
        if answer["type"] != "node_register_ack":
            return
        self.acks.append(answer)
        self.node_id, self._token = answer["node_id"], node.token
        beating = asyncio.create_task(self._beat(node))
        try:
            while (await node.hear(timeout_s=3600))["type"] != "reconnect":
                pass
        finally:
            beating.cancel()

    async def _beat(self, node: Node) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await node.beat(**self.report)
                await asyncio.sleep(self._every_s)


class Herd:
    """Nodes that live while the herd is entered."""

    def __init__(self, urls: Sequence[str], count: int, every_s: float = 0.25) -> None:
        self.animals = [Animal(urls, place, every_s) for place in range(count)]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Herd:
        self._tasks = [asyncio.create_task(a.live()) for a in self.animals]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        living = set(self._tasks)
        while living:  # a cancellation may get lost in a library: say it again
            for task in living:
                task.cancel()
            _, living = await asyncio.wait(living, timeout=1)

    async def all_are(self, status: str) -> bool:
        """Whether everybody was told this status last."""
        return all(a.status == status for a in self.animals)

    def ever(self, status: str) -> list[str]:
        """Who was ever told this status."""
        return [a.node_id for a in self.animals if status in a.statuses()]
