"""Nodes that pretend their GPUs: known by a label, let in only where that is allowed."""

from __future__ import annotations

from tests.integration.conftest import System
from tests.support.node import Node, node_row

PRETENDS = {"labels": {"simulated": "true", "region": "here"}}


async def test_a_gateway_on_a_loopback_address_lets_simulated_nodes_in(system: System) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws) as node:
        assert (await node.register(**PRETENDS))["type"] == "node_register_ack"
        row = await node_row(system.http, node.node_id or "")
        assert row["labels"] == {"simulated": "true", "region": "here"}


async def test_where_they_are_not_allowed_they_are_told_so_and_leave_no_trace(
    system: System,
) -> None:
    await system.start(sweepers=0, allow_simulated=False)
    async with Node(system.ws, additional_headers={"Accept-Language": "en"}) as node:
        answer = await node.register(**PRETENDS, node_id="node-PRETEND")
        assert answer["code"] == "INVALID_MESSAGE"
        assert answer["details"] == {"path": "labels.simulated", "expected": "a real GPU"}
        assert "MUSTER_ALLOW_SIMULATED" in answer["message"]
        assert await system.registry.existing("node-PRETEND") is None
        again = await node.register(labels={"simulated": "false"}, node_id="node-REAL")
        assert again["type"] == "node_register_ack"
