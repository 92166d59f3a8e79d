"""`python -m bench.scale.store --sizes 100000,300000`: many nodes in a Cluster of three primaries.

The fleet grows from size to size in one Cluster; at each size is measured what a beat, a selection,
a list, an overview, a repair and a sweeper at rest cost, how much memory a node takes, and which
command held a primary longest. Nodes beat three times and are made ready by real sweepers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.boot import Sweepers, booted, swept
from bench.figures import Processor
from bench.nodes import node_name, report
from bench.scale.machine import LAST, header, keep
from bench.scale.nodes import PATIENCE_S, connected
from bench.store import Node, beat_all
from registry.embedded import EmbeddedCluster
from registry.keys import PARTITIONS, partition_of
from registry.listing import Filter
from registry.model import Status
from registry.registry import Registry
from registry.requirement import Requirement
from sweeper.repair import Repair

_SLOW_US = 2_000
_SILENT = 500


class Stores:
    """The primaries, and what they spend."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self.cluster = cluster
        self._processors = [Processor(store.pid) for store in cluster.stores]

    def used_us(self) -> float:
        return sum(p.used_us() for p in self._processors)

    def memory(self) -> int:
        return sum(self._info(i, "memory")["used_memory"] for i in range(len(self._processors)))

    def forget_slow(self) -> None:
        for store in self.cluster.stores:
            store.command("CONFIG", "SET", "slowlog-log-slower-than", str(_SLOW_US))
            store.command("CONFIG", "SET", "slowlog-max-len", "1000")
            store.command("SLOWLOG", "RESET")

    def slowest(self) -> list[dict[str, Any]]:
        """The commands that held a primary longest, by name: how often, and the longest, ms."""
        found: dict[str, list[int]] = {}
        for store in self.cluster.stores:
            reply: Any = store.command("SLOWLOG", "GET", "1000")
            for entry in reply:
                words = [str(w) for w in entry[3]]
                name = words[0] if words[0] != "EVALSHA" else f"EVALSHA {words[1][:8]}"
                found.setdefault(f"{name} {words[-1][:30] if len(words) == 2 else ''}", []).append(
                    int(entry[2])
                )
        ranked = sorted(found.items(), key=lambda item: -max(item[1]))[:4]
        return [{"what": w.strip(), "times": len(us), "longest_ms": round(max(us) / 1000, 1)}
                for w, us in ranked]  # fmt: skip

    def _info(self, place: int, section: str) -> dict[str, int]:
        text = str(self.cluster.stores[place].command("INFO", section))
        pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
        return {name: int(value) for name, value in pairs if value.isdigit()}


async def _timed(times: int, act: Callable[[], Awaitable[object]]) -> dict[str, float]:
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        await act()
        took.append((time.perf_counter() - begun) * 1000)
    took.sort()
    return {
        "times": times,
        "p50_ms": round(took[times // 2], 2),
        "p99_ms": round(took[min(times - 1, int(times * 0.99))], 2),
    }


async def looked_at(
    registry: Registry, stores: Stores, sweepers: Sweepers, size: int
) -> dict[str, Any]:
    """What things cost in a fleet of this size."""
    found: dict[str, Any] = {"nodes": size}
    found["bytes_a_node"] = round(stores.memory() / size)
    stores.forget_slow()
    numbers = random.Random(size).sample(range(size), min(size, 10_000))
    found_facts = await _facts(registry, numbers)
    facts = {f.node_id: f for f in found_facts if f.status is not Status.OFFLINE}
    nodes = [
        Node(node_name(n), f.sid, 0, f.version, report(node_name(n)), 10)
        for n in numbers
        if (f := facts.get(node_name(n)))
    ]
    # After the silence of a long enrolment the first beat counts as missed ones too, which sweepers
    # judge, and which their windows hold for a while: that is no part of what is measured next.
    for _ in range(registry.settings.window_length + 1):
        await beat_all(registry, nodes, 500)
    await _calm(registry)
    samples = []
    for _ in range(3):
        used = stores.used_us()
        await beat_all(registry, nodes, 500)
        samples.append((stores.used_us() - used) / len(nodes))
    found["store_us_a_beat"] = round(sorted(samples)[1], 1)
    for name, wanted in (
        ("select_a_tenth", Requirement(("asr:tenth",))),
        ("select_one_in_10000", Requirement(("tts:rare",))),
    ):
        used = stores.used_us()
        found[name] = await _timed(200, lambda wanted=wanted: registry.select(wanted))  # type: ignore[misc]
        found[name]["store_us"] = round((stores.used_us() - used) / 200, 1)
    found["list_page_of_100"] = await _timed(20, lambda: registry.listed(Filter(), 100))
    found["overview"] = await _timed(3, registry.overview)
    used, before = stores.used_us(), sweepers.used_us()
    begun = time.monotonic()
    await asyncio.sleep(10)
    seconds = time.monotonic() - begun
    found["at_rest"] = {
        "sweeper_cores": round((sweepers.used_us() - before) / seconds / 1e6, 3),
        "store_cores": round((stores.used_us() - used) / seconds / 1e6, 3),
    }
    found["alarms"] = await rung(registry, stores, sweepers, list(facts))
    silent = list(facts)[:_SILENT]
    found["fallen_silent"] = await silenced(registry, stores, sweepers, silent)
    keys = [registry.keys.events(p) for p in range(PARTITIONS)]
    found["events_kept"] = sum(await registry.store.commands([("XLEN", key) for key in keys]))
    used = stores.used_us()
    own = Processor(os.getpid())
    mine, begun = own.used_us(), time.monotonic()
    await Repair(registry, 500).partition(7)
    found["repair_of_one_partition"] = {
        "seconds": round(time.monotonic() - begun, 2),
        "sweeper_us_a_node": round((own.used_us() - mine) / (size / PARTITIONS), 1),
        "store_us_a_node": round((stores.used_us() - used) / (size / PARTITIONS), 1),
    }
    found["slowest_commands"] = stores.slowest()
    return found


async def _calm(registry: Registry) -> None:
    """Until no node is marked to be judged."""
    keys = [registry.keys.todo(p) for p in range(PARTITIONS)]
    while any(await registry.store.commands([("SCARD", key) for key in keys])):  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)


async def rung(
    registry: Registry, stores: Stores, sweepers: Sweepers, ids: list[str]
) -> dict[str, float]:
    """The alarms of these nodes ring now, as those of living nodes do once a time-out: what it
    takes the sweepers to set all of them on, and how many a second they manage."""
    alarms = [registry.keys.due(partition_of(id_)) for id_ in ids]

    async def all_set_on() -> bool:
        due = await registry.store.commands(
            [("ZCOUNT", registry.keys.due(p), "-inf", now) for p in range(PARTITIONS)]
        )
        return not any(due)

    now = await registry.synchronise()
    return await _spent(
        stores, sweepers, len(ids),
        lambda: registry.store.commands(
            [("ZADD", key, now, id_) for key, id_ in zip(alarms, ids, strict=True)]
        ),
        all_set_on,
    )  # fmt: skip


async def silenced(
    registry: Registry, stores: Stores, sweepers: Sweepers, ids: list[str]
) -> dict[str, float]:
    """These nodes' last beats were a time-out ago, of a sudden: until all are called offline."""
    before = (await registry.counts(list(range(PARTITIONS))))["offline"]
    now = await registry.synchronise()
    k, then = registry.keys, now - round(PATIENCE_S * 1000) - 1000
    commands: list[tuple[Any, ...]] = []
    for id_ in ids:
        commands += [
            ("HSET", k.node(id_), "beat", then), ("DEL", k.ttl(id_)),
            ("ZADD", k.due(partition_of(id_)), now, id_),
        ]  # fmt: skip

    async def all_called() -> bool:
        counts = await registry.counts(list(range(PARTITIONS)))
        return counts["offline"] == before + len(ids)

    return await _spent(
        stores, sweepers, len(ids), lambda: registry.store.commands(commands), all_called
    )


async def _spent(
    stores: Stores, sweepers: Sweepers, nodes: int, act: Callable[[], Awaitable[object]],
    over: Callable[[], Awaitable[bool]],
) -> dict[str, float]:  # fmt: skip
    """From `act` until it is `over`: seconds, and µs of processor a node."""
    used, sweeping = stores.used_us(), sweepers.used_us()
    begun = time.monotonic()
    await act()
    while not await over():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return {
        "nodes": nodes,
        "seconds": round(time.monotonic() - begun, 2),
        "sweeper_us_a_node": round((sweepers.used_us() - sweeping) / nodes, 1),
        "store_us_a_node": round((stores.used_us() - used) / nodes, 1),
    }


async def _facts(registry: Registry, numbers: list[int]) -> list[Any]:
    by: dict[int, list[str]] = {}
    for n in numbers:
        by.setdefault(partition_of(node_name(n)), []).append(node_name(n))
    rows = await asyncio.gather(*(registry.facts(p, ids) for p, ids in by.items()))
    return [f for row in rows for f in row if f is not None]


async def measured(
    directory: Path, sizes: list[int], primaries: int, more: int,
    tell: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:  # fmt: skip
    """Grows a fleet through `sizes`, looks at each, and tells what is known after each."""
    cluster = EmbeddedCluster.start(directory, primaries, extra=("--save", ""))
    try:
        registry = await connected(cluster.url)
        stores = Stores(cluster)
        found: dict[str, Any] = {"primaries": primaries, "more_capabilities": more, "sizes": []}
        async with swept(directory, cluster.url, registry) as sweepers:
            low = 0
            for size in sizes:
                growth, _ = await booted(
                    cluster.url, registry, stores.used_us, sweepers, low, size, more
                )
                looked = await looked_at(registry, stores, sweepers, size)
                found["sizes"].append(looked | {"growing": growth})
                tell(found)
                low = size
        await registry.store.close()
        return found
    finally:
        cluster.kill()


def main() -> int:
    """0: measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale.store", description=__doc__)
    parser.add_argument("--sizes", default="10000,30000,100000,300000", help="of the fleet")
    parser.add_argument("--primaries", type=int, default=3)
    parser.add_argument("--capabilities", type=int, default=0, help="more of each node")
    parser.add_argument("--name", default="store", help="of the file that is kept")
    parser.add_argument("--keep", type=Path, default=LAST, metavar="DIR")
    options = parser.parse_args()
    begun = time.monotonic()
    sizes = [int(size) for size in options.sizes.split(",")]

    def tell(found: dict[str, Any]) -> None:
        keep(options.name, header(begun) | found, options.keep)

    with tempfile.TemporaryDirectory(prefix="muster-scale-") as name:
        asyncio.run(measured(Path(name), sizes, options.primaries, options.capabilities, tell))
    return 0


if __name__ == "__main__":
    sys.exit(main())
