"""Whoever wrote the WebSocket client of a node, the gateway is the same to it."""

from __future__ import annotations

import json

import pytest
from websockets.asyncio.client import connect

from tests.integration.conftest import System
from tests.support.clients import CLIENTS, PONG, Client, NodeWs, npm_ws
from tests.support.fleet import until
from tests.support.node import EXAMPLE, Node, metrics

__all__ = ["npm_ws"]

REGISTER = json.dumps(EXAMPLE)
BEAT = json.dumps({"type": "node_heartbeat"})
IN_PIECES = (REGISTER[:1], REGISTER[1:7], "", REGISTER[7:-1], REGISTER[-1:])


@pytest.fixture(params=CLIENTS, ids=lambda client: client.__name__)
def client(request: pytest.FixtureRequest) -> type[Client]:
    if request.param is NodeWs:
        request.getfixturevalue("npm_ws")
    chosen: type[Client] = request.param
    return chosen


async def test_it_registers_beats_is_ready_pings_is_pinged_and_leaves(
    system: System, client: type[Client]
) -> None:
    await system.start()
    async with client.opened(system.ws) as node:
        await node.say(*(IN_PIECES if client.pieces else (REGISTER,)))
        ack = await node.hear("node_register_ack")
        for _ in range(3):
            await node.say(BEAT)
        assert (await node.hear("node_status"))["status"] == "ready"
        await node.say_bytes(b"{}")
        assert (await node.hear("node_error"))["code"] == "INVALID_MESSAGE"
        await node.ping()
        assert await node.hear("(pong)") == PONG
        # The gateway asks it whether it lives, as somebody else wants its id; and it answers.
        async with Node(system.ws) as twin:
            answer = await twin.register(node_id=ack["node_id"])
            assert answer["code"] == "NODE_ID_CONFLICT"
            assert answer["details"]["retry_after_ms"] > 0
        await node.close(1000)
        assert await node.code() == 1000

        async def gone() -> bool:
            existing = await system.registry.existing(ack["node_id"])
            return existing is not None and existing.closed

        await until(gone, "it is known to have left")


async def test_it_is_told_why_its_socket_is_closed(system: System, client: type[Client]) -> None:
    await system.start(sweepers=0, max_message_bytes=20_000, max_report_bytes=20_000)
    async with client.opened(system.ws) as node:
        await node.say("x" * 20_001)
        assert await node.code() == 1009
    async with client.opened(system.ws) as node:
        await node.say(REGISTER)
        ack = await node.hear("node_register_ack")
        async with Node(system.ws) as successor:
            await successor.register(node_id=ack["node_id"], node_token=ack["node_token"])
            assert await node.code() == 4409
    if client.pieces:
        async with client.opened(system.ws) as node:  # each piece is small
            await node.say(*["x" * 5000] * 5)
            assert await node.code() == 1009
    assert "Traceback" not in system.gateways[0].log()


async def test_compression_is_declined_to_whoever_offers_it(system: System) -> None:
    await system.start(sweepers=0)
    async with connect(system.ws, proxy=None, compression="deflate") as socket:
        assert socket.request is not None
        assert socket.response is not None
        assert "permessage-deflate" in socket.request.headers["Sec-WebSocket-Extensions"]
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
    assert "muster_sockets_opened_total 1.0" in await metrics(system.http)
