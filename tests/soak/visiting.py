"""Machines that come for a moment and go again, so that sockets begin and end on every gateway."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from websockets.exceptions import WebSocketException

from tests.soak.fleet import LABEL, VISITOR
from tests.support.node import Node

_STAYS_S, _AWAY_S = 2.0, 8.0


class Visitors:
    """Some machines, each with an identity that it keeps, and away for less than a time-out."""

    def __init__(self, count: int, ports: Sequence[int], speed: float) -> None:
        self._count = count
        self._urls = [f"ws://127.0.0.1:{port}/ws/node" for port in ports]
        self._speed = speed
        self.counts: Counter[str] = Counter()
        self.tokens: list[str] = []

    async def run(self) -> None:
        """Until cancelled."""
        # Not a TaskGroup: it would pass a cancellation on once, and a client may swallow it.
        await asyncio.gather(*(self._come_and_go(number) for number in range(self._count)))

    async def _come_and_go(self, number: int) -> None:
        known: dict[str, object] = {}
        await asyncio.sleep(number / self._count * (_STAYS_S + _AWAY_S) / self._speed)
        for visit in range(number, 1_000_000_000):
            try:
                async with Node(self._urls[visit % len(self._urls)]) as node:
                    ack = await node.register(**known, labels={LABEL: VISITOR})
                    if ack["type"] == "node_register_ack":
                        if not known and node.token:
                            self.tokens.append(node.token)
                        known = {"node_id": node.node_id, "node_token": node.token}
                        await node.beat()
                    self.counts[ack.get("code", "visits")] += 1
                    await asyncio.sleep(_STAYS_S / self._speed)
            except (OSError, TimeoutError, WebSocketException) as error:
                self.counts[type(error).__name__] += 1
            await asyncio.sleep(_AWAY_S / self._speed)
