"""The document's own numbers, unshortened: beats each 15 s, silence for 45 s."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.conftest import QUICK, System
from tests.support.node import Node, node_row, selected
from tests.support.processes import ProcessesFactory

KEPT = ("secret", "log_format", "drain_window_s")


@pytest.mark.timeout(180)
async def test_a_node_at_true_speed_is_ready_and_offline_after_45_s_of_silence(
    system: System, processes: ProcessesFactory
) -> None:
    system.processes.settings = {k: v for k, v in QUICK.items() if k in KEPT}
    await system.start(gateways=2, sweepers=2)
    async with Node(system.ws) as node:
        ack = await node.register()
        assert ack["heartbeat_interval_ms"] == 15_000
        assert ack["heartbeat_timeout_ms"] == 45_000
        for beat in range(3):
            if beat:
                await asyncio.sleep(ack["heartbeat_interval_ms"] / 1000)
            await node.beat()
        ready = await node.hear_status("ready")
        offline = await node.hear_status("offline", 60)
        row = await node_row(system.gateways[1].url, node.node_id or "")
        silence = offline["timestamp"] - row["last_heartbeat"]
        assert 45_000 <= silence <= 50_000  # a sweeper on a busy machine is late
        assert offline["reason"] == "heartbeat_timeout"
        assert offline["version"] > ready["version"]
        assert await selected(system.http) == []
