"""`python -m bench.scale.series`: how costs grow with everything but the number of nodes.

One embedded store, one process. For each number of partitions, gateways, sweepers and capabilities
of a node: processor time a look, a beat, a registration, a selection. Looks are some 0.1 s apart
whatever the fleet; the others are paid for each node or question.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import Processor
from bench.scale.machine import LAST, header, keep
from bench.scale.nodes import connected, registered
from bench.store import Node, beat_all
from registry.embedded import EmbeddedStore
from registry.keys import partition_of
from registry.model import Decision, Facts, Reason, Status
from registry.registry import Registry
from registry.requirement import Requirement
from sweeper.leases import share

_STEPS = (1, 4, 16, 64)
_NODES = 640
_RUNS = 5

Spent = dict[str, float]


class Meter:
    """Processor time of the store and of this process."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store, self._own = Processor(store.pid), Processor(os.getpid())

    async def of(self, times: int, act: Callable[[], Awaitable[object]]) -> Spent:
        """µs for one of `times` that `act` does, the median of some runs."""
        stores, owns = [], []
        for _ in range(_RUNS):
            store, own = self._store.used_us(), self._own.used_us()
            await act()
            stores.append((self._store.used_us() - store) / times)
            owns.append((self._own.used_us() - own) / times)
        return {"store_us": round(median(stores), 1), "own_us": round(median(owns), 1)}


async def partitions(registry: Registry, meter: Meter) -> list[dict[str, Any]]:
    """One look of a sweeper that holds so many of them."""

    async def looks(held: list[int]) -> None:
        for _ in range(200):
            await registry.patrol(held, "sweeper", observe=True, limit=500)

    return [
        {"partitions": n, "a look": await meter.of(200, lambda n=n: looks(list(range(n))))}  # type: ignore[misc]
        for n in _STEPS
    ]


async def gateways(registry: Registry, meter: Meter) -> list[dict[str, Any]]:
    """What a sweeper asks every second while so many are there; what each says of itself."""
    rows = []
    for n in _STEPS:

        async def said(n: int = n) -> None:
            for place in range(64):
                await registry.announce(f"gw-{place % n}", {})

        async def asked() -> None:
            for _ in range(200):
                await registry.gateways()

        rows.append(
            {
                "gateways": n,
                "each says it lives": await meter.of(64, said),
                "all are asked for": await meter.of(200, asked),
            }
        )
    return rows


async def sweepers(registry: Registry, meter: Meter) -> list[dict[str, Any]]:
    """What each of so many does every second to know its share."""
    rows = []
    for n in _STEPS:

        async def said(n: int = n) -> None:
            for place in range(64):
                known = await registry.announce_sweeper(f"sweeper-{place % n}", 60.0)
                share(known, f"sweeper-{place % n}")

        rows.append({"sweepers": n, "each finds its share": await meter.of(64, said)})
    return rows


async def capabilities(registry: Registry, meter: Meter) -> list[dict[str, Any]]:
    """Nodes with so many more than the example's."""
    numbers = iter(range(10**9))
    return [await _able(registry, meter, more, numbers) for more in (5, 20, 80, 320)]


async def _able(
    registry: Registry, meter: Meter, more: int, numbers: Iterator[int]
) -> dict[str, Any]:
    nodes: list[Node] = []

    async def register() -> None:
        nodes[:] = await registered(registry, [next(numbers) for _ in range(_NODES)], more)

    async def turn() -> None:
        await become(Status.READY, Reason.HEALTHY)
        await become(Status.DEGRADED, Reason.MODEL_MISSING)

    async def become(to: Status, reason: Reason) -> None:
        facts = await _facts(registry, nodes)
        await registry.commit_all([(f, Decision(to=to, reason=reason)) for f in facts])

    async def select() -> None:
        for i in range(100):
            await registry.select(Requirement((f"model:m{i}-0",)))

    row: dict[str, Any] = {"capabilities": more}
    row["a registration"] = await meter.of(_NODES, register)
    row["a beat"] = await meter.of(_NODES, lambda: beat_all(registry, nodes, _NODES))
    row["to ready and back"] = await meter.of(_NODES, turn)
    await become(Status.READY, Reason.RECOVERED)
    row["a selection"] = await meter.of(100, select)
    return row


async def _facts(registry: Registry, nodes: list[Node]) -> list[Facts]:
    by: dict[int, list[str]] = {}
    for node in nodes:
        by.setdefault(partition_of(node.name), []).append(node.name)
    found = await registry.facts_of(list(by.items()))
    return [facts for row in found for facts in row if facts is not None]


async def measured(store: EmbeddedStore) -> dict[str, Any]:
    registry, meter = await connected(store.url), Meter(store)
    await registry.synchronise()
    try:
        found = {}
        for series in (partitions, gateways, sweepers, capabilities):
            found[series.__name__] = await series(registry, meter)
            print(series.__name__, found[series.__name__], file=sys.stderr, flush=True)
        return found
    finally:
        await registry.store.close()


def main() -> int:
    """0: measured."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="muster-series-") as name:
        store = EmbeddedStore.start(Path(name))
        try:
            found = asyncio.run(measured(store))
        finally:
            store.kill()
    keep("series", header(begun) | found, LAST)
    return 0


if __name__ == "__main__":
    sys.exit(main())
