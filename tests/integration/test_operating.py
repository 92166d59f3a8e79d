"""What operators do, as nodes on real sockets meet it."""

from __future__ import annotations

from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.node import Node, selected

TTS = {"model_id": "t", "kind": "tts", "version": "1", "tgt_lang": "en"}
GOLD = {"labels": {"tier": "gold"}}


async def test_an_operators_label_outlives_other_models_a_reconnect_and_a_new_life(
    system: System,
) -> None:
    await system.start()
    async with Node(system.ws) as node:
        token = (await node.register())["node_token"]
        for _ in range(3):
            await node.beat()
        await node.hear_status("ready")
        assert node.node_id is not None
        assert await system.registry.label(node.node_id, {"tier": "gold"}, "op", "paid")
        assert await selected(system.http, **GOLD) == [node.node_id]
        await node.beat(installed_models=[TTS])
        wanted = GOLD | {"kind": "tts", "tgt_lang": "en"}

        async def learnt() -> bool:
            return await selected(system.http, **wanted) == [node.node_id]

        await until(learnt, "the gateway, which knew of no label, writes the new model")
    async with Node(system.ws) as back:
        ack = await back.register(node_id=node.node_id, node_token=token, installed_models=[TTS])
        assert ack["resumed"] and await selected(system.http, **wanted) == [node.node_id]
    async with Node(system.ws) as anew:
        await anew.become_ready(
            node_id=node.node_id,
            node_token=token,
            hardware={"cpu_cores": 8, "memory_gb": 64, "gpus": [{"name": "x", "memory_gb": 24}]},
        )
        assert await selected(system.http, **GOLD) == [node.node_id]


async def test_a_node_that_fell_silent_and_was_removed_hears_so_and_may_come_back(
    system: System,
) -> None:
    await system.start()
    async with Node(system.ws) as node:
        await node.become_ready()
        await node.hear_status("offline")
        assert await system.registry.remove(node.node_id or "", "op", "scrapped")
        told = await node.hear_status("offline")
        assert told["reason"] == "removed"
        await node.beat()
        assert (await node.hear_type("node_error"))["code"] == "NOT_REGISTERED"
        assert await system.registry.node(node.node_id or "") is None
        assert (await node.register(node_id=node.node_id))["status"] == "registering"
        assert await system.registry.node(node.node_id or "") is not None
