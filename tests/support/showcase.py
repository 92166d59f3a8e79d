"""A small fleet with one of everything the API can show: ready, new, drained, old, somebody's own.

The examples in the documentation are answered by it, and generated requests are tried on it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx

from tests.support.fleet import until
from tests.support.node import Node

BEAT_S = 1.0
"""Shorter than any heartbeat time-out it is used with."""

ASR = {"model_id": "asr-zh-large", "kind": "asr", "src_lang": "zh", "version": "3.1.0"}
NMT = {
    "model_id": "nmt-zh-en",
    "kind": "nmt",
    "src_lang": "zh",
    "tgt_lang": "en",
    "version": "1.4.0",
}
TTS = {"model_id": "tts-en", "kind": "tts", "tgt_lang": "en", "version": "2.0.0"}

FLEET: dict[str, dict[str, Any]] = {
    "node-ABC12345": {
        "gpus": [("RTX 4090", 24)],
        "installed_models": [ASR, NMT, TTS],
        "labels": {"region": "eu"},
        "advanced_features": ["batched_inference"],
        "max_concurrent_jobs": 2,
    },
    "node-DEF67890": {
        "gpus": [("L40S", 48), ("L40S", 48)],
        "installed_models": [ASR, NMT, TTS],
        "labels": {"region": "eu"},
        "platform": "linux",
        "jobs": 1,
    },
    "node-DRAINED1": {
        "gpus": [("RTX 3090", 24)],
        "installed_models": [NMT],
        "labels": {"region": "eu"},
    },
    "node-OLDCARD1": {
        "gpus": [("RTX 3090", 24)],
        "installed_models": [TTS],
        "labels": {"region": "eu", "rack": "b4"},
    },
    "node-LABBENCH": {
        "gpus": [("RTX 4090", 24)],
        "installed_models": [ASR, NMT, TTS],
        "labels": {"region": "us", "owner": "lab"},
        "accept_public_jobs": False,
    },
}
NEWCOMER = "node-NEWCOMER"
"""Registers and never beats three times: it stays registering for the length of a warm-up."""


@contextlib.asynccontextmanager
async def showcase(
    ws_url: str, http_url: str, headers: dict[str, str] | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """The fleet on a running gateway, with a client of its API that may do everything."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=http_url, trust_env=False, headers=headers, timeout=20)
        )
        for node_id, machine in FLEET.items():
            node, jobs = await _join(stack, ws_url, node_id, machine)
            for _ in range(2):
                await node.beat(resource_usage=_usage(jobs))
            await node.hear_status("ready")
            keeper = asyncio.create_task(_keep(node, jobs))
            stack.push_async_callback(_end, keeper)
        await _join(stack, ws_url, NEWCOMER, FLEET["node-ABC12345"])
        answer = await client.post("/v1/nodes/node-DRAINED1/drain", json={"reason": "new fans"})
        answer.raise_for_status()

        async def drained() -> bool:
            row = (await client.get("/v1/nodes/node-DRAINED1")).json()
            return bool(row["reason"] == "drained")

        await until(drained, "the drained node says that its jobs have ended")
        yield client


async def _join(
    stack: contextlib.AsyncExitStack, ws_url: str, node_id: str, machine: dict[str, Any]
) -> tuple[Node, int]:
    node = await stack.enter_async_context(Node(ws_url))
    gpus = [{"name": name, "memory_gb": memory} for name, memory in machine["gpus"]]
    hardware = {"cpu_cores": 16, "memory_gb": 64, "gpus": gpus}
    more = {k: v for k, v in machine.items() if k not in ("gpus", "jobs")}
    answer = await node.register(node_id=node_id, hardware=hardware, **more)
    assert answer["type"] == "node_register_ack", answer
    jobs = int(machine.get("jobs", 0))
    await node.beat(resource_usage=_usage(jobs))
    return node, jobs


async def _keep(node: Node, jobs: int) -> None:
    """Beats until the socket is closed; a node that was taken off goes on in vain."""
    while True:
        await asyncio.sleep(BEAT_S)
        await node.beat(resource_usage=_usage(jobs))


async def _end(keeper: asyncio.Task[None]) -> None:
    keeper.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await keeper


def _usage(jobs: int) -> dict[str, Any]:
    return {
        "cpu_percent": 12.5,
        "gpu_percent": 40.0 if jobs else 0.0,
        "mem_percent": 50.1,
        "running_jobs": jobs,
        "gpu_queue_length": 0,
    }
