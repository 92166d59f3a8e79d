"""Store processor time per heartbeat and bytes per node, on an embedded store of this run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.figures import Processor, Row, step
from bench.nodes import node_name, registration, report
from registry.embedded import EmbeddedStore
from registry.keys import partition_of
from registry.model import Beat, Change, Decision, Reason, Registered, Status, Verdict
from registry.registry import Registry
from registry.settings import RegistrySettings
from registry.store import Store

_TTL_MS = 45_000
_VERDICTS = 20


@dataclass
class Node:
    """What a gateway would remember of one node."""

    name: str
    sid: str
    session: int
    version: int
    report: bytes
    seq: int = 0


async def connected(url: str) -> Registry:
    return Registry(await Store.connect(url), replace(RegistrySettings(), redis_prefix="bench"))


async def registered(registry: Registry, numbers: Sequence[int]) -> list[Node]:
    """Nodes just registered."""
    nodes: list[Node] = []
    for low in range(0, len(numbers), 100):
        new = [registration(node_name(n)) for n in numbers[low : low + 100]]
        for each, answer in zip(
            new, await asyncio.gather(*(registry.register(n, None) for n in new)), strict=True
        ):
            assert isinstance(answer, Registered), answer
            nodes.append(
                Node(each.node_id, each.sid, answer.session, answer.version, report(each.node_id))
            )
    return nodes


async def make_ready(registry: Registry, names: Sequence[str]) -> dict[str, int]:
    """Moves nodes to ready as a sweeper would; their new versions."""
    by_partition: dict[int, list[str]] = {}
    for name in names:
        by_partition.setdefault(partition_of(name), []).append(name)
    versions: dict[str, int] = {}
    decision = Decision(Status.READY, Reason.HEALTHY, resets_window=True)
    for partition, chosen in by_partition.items():
        for low in range(0, len(chosen), 100):
            found = await registry.facts(partition, chosen[low : low + 100])
            facts = [f for f in found if f is not None]
            changes = await asyncio.gather(*(registry.commit(f, decision) for f in facts))
            for change in changes:
                assert isinstance(change, Change), change
                versions[change.node_id] = change.version
    return versions


async def beat_all(registry: Registry, nodes: Sequence[Node], batch: int) -> None:
    """One heartbeat of every node, so many a call."""
    for low in range(0, len(nodes), batch):
        now = registry.clock.monotonic()
        beats = []
        for node in nodes[low : low + batch]:
            node.seq += 1
            beats.append(
                Beat(
                    node.name, node.sid, node.seq, now, Verdict.PASS, 0, 1, node.version,
                    node.report, node.session,
                )
            )  # fmt: skip
        await registry.beat(beats)


async def ready_nodes(registry: Registry, count: int) -> list[Node]:
    """Nodes that are ready, after three good heartbeats."""
    nodes = await registered(registry, range(count))
    for _ in range(3):
        await beat_all(registry, nodes, 500)
    versions = await make_ready(registry, [n.name for n in nodes])
    for node in nodes:
        node.version = versions[node.name]
    return nodes


async def cpu_per_beat(directory: Path, *, quick: bool) -> Row:
    """Store processor time per heartbeat, beside SET PX alone on the same server."""
    fleet, rounds, repeats, batch = 2000, 5 if quick else 20, 3 if quick else 5, 200
    server = EmbeddedStore.start(directory / "store-cpu")
    try:
        registry = await connected(server.url)
        processor = Processor(server.pid)
        samples: list[float] = []
        floors: list[float] = []
        with step(f"store: {fleet} nodes become ready"):
            nodes = await ready_nodes(registry, fleet)
        per_repeat = fleet * rounds
        with step(f"store: {repeats} times {per_repeat} heartbeats, and as many SET PX"):
            for _ in range(repeats):
                before = processor.used_us()
                for _ in range(rounds):
                    await beat_all(registry, nodes, batch)
                middle = processor.used_us()
                for _ in range(rounds):
                    await _set_all(registry, nodes, batch)
                samples.append((middle - before) / per_repeat)
                floors.append((processor.used_us() - middle) / per_repeat)
        await registry.store.close()
        return Row(
            "store CPU per heartbeat", "µs", samples, floors,
            "SET key 1 PX alone, pipelined in the same batches, same server", 8.0,
            f"{repeats} x {per_repeat} heartbeats of ready nodes, {batch} a call",
        )  # fmt: skip
    finally:
        server.kill()


async def _set_all(registry: Registry, nodes: Sequence[Node], batch: int) -> None:
    for low in range(0, len(nodes), batch):
        pipe = registry.store.client.pipeline(transaction=False)
        for node in nodes[low : low + batch]:
            pipe.execute_command("SET", f"floor:{node.name}", "1", "PX", _TTL_MS)
        await pipe.execute()


async def bytes_per_node(directory: Path, *, quick: bool) -> Row:
    """Store memory per ready node with its twenty verdicts, events and indexes included."""
    count = 2000 if quick else 20_000
    server = EmbeddedStore.start(directory / "store-memory")
    try:
        registry = await connected(server.url)
        client = registry.store.client
        await registry.synchronise()
        empty = await _used(registry)
        for low in range(0, count, 1000):
            pipe = client.pipeline(transaction=False)
            for number in range(low, min(low + 1000, count)):
                pipe.execute_command("SET", f"floor:{node_name(number)}", "1", "PX", 3_600_000)
            await pipe.execute()
        floor = (await _used(registry) - empty) / count
        await client.flushall()
        empty = await _used(registry)
        with step(f"store: {count} nodes become ready and beat until {_VERDICTS} verdicts"):
            nodes = await ready_nodes(registry, count)
            for _ in range(_VERDICTS - 3):
                await beat_all(registry, nodes, 500)
        used = (await _used(registry) - empty) / count
        compact = server.command("CONFIG", "GET", "hash-max-listpack-value")[1]
        await registry.store.close()
        return Row(
            "store memory per node", "bytes", [used], [floor],
            "one string with a time to live for each node", 2048.0,
            f"{count} nodes, {_VERDICTS} verdicts, indexes, alarms and two events each included; "
            f"the store as it comes with Muster, hash-max-listpack-value {compact}",
        )  # fmt: skip
    finally:
        server.kill()


async def _used(registry: Registry) -> int:
    await asyncio.sleep(0.2)
    return int((await registry.store.info())[0]["used_memory"])
