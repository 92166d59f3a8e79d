"""A whole fleet boots: nodes register and beat three times as fast as two processes can write, and
two real sweepers make them ready. Do the sweepers keep up, and what does a node cost?

Everything goes through the registry library; no gateway runs. Time-outs are set aside, as filling
the store takes longer than a node may be silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.booted import Moment, slices, summary
from bench.figures import Processor, Row, step
from bench.nodes import node_name
from bench.scale.machine import sweepers_said, wait_ready
from bench.scale.nodes import PATIENCE_S, connected
from muster.cli.children import Child, end_all
from registry.embedded import EmbeddedStore
from registry.errors import StoreError
from registry.keys import PARTITIONS
from registry.ports import free_ports
from registry.registry import Registry

_LOADERS = 2
_SWEEPERS = 2
_LOOK_S = 0.5
_STUCK_S = 60.0
_READ_AT_ONCE = 1000
_PARTS = 5
_FLOOR_NODES = 5000
_FLOOR_FIELDS = ("sid", "ver", "st", "win", "beat", "caps")


@dataclass(frozen=True)
class Sweepers:
    """Sweepers that are ready, as processes."""

    children: Sequence[Child]
    ports: Sequence[int]
    processors: Sequence[Processor]

    def used_us(self) -> float:
        return sum(processor.used_us() for processor in self.processors)

    async def overdue_s(self) -> float:
        """By how much the most overdue alarm of the last round was late."""
        return (await asyncio.to_thread(sweepers_said, self.ports))["most_overdue_s"]


@asynccontextmanager
async def swept(directory: Path, url: str, registry: Registry) -> AsyncIterator[Sweepers]:
    """Sweepers on the bench's part of a store, and a gateway that says it is there: where nobody
    observes, nobody is silent."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")} | {
        "MUSTER_REDIS_URL": url, "MUSTER_REDIS_PREFIX": "bench",
        "MUSTER_HEARTBEAT_TIMEOUT_S": str(PATIENCE_S),
        "MUSTER_WARMUP_TIMEOUT_S": str(PATIENCE_S), "MUSTER_REPAIR_INTERVAL_S": "86400",
        "MUSTER_LOG_LEVEL": "warning",
    }  # fmt: skip
    ports = free_ports(_SWEEPERS)
    children: list[Child] = []
    present = asyncio.create_task(_present(registry))
    try:
        for place, port in enumerate(ports):
            own: Mapping[str, str] = environ | {"MUSTER_SWEEPER_PORT": str(port)}
            log = directory / f"sweeper-{place}.log"
            children.append(Child(f"sweeper-{place}", ["sweeper"], own, log))
        for child, port in zip(children, ports, strict=True):
            wait_ready(child, port)
        yield Sweepers(children, ports, [Processor(child.process.pid) for child in children])
    finally:
        present.cancel()
        await asyncio.gather(present, return_exceptions=True)
        end_all(children, 5)


async def _present(registry: Registry) -> None:
    while True:
        with contextlib.suppress(StoreError):  # said too late, on a busy machine: said again
            await registry.announce("gw-bench", {})
        await asyncio.sleep(1.0)


async def booted(
    url: str, registry: Registry, store_us: Callable[[], float], sweepers: Sweepers,
    low: int, high: int, more: int = 0,
) -> tuple[dict[str, Any], list[Moment]]:  # fmt: skip
    """Nodes `low` to `high`, with `more` capabilities each, register, beat three times and become
    ready: its figures, and the moments they were made of. It ends when all are ready, or when
    nothing moved for a minute since all was written."""
    begun, stores, sweeping = time.monotonic(), store_us(), sweepers.used_us()
    share = -(-(high - low) // _LOADERS)
    loaders = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.scale.nodes", url),
            *(str(first), str(min(first + share, high)), str(more)),
        )
        for first in range(low, high, share)
    ]

    async def moment() -> Moment:
        partitions = list(range(PARTITIONS))
        counts = await registry.counts(partitions)
        todo = [("SCARD", registry.keys.todo(p)) for p in partitions]
        waiting = sum(await registry.store.commands(todo))
        overdue_s = await sweepers.overdue_s()
        return Moment(
            time.monotonic() - begun, counts["ready"] + counts["offline"], waiting, overdue_s,
            store_us() - stores, sweepers.used_us() - sweeping,
        )  # fmt: skip

    async def load() -> float:
        for loader in loaders:
            assert await loader.wait() == 0, "a loader failed"
        return time.monotonic() - begun

    loading = asyncio.create_task(load())
    try:
        moments, moved = [await moment()], time.monotonic()
        while not (loading.done() and moments[-1].judged >= high):
            await asyncio.sleep(_LOOK_S)
            moments.append(await moment())
            print(f"\r  {moments[-1].judged} of {high} judged", end="", file=sys.stderr, flush=True)
            if moments[-1].judged > moments[-2].judged or not loading.done():
                moved = time.monotonic()
            elif time.monotonic() - moved > _STUCK_S:
                break
        print(file=sys.stderr)
        written_s = await loading
    finally:
        loading.cancel()
        for loader in loaders:
            if loader.returncode is None:
                loader.kill()
    return summary(high - low, written_s, moments, await _lags(registry, low, high)), moments


async def _lags(registry: Registry, low: int, high: int) -> list[int]:
    """How long after its last beat each node that is ready became so, ms."""
    found: list[int] = []
    for first in range(low, high, _READ_AT_ONCE):
        names = [node_name(n) for n in range(first, min(first + _READ_AT_ONCE, high))]
        rows = await registry.store.commands(
            [("HMGET", registry.keys.node(name), "st", "since", "rat") for name in names]
        )
        found += [int(since) - int(beat) for status, since, beat in rows if status == b"ready"]
    return found


async def _floors(registry: Registry, store: Processor) -> tuple[list[float], list[float]]:
    """For each node: the store's time for five bare SET PX, as a node is written five times
    (registration, three beats, ready), and this process's for one HMGET and one HSET of it."""
    own, keys = Processor(os.getpid()), registry.keys
    stores: list[float] = []
    owns: list[float] = []
    names = [node_name(n) for n in range(_FLOOR_NODES)]
    for _ in range(_PARTS):
        mine = own.used_us()
        for low in range(0, len(names), 500):
            page = names[low : low + 500]
            await registry.store.commands(
                [("HMGET", keys.node(name), *_FLOOR_FIELDS) for name in page]
            )
            await registry.store.commands(
                [("HSET", f"floor:h:{name}", "st", "ready", "rs", "healthy") for name in page]
            )
        owns.append((own.used_us() - mine) / len(names))
        used = store.used_us()
        for low in range(0, len(names), 500):
            page = names[low : low + 500]
            await registry.store.commands(
                [("SET", f"floor:{name}", "1", "PX", 45_000) for name in page for _ in range(5)]
            )
        stores.append((store.used_us() - used) / len(names))
    return stores, owns


async def boot(directory: Path, nodes: int) -> tuple[dict[str, Any], list[Row]]:
    """So many nodes boot on a store of this run: its figures, and what a node cost store and
    sweepers, beside the same run's floors."""
    server = EmbeddedStore.start(directory / "store-boot")
    try:
        registry = await connected(server.url)
        await registry.synchronise()
        processor = Processor(server.pid)
        with step(f"boot: {nodes} nodes register, beat three times and become ready"):
            async with swept(directory, server.url, registry) as sweepers:
                found, moments = await booted(
                    server.url, registry, processor.used_us, sweepers, 0, nodes
                )
        stores, owns = await _floors(registry, processor)
        await registry.store.close()
    finally:
        server.kill()
    cost = slices(moments, _PARTS)
    note = f"{nodes} nodes at {found['nodes_per_s']:.0f} a second, {found['ready']} became ready"
    return found, [
        Row(
            "sweeper CPU per node that boots", "µs", [sweeper for _, sweeper in cost], owns,
            "one HMGET and one HSET of it, in pages of 500, by the same client library", None, note,
        ),
        Row(
            "store CPU per node that boots", "µs", [store for store, _ in cost], stores,
            "five bare SET key 1 PX, pipelined: as often is its record written", None,
            f"{note}; registration, three beats, judgements and the sweepers' looks",
        ),
    ]  # fmt: skip
