"""Nodes written through the registry library, some hundred thousand of them, by several processes.

`python -m bench.scale.nodes URL FROM TO CAPABILITIES` registers them and gives each its three good
heartbeats; real sweepers make them ready. Every tenth can do one thing, one of 10 000 another.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace

from bench.nodes import node_name, registration, report
from bench.store import Node, beat_all
from registry.model import Registered
from registry.registry import Registry
from registry.settings import RegistrySettings
from registry.store import Store

PATIENCE_S = 36_000.0
"""Filling a store takes longer than a node may be silent; only capacity is measured here."""

_AT_ONCE = 100
_BATCH = 500


def settings() -> RegistrySettings:
    """What all processes of the measurement share."""
    return replace(
        RegistrySettings(), redis_prefix="bench", heartbeat_timeout_s=PATIENCE_S,
        warmup_timeout_s=PATIENCE_S, redis_timeout_s=60.0,
    )  # fmt: skip


async def connected(url: str) -> Registry:
    return Registry(await Store.connect(url), settings())


async def registered(registry: Registry, numbers: Sequence[int], more: int = 0) -> list[Node]:
    """Registers nodes; each has `more` capabilities beside those of the example, which it shares
    with one of a hundred."""
    plain = registration(node_name(0))
    nodes: list[Node] = []
    for low in range(0, len(numbers), _AT_ONCE):
        new = []
        for n in numbers[low : low + _AT_ONCE]:
            names = {*plain.capabilities, *(f"model:m{(n + i) % 100}-{i}" for i in range(more))}
            if n % 10 == 0:
                names.add("asr:tenth")
            if n % 10_000 == 5:
                names.add("tts:rare")
            new.append(
                replace(
                    plain, node_id=node_name(n), sid=f"sid-{n}", capabilities=tuple(sorted(names))
                )
            )
        answers = await asyncio.gather(*(registry.register(n, None) for n in new))
        for each, answer in zip(new, answers, strict=True):
            assert isinstance(answer, Registered), answer
            nodes.append(
                Node(each.node_id, each.sid, answer.session, answer.version, report(each.node_id))
            )
    return nodes


async def _fill(url: str, first: int, end: int, more: int) -> None:
    registry = await connected(url)
    for low in range(first, end, _BATCH * 4):
        nodes = await registered(registry, range(low, min(low + _BATCH * 4, end)), more)
        for _ in range(3):
            await beat_all(registry, nodes, _BATCH)
    await registry.store.close()


if __name__ == "__main__":
    asyncio.run(_fill(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
