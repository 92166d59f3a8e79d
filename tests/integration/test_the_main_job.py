"""The document's own flow, over real sockets against real processes."""

from __future__ import annotations

import asyncio

import pytest

from registry.listing import Filter
from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.node import Node, node_row, selected


async def test_a_machine_registers_beats_becomes_ready_falls_silent_and_is_offline(
    system: System,
) -> None:
    await system.start(gateways=2, sweepers=2)
    async with Node(system.ws) as node:
        ack = await node.register()
        assert ack["status"] == "registering"
        assert ack["message"] == "registered"
        for _ in range(3):
            await node.beat()
        ready = await node.hear_status("ready")
        assert (ready["previous"], ready["reason"]) == ("registering", "healthy")
        assert node.node_id is not None
        other = system.gateways[1]
        assert await selected(other.url) == [node.node_id]
        assert (await node_row(other.url, node.node_id))["status"] == "ready"
        offline = await node.hear_status("offline")
        assert offline["reason"] == "heartbeat_timeout"
        assert await selected(system.http) == []
        assert offline["version"] > ready["version"] > ack["version"]


async def test_without_a_gpu_the_answer_is_the_documents(system: System) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws) as node:
        answer = await node.register(hardware={"cpu_cores": 16, "memory_gb": 32, "gpus": []})
        assert answer == {
            "type": "node_error",
            "node_id": None,
            "code": "NO_GPU_AVAILABLE",
            "message": "节点注册失败: 必须提供 GPU 信息",
            "details": None,
        }
        assert (await node.register())["type"] == "node_register_ack"


async def test_a_refused_registration_leaves_no_trace(system: System) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws) as node:
        await node.register(node_id="trace", hardware={"gpus": []})
        await node.register(node_id="trace", capability_schema_version="9.9")
    assert await system.registry.existing("trace") is None
    assert (await system.registry.listed(Filter(), 10))[0] == []


async def test_a_node_hears_in_english_when_it_asks(system: System) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws, additional_headers={"Accept-Language": "en-GB,en"}) as node:
        answer = await node.register(hardware={"gpus": []})
        assert "GPU" in answer["message"]
        assert "节点" not in answer["message"]


async def test_messagepack_speaks_the_same_protocol(system: System) -> None:
    import msgpack

    await system.start()
    from tests.support.node import EXAMPLE

    async with Node(system.ws, subprotocols=["muster.v1.msgpack"]) as node:
        assert node.ws.subprotocol == "muster.v1.msgpack"
        await node.say(msgpack.packb(EXAMPLE))
        frame = await asyncio.wait_for(node.ws.recv(), 60)
        assert isinstance(frame, bytes)
        ack = msgpack.unpackb(frame)
        assert ack["type"] == "node_register_ack"
        for _ in range(3):
            await node.say(msgpack.packb({"type": "node_heartbeat"}))
        status = msgpack.unpackb(await asyncio.wait_for(node.ws.recv(), 60))
        assert status["status"] == "ready"


async def test_three_beats_within_a_second_are_three_verdicts(system: System) -> None:
    await system.start()
    async with Node(system.ws) as node:
        await node.become_ready()
        row = await node_row(system.http, node.node_id or "")
        assert [v["verdict"] for v in row["verdicts"]] == ["P", "P", "P"]


async def test_sloppy_beats_count_and_are_shown(system: System) -> None:
    await system.start()
    async with Node(system.ws) as node:
        await node.register()
        for _ in range(3):
            await node.beat(timestamp="now", resource_usage={"cpu_percent": "much"}, health=7)
        await node.hear_status("ready")
        row = await node_row(system.http, node.node_id or "")
        assert any("cpu_percent" in w for w in row["report"]["report_warnings"])


async def test_a_second_schema_node_without_models_becomes_ready(system: System) -> None:
    await system.start()
    async with Node(system.ws) as node:
        await node.become_ready(
            capability_schema_version="2.0",
            installed_models=[],
            installed_services=[{"service_id": "x", "type": "asr", "device": "gpu"}],
            capability_by_type=[{"type": "asr", "ready": True}, {"type": "nmt", "ready": True}],
            language_capabilities={"asr_languages": ["zh"], "semantic_languages": ["en", "zh"]},
        )
        assert await selected(system.http) == [node.node_id]


async def test_models_that_change_in_a_beat_change_what_is_selected(system: System) -> None:
    await system.start()
    async with Node(system.ws) as node:
        await node.become_ready()
        await node.beat(
            installed_models=[{"model_id": "t", "kind": "tts", "version": "1", "tgt_lang": "fr"}]
        )

        async def moved() -> bool:
            speaks = await selected(system.http, kind="tts", tgt_lang="fr")
            return speaks == [node.node_id] and await selected(system.http) == []

        await until(moved, "selection follows the models")


@pytest.mark.parametrize("stopped", ["heartbeat_ack"])
async def test_a_node_that_asks_is_acknowledged(system: System, stopped: str) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws) as node:
        await node.register(**{stopped: True})
        await node.beat()
        ack = await node.hear_type("node_heartbeat_ack")
        assert ack["store"] == "ok"
        assert 0 < ack["next_ms"] <= 500


@pytest.mark.parametrize("asks", [True, False])
async def test_a_node_whose_registration_waited_with_us_is_asked_for_a_beat_soon(
    system: System, asks: bool
) -> None:
    """Its life counts from its frame, so that the next beat is due sooner than it thinks."""
    await system.start(sweepers=0, heartbeat_timeout_s=30.0, redis_timeout_s=20.0, max_lag_s=20.0)
    async with Node(system.ws) as node:
        store = system.backend.servers[0]
        store.pause()
        try:
            answer = asyncio.create_task(node.register(heartbeat_ack=asks))
            await asyncio.sleep(1.0)  # two intervals
            assert not answer.done()
        finally:
            store.resume()
        assert (await answer)["type"] == "node_register_ack"
        if asks:
            hint = await node.hear_type("node_heartbeat_ack")
            assert 0 < hint["next_ms"] <= 500
        else:
            await node.say({"type": "node_register", "node_id": 7})
            assert (await node.hear())["type"] == "node_error", "nothing came before it"
