"""`python -m bench.scale.beats`: does a heartbeat cost the store more in a larger fleet?

One embedded store, and nobody but this process asks it anything. The fleet grows from size to size;
at each the same number of heartbeats is sent at the same pace, once by the same thousand nodes over
and over, once by nodes drawn from all of them: what only the second pays is not the script's but
memory's, as what a node needs is no longer in the processor's cache. Beside them a bare SET PX of
the same nodes, and the store at rest.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import Processor
from bench.scale.machine import LAST, header, keep
from bench.scale.nodes import connected, registered
from bench.store import Node, beat_all, make_ready
from registry.embedded import EmbeddedStore
from registry.registry import Registry

_FEW = 1000
_BEATS = 10_000
_BATCH = 500
_PER_S = 5000.0
_RUNS = 5
_REST_S = 5.0
_SCRIPT = re.compile(r"cmdstat_evalsha:calls=\d+,usec=(\d+)")


class Meter:
    """Processor time of the store, all of it and that in scripts, and how often it forked."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store, self._processor = store, Processor(store.pid)

    def used_us(self) -> float:
        return self._processor.used_us()

    def scripts_us(self) -> float:
        found = _SCRIPT.search(str(self._store.command("INFO", "commandstats")))
        return float(found[1]) if found else 0.0

    def forks(self) -> int:
        return int(self._info("stats", "total_forks"))

    async def settled(self) -> None:
        """Waits until the store has written its log of changes anew, if it does so."""
        while self._info("persistence", "aof_rewrite_in_progress") != "0":  # noqa: ASYNC110
            await asyncio.sleep(0.2)

    def _info(self, section: str, name: str) -> str:
        found = re.search(rf"^{name}:(\S+)", str(self._store.command("INFO", section)), re.M)
        return found[1] if found else "0"


async def _grown(registry: Registry, nodes: list[Node], size: int) -> None:
    """More nodes, each ready."""
    for low in range(len(nodes), size, _BATCH * 4):
        new = await registered(registry, range(low, min(low + _BATCH * 4, size)))
        for _ in range(3):
            await beat_all(registry, new, _BATCH)
        versions = await make_ready(registry, [node.name for node in new])
        for node in new:
            node.version = versions[node.name]
        nodes += new
        print(f"\r  {len(nodes)} of {size} ready", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


async def _paced(nodes: Sequence[Node], act: Callable[[Sequence[Node]], Awaitable[None]]) -> None:
    """One act for each batch, so that so many nodes a second have their turn."""
    begun = time.monotonic()
    for low in range(0, len(nodes), _BATCH):
        await act(nodes[low : low + _BATCH])
        ahead = begun + (low + _BATCH) / _PER_S - time.monotonic()
        await asyncio.sleep(max(0.0, ahead))


async def _cost(
    meter: Meter, nodes: Sequence[Node], act: Callable[[Sequence[Node]], Awaitable[None]]
) -> dict[str, Any]:
    """What one node's turn costs the store, µs: all of it, and of it in scripts; medians."""
    samples, scripts = [], []
    for _ in range(_RUNS):
        await meter.settled()
        used, within = meter.used_us(), meter.scripts_us()
        await _paced(nodes, act)
        samples.append(round((meter.used_us() - used) / len(nodes), 2))
        scripts.append((meter.scripts_us() - within) / len(nodes))
    return {"us": median(samples), "in_scripts_us": round(median(scripts), 2), "samples": samples}


async def _looked_at(registry: Registry, meter: Meter, nodes: list[Node]) -> dict[str, Any]:
    drawn = random.Random(1).sample(nodes, min(len(nodes), _BEATS))
    few = random.Random(2).sample(nodes, min(len(nodes), _FEW))
    forks = meter.forks()

    async def beat(some: Sequence[Node]) -> None:
        await beat_all(registry, some, _BATCH)

    async def put(some: Sequence[Node]) -> None:
        await registry.store.commands(
            [("SET", f"floor:{node.name}", "1", "PX", 36_000_000) for node in some]
        )

    await meter.settled()
    used, begun = meter.used_us(), time.monotonic()
    await asyncio.sleep(_REST_S)
    at_rest = (meter.used_us() - used) / (time.monotonic() - begun) / 1e6
    found = {
        "nodes": len(nodes),
        "at_rest_cores": round(at_rest, 4),
        "beat_of_few": await _cost(meter, few * (_BEATS // len(few)), beat),
        "beat_of_all": await _cost(meter, drawn, beat),
        "set_of_few": await _cost(meter, few * (_BEATS // len(few)), put),
        "set_of_all": await _cost(meter, drawn, put),
    }
    return found | {"logs_rewritten": meter.forks() - forks}


async def measured(store: EmbeddedStore, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Grows a fleet through `sizes`; what a beat costs at each."""
    registry, meter = await connected(store.url), Meter(store)
    await registry.synchronise()
    nodes: list[Node] = []
    found = []
    for size in sizes:
        await _grown(registry, nodes, size)
        found.append(await _looked_at(registry, meter, nodes))
        print(found[-1], file=sys.stderr, flush=True)
    await registry.store.close()
    return found


def main() -> int:
    """0: measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale.beats", description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,30000,100000", help="of the fleet")
    parser.add_argument("--store", default="", help="more options of the store, as one word")
    parser.add_argument("--name", default="beats", help="of the file that is kept")
    parser.add_argument("--keep", type=Path, default=LAST, metavar="DIR")
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="muster-beats-") as name:
        store = EmbeddedStore.start(Path(name), extra=options.store.split())
        try:
            sizes = [int(size) for size in options.sizes.split(",")]
            found = asyncio.run(measured(store, sizes))
        finally:
            store.kill()
    told = {"beats_per_s": _PER_S, "batch": _BATCH, "store": options.store, "sizes": found}
    keep(options.name, header(begun) | told, options.keep)
    return 0


if __name__ == "__main__":
    sys.exit(main())
