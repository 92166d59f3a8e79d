"""A scheduler that asks for machines all the time, and takes the next gateway if one fails it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence

import httpx

from muster.simulate.books import Spread
from tests.soak.sample import Waits

_PER_S = 10.0
_PATIENCE_S = 30.0
_HOLD_MS = 5000
_ASKS: tuple[dict[str, object], ...] = (
    {"kind": "nmt", "src_lang": "zh", "tgt_lang": "en"},
    {"kind": "asr", "src_lang": "zh", "hold_ms": _HOLD_MS},
    {"kind": "tts", "tgt_lang": "en", "labels": {"simulated": "true"}},
)


class Scheduler:
    """Asks until cancelled. `counts`: `found`, `nobody`, `asked again` (at another gateway) and
    `unanswered` (by all of them, for half a minute)."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._urls = itertools.cycle([f"http://127.0.0.1:{port}" for port in ports])
        self._fresh = Spread()
        self.counts: Counter[str] = Counter()

    def waits(self) -> Waits:
        """How long a gateway took to answer, since this was asked last."""
        fresh, self._fresh = self._fresh, Spread()
        return Waits(fresh.count, fresh.quantile(0.5), fresh.quantile(0.99))

    async def run(self) -> None:
        """Until cancelled."""
        async with httpx.AsyncClient(trust_env=False, timeout=_PATIENCE_S) as client:
            due = time.monotonic()
            for ask in itertools.cycle(_ASKS):
                await self._one(client, ask)
                due = max(due + 1 / _PER_S, time.monotonic())
                await asyncio.sleep(due - time.monotonic())

    async def _one(self, client: httpx.AsyncClient, ask: dict[str, object]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            url = next(self._urls)
            begun = time.monotonic()
            try:
                answer = await client.post(f"{url}/v1/select", json=ask)
            except httpx.TransportError:
                self.counts["asked again"] += 1
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 200:
                self._fresh.add(time.monotonic() - begun)
                self.counts["found"] += 1
                await self._give_back(client, url, answer)
                return
            if answer.status_code == 404:
                self.counts["nobody"] += 1
                return
            self.counts["asked again"] += 1
            await asyncio.sleep(0.05)
        self.counts["unanswered"] += 1

    async def _give_back(self, client: httpx.AsyncClient, url: str, answer: httpx.Response) -> None:
        """Half of the holds are given back; the others end by themselves."""
        for node in answer.json()["nodes"]:
            if node.get("hold") and self.counts["found"] % 2:
                try:
                    await client.delete(f"{url}/v1/holds/{node['hold']['id']}")
                except httpx.TransportError:
                    self.counts["holds not given back"] += 1
