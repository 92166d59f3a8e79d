"""Many schedulers at two gateways, all at once: no machine gets more than it can take."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from contextlib import AsyncExitStack

import httpx

from tests.integration.conftest import System
from tests.support.node import Node

SCHEDULERS = 32
DURATION_S = 2.0
PATIENCE_S = 60.0
CAPACITIES = (1, 1, 2, 3, 5)


Spans = dict[str, list[tuple[float, float]]]
"""By node, the instants between which a hold was surely there."""


def enough(spans: Spans) -> bool:
    return sum(map(len, spans.values())) > 100 and all(spans.values())


def busy(until: float, spans: Spans) -> bool:
    """Whether to go on: for a while, and on a slow machine until enough has happened."""
    now = time.monotonic()
    return now < until or (not enough(spans) and now < until + PATIENCE_S)


async def scheduler(client: httpx.AsyncClient, until: float, spans: Spans) -> None:
    """Selects with a hold, works for a moment, gives it back."""
    while busy(until, spans):
        wanted = {"kind": "nmt", "src_lang": "zh", "tgt_lang": "en", "hold_ms": 60_000}
        answer = await client.post("/v1/select", json=wanted)
        if answer.status_code == 404:
            assert set(answer.json()["reasons"]) == {"capacity_exceeded"}
            await asyncio.sleep(random.random() * 0.02)
            continue
        (node,) = answer.json()["nodes"]
        begun = time.monotonic()
        await asyncio.sleep(random.random() * 0.02)
        spans[node["node_id"]].append((begun, time.monotonic()))
        freed = await client.delete(f"/v1/holds/{node['hold']['id']}")
        assert freed.status_code == 204, freed.text


async def test_parallel_schedulers_with_holds_never_exceed_any_capacity(system: System) -> None:
    await system.start(gateways=2, sweepers=1, heartbeat_timeout_s=60.0)
    async with AsyncExitStack() as stack:
        capacity: dict[str, int] = {}
        for place, most in enumerate(CAPACITIES):
            node = await stack.enter_async_context(Node(system.gateways[place % 2].ws_url))
            await node.become_ready(max_concurrent_jobs=most)
            assert node.node_id is not None
            capacity[node.node_id] = most
        spans: Spans = {node_id: [] for node_id in capacity}
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=g.url, trust_env=False))
            for g in system.gateways
        ]
        until = time.monotonic() + DURATION_S
        await asyncio.gather(
            *(scheduler(clients[place % 2], until, spans) for place in range(SCHEDULERS))
        )
        for node_id, held in spans.items():
            edges = sorted(edge for a, b in held for edge in ((a, 1), (b, -1)))
            most = max(itertools.accumulate((step for _, step in edges), initial=0))
            assert most <= capacity[node_id], "at some instant more holds than places"
            assert await system.registry.holds(node_id) == [], "every hold was given back"
        assert enough(spans), "schedulers were busy, on every machine"
