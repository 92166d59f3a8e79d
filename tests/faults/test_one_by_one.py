"""Single promises that only whole processes keep, each tried by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import pytest

from registry.embedded import EmbeddedStore
from tests.integration.conftest import QUICK, System, system
from tests.support.node import Node
from tests.support.trouble import out_of_memory

__all__ = ["system"]

TIMEOUT_S = float(str(QUICK["heartbeat_timeout_s"]))


@contextlib.contextmanager
def paused(servers: Sequence[EmbeddedStore]) -> Iterator[None]:
    """Nobody is answered anything."""
    for server in servers:
        server.pause()
    try:
        yield
    finally:
        for server in servers:
            server.resume()


@pytest.mark.parametrize("trouble", [paused, out_of_memory], ids=["stands still", "takes no write"])
async def test_a_registration_the_store_did_not_take_is_not_acknowledged(
    system: System, trouble: Callable[[Sequence[EmbeddedStore]], AbstractContextManager[None]]
) -> None:
    """One that stands still fails the questions before the write; one that takes no write answers
    them, so that the write alone fails."""
    await system.start(sweepers=0)
    async with Node(system.ws) as node:
        with trouble(system.backend.servers):
            answer = await node.register(node_id="node-UNTAKEN0")
        assert answer["type"] == "node_error"
        assert answer["code"] == "UNAVAILABLE"
        assert answer["details"]["retry_after_ms"] > 0


async def test_a_gateway_that_stood_still_reaps_nobody_for_it(system: System) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws, ping_interval=None) as node:
        await node.register(heartbeat_ack=True)
        gateway = system.gateways[0]
        gateway.pause()
        await asyncio.sleep(2.5 * TIMEOUT_S)  # longer than a silent socket is kept
        gateway.resume()
        await gateway.wait_ready()
        await node.beat()
        assert (await node.hear())["type"] == "node_heartbeat_ack"
        assert node.ws.close_code is None
