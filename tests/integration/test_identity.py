"""Whose id is it: the ordering rules, over real sockets against real processes."""

from __future__ import annotations

import asyncio

from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.node import Node, node_row


async def test_a_beat_before_registering_is_held_against_nobody(system: System) -> None:
    await system.start(gateways=2)
    async with Node(system.ws) as first:
        await first.become_ready()
        async with Node(system.gateways[1].ws_url) as second:
            await second.say({"type": "node_heartbeat", "node_id": first.node_id})
            assert (await second.hear())["code"] == "NOT_REGISTERED"
        row = await node_row(system.http, first.node_id or "")
        assert row["status"] == "ready"
        assert len(row["verdicts"]) == 3


async def test_the_same_socket_registers_again_under_its_id(system: System) -> None:
    await system.start()
    async with Node(system.ws) as node:
        first = await node.register()
        again = await node.register(node_id=node.node_id)
        assert again["node_id"] == first["node_id"]
        assert again["session"] > first["session"]
        other = await node.register(node_id="node-OTHER000")
        assert other["code"] == "INVALID_MESSAGE"


async def test_the_right_token_resumes_on_another_gateway(system: System) -> None:
    await system.start(gateways=2)
    async with Node(system.ws) as old:
        ready = await old.become_ready()
        async with Node(system.gateways[1].ws_url) as new:
            ack = await new.register(node_id=old.node_id, node_token=old.token)
            assert ack["resumed"] is True
            assert ack["status"] == "ready"
            assert ack["version"] == ready["version"]
            assert await old.close_code() == 4409
            await new.beat()
            row = await node_row(system.http, new.node_id or "")
            assert row["status"] == "ready"


async def test_the_late_close_of_an_old_socket_does_not_touch_its_successor(
    system: System,
) -> None:
    await system.start(gateways=2)
    async with Node(system.gateways[1].ws_url) as new:
        async with Node(system.ws) as old:
            await old.become_ready()
            await new.register(node_id=old.node_id, node_token=old.token)
        await new.beat()
        existing = await system.registry.existing(new.node_id or "")
        assert existing is not None
        assert not existing.closed
        assert existing.status == "ready"


async def test_a_plain_client_reconnects_with_its_id_after_its_socket_closed(
    system: System,
) -> None:
    await system.start(gateways=2)
    async with Node(system.ws) as first:
        await first.register()
        node_id = first.node_id
    async with Node(system.gateways[1].ws_url) as second:

        async def accepted() -> bool:
            answer = await second.register(node_id=node_id)
            return bool(answer["type"] == "node_register_ack" and answer["status"] == "registering")

        await until(accepted, "its own id is given back", every_s=0.1)


async def test_a_living_twin_without_token_keeps_its_id(system: System) -> None:
    await system.start(gateways=2)
    async with Node(system.ws) as first:
        await first.register()
        for gateway in system.gateways:  # the holder's own gateway, and another that must ask
            async with Node(gateway.ws_url) as twin:
                answer = await twin.register(node_id=first.node_id)
                assert answer["code"] == "NODE_ID_CONFLICT"
                assert answer["details"]["retry_after_ms"] > 0
        existing = await system.registry.existing(first.node_id or "")
        assert existing is not None
        assert not existing.closed


async def test_a_half_open_twin_loses_its_id(system: System) -> None:
    await system.start(gateways=2, heartbeat_timeout_s=20, gateway_grace_s=40)
    async with Node(system.ws, ping_interval=None) as dead:
        await dead.register()
        dead.ws.transport.pause_reading()
        async with Node(system.gateways[1].ws_url) as reborn:
            answer = await reborn.register(node_id=dead.node_id)
            assert answer["type"] == "node_register_ack"
        dead.ws.transport.resume_reading()


async def test_an_id_once_shown_with_its_token_needs_it_for_ever(system: System) -> None:
    await system.start()
    async with Node(system.ws) as first:
        await first.register()
        await first.register(node_id=first.node_id, node_token=first.token)
    async with Node(system.ws) as second:
        answer = await second.register(node_id=first.node_id)
        assert answer["code"] == "NODE_ID_CONFLICT"
        assert not (answer["details"] or {}).get("retry_after_ms")


async def test_an_earlier_attempt_of_the_same_boot_never_supersedes_a_later_one(
    system: System,
) -> None:
    await system.start()
    async with Node(system.ws) as later, Node(system.ws) as stalled:
        await later.register(boot_id="b", attempt=2)
        await stalled.register(
            node_id=later.node_id, node_token=later.token, boot_id="b", attempt=1
        )
        await later.beat()
        existing = await system.registry.existing(later.node_id or "")
        assert existing is not None
        assert existing.attempt == 2


async def test_an_empty_id_is_assigned_one(system: System) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws) as node:
        ack = await node.register(node_id="")
        assert ack["node_id"].startswith("node-")
        assert len(ack["node_id"]) == len("node-") + 8


async def test_many_machines_register_at_once_and_each_gets_its_own_id(system: System) -> None:
    await system.start(gateways=2)
    nodes = [Node(system.gateways[i % 2].ws_url) for i in range(30)]
    await asyncio.gather(*(n.__aenter__() for n in nodes))
    try:
        await asyncio.gather(*(n.become_ready() for n in nodes))
        assert len({n.node_id for n in nodes}) == 30
    finally:
        await asyncio.gather(*(n.__aexit__(None, None, None) for n in nodes))
