"""What a gateway keeps is bounded by the sockets it has, whatever they say, whoever comes after."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import psutil

from bench.scale.machine import system as whole_system
from tests.attack.ids import attacked, settings
from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.node import EXAMPLE, Node, metrics
from tests.support.raw import frame, wire

MIB = 2**20


def resident(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


async def value_of(url: str, name: str) -> float:
    """A metric without labels."""
    found = re.search(rf"^{name} (\S+)$", await metrics(url), re.MULTILINE)
    assert found, name
    return float(found[1])


async def test_ids_that_nobody_ever_had_before_leave_nothing_in_a_gateway_nor_in_the_store(
    tmp_path: Path,
) -> None:
    # Nobody is silent for so long, however busy the machine is that simulates them.
    patient = {"MUSTER_HEARTBEAT_TIMEOUT_S": "20", "MUSTER_GATEWAY_GRACE_S": "40"}
    with whole_system(tmp_path, gateways=1, sweepers=1, more={**settings(), **patient}) as made:
        found = await attacked(made, 1000, 4000)
    assert found["well"], json.dumps(found)


async def test_sockets_that_come_with_an_id_of_their_own_and_go_leave_nothing(
    system: System,
) -> None:
    await system.start(sweepers=0)
    (gateway,) = system.gateways

    async def come_and_go(first: int, count: int) -> None:
        for low in range(first, first + count, 20):
            await asyncio.gather(*(one(n) for n in range(low, low + 20)))

    async def one(n: int) -> None:
        async with wire(gateway.port) as stranger:
            await stranger.upgrade()
            await stranger.send(frame(json.dumps({**EXAMPLE, "node_id": f"id-{n}"}).encode()))
            async with asyncio.timeout(20):
                assert b"_ack" in await stranger.reader.readuntil(b"}")

    await come_and_go(0, 200)
    before, lines = resident(gateway.pid), (await metrics(system.http)).count("\n")
    await come_and_go(200, 600)

    async def all_gone() -> bool:
        opened = await value_of(system.http, "muster_sockets_opened_total")
        return opened == await value_of(system.http, "muster_sockets_ended_total") == 800

    await until(all_gone, "all have gone")
    assert (await metrics(system.http)).count("\n") == lines
    assert resident(gateway.pid) - before < 8 * MIB


async def test_while_the_store_is_away_a_flood_of_beats_fills_no_memory(system: System) -> None:
    await system.start(heartbeat_timeout_s=60.0, gateway_grace_s=120.0, max_lag_s=20.0)
    (gateway,), (server,) = system.gateways, system.backend.servers
    nodes = [Node(system.ws, ping_interval=None) for _ in range(20)]
    await asyncio.gather(*(node.__aenter__() for node in nodes))
    try:
        await asyncio.gather(*(node.become_ready() for node in nodes))

        async def few() -> bool:
            return await value_of(system.http, "muster_beats_pending") <= len(nodes) * 4

        server.pause()
        try:
            sizes = []
            for _ in range(8):
                for node in nodes:
                    for _ in range(40):
                        await node.beat(resource_usage={"cpu_percent": 1.0}, timestamp="x" * 2000)
                await until(few, "of each node the latest few wait", every_s=0.05)
                sizes.append(resident(gateway.pid))
            # Six times 800 beats of 2 KiB would be 10 MiB, and more with what stands around them.
            assert sizes[-1] - sizes[1] < 5 * MIB, sizes
        finally:
            server.resume()

        async def sent() -> bool:
            return await value_of(system.http, "muster_beats_pending") == 0

        await until(sent, "what waited is sent")
        for node in nodes:
            await node.beat()
        assert not [f for node in nodes for f in node.told if f.get("status") == "offline"]
        fleet = [await system.registry.existing(node.node_id or "") for node in nodes]
        assert {each.status for each in fleet if each} == {"ready"}
    finally:
        await asyncio.gather(*(node.__aexit__(None, None, None) for node in nodes))
