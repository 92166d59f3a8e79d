"""Gateways behind nginx and HAProxy, with the configurations that are deployed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trustme

from tests.integration.conftest import System
from tests.support.balancers import PATIENCE_S, balancer
from tests.support.fleet import until
from tests.support.herd import Herd
from tests.support.node import Node, metrics, node_row, selected
from tests.support.processes import Process

NODES = 24
TOKEN = "a-join-token-that-nobody-may-log"


async def sockets(gateway: Process) -> int:
    """How many nodes are registered at a gateway."""
    for line in (await metrics(gateway.url)).splitlines():
        if line.startswith('muster_gateway_sockets{state="registered"}'):
            return int(float(line.split()[-1]))
    raise AssertionError("no such metric")


@asynccontextmanager
async def shared_out(url: str, gateways: Sequence[Process]) -> AsyncIterator[Herd]:
    """A herd that is ready, and every gateway has its part of it. HAProxy sends nobody to one that
    did not answer for a second, as on a busy machine: then they come again."""

    async def parts() -> list[int]:
        return [await sockets(gateway) for gateway in gateways]

    async def nobody() -> bool:
        return not any(await parts())

    for _ in range(5):
        async with Herd([url], NODES) as herd:
            await until(lambda: herd.all_are("ready"), "all are ready")
            if min(await parts()) >= NODES / 6:
                yield herd
                return
        await until(nobody, "all are gone")
    raise AssertionError("again and again a gateway has no part of them")


async def chosen(url: str) -> bool:
    """Whether a machine is selected, asked through the balancer, which may know of no gateway that
    answered it within the last second."""
    try:
        return bool(await selected(url))
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in (502, 503, 504):
            raise
        return False


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
async def test_a_fleet_behind_it_outlives_a_gateway_drained_and_one_killed(
    kind: str, system: System, tmp_path: Path
) -> None:
    # The machines live in this process: what holds it up for long is done before they beat.
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    await system.start(
        gateways=3, sweepers=1, trusted_proxies=["127.0.0.1"], open_api=True,
        heartbeat_timeout_s=2.0 * PATIENCE_S, gateway_grace_s=4.0 * PATIENCE_S,
    )  # fmt: skip
    ports = [gateway.port for gateway in system.gateways]
    async with (
        balancer(kind, tmp_path, ports, authority) as front,
        shared_out(front.ws, system.gateways) as herd,
    ):
        await until(lambda: chosen(front.http), "machines are selected")

        # An idle socket outlives the patience with requests: it is there to be told of its silence.
        async with Node(f"{front.ws}?token={TOKEN}") as idle:
            await idle.register()
            await idle.hear_status("offline")

        # TLS ends there. Who speaks is who spoke to it, whatever they say of themselves.
        forged = {"X-Forwarded-For": "203.0.113.9"}
        here = ("127.0.0.2", 0)
        async with Node(front.wss, ssl=trust, local_addr=here, additional_headers=forged) as node:
            await node.register()
            assert node.node_id is not None
            assert (await node_row(system.http, node.node_id))["address"] == "127.0.0.2"

        async with httpx.AsyncClient(base_url=front.http, trust_env=False) as client:
            assert (await client.get("/metrics")).status_code == 404

        async def all_at(*gateways: Process) -> bool:
            there = sum([await sockets(gateway) for gateway in gateways])
            return there == NODES and await herd.all_are("ready")

        drained, killed, stays = system.gateways
        await asyncio.to_thread(drained.stop)
        await until(lambda: all_at(killed, stays), "all are back after a drain")
        killed.kill()
        await until(lambda: all_at(stays), "all are back after a kill")
        await until(lambda: chosen(front.http), "machines are selected")
        assert herd.ever("offline") == []
    assert TOKEN not in (tmp_path / f"{kind}.log").read_text()
