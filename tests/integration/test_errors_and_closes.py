"""Every error code and every close code of the wire's tables, met over a real socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from muster.wire.closing import CLOSE_CODES
from muster.wire.errors import ErrorCode
from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.node import EXAMPLE, Node, metrics

Story = Callable[[System], Awaitable[None]]

BETWEEN_BEATS_MS = 500


async def no_gpu(system: System) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws) as node:
        assert (await node.register(hardware={}))["code"] == "NO_GPU_AVAILABLE"


async def invalid(system: System) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws) as node:
        answer = await node.register(hardware={"gpus": [{"name": "x", "memory_gb": "8"}]})
        assert answer["code"] == "INVALID_MESSAGE"
        assert answer["details"]["path"] == "hardware.gpus[0].memory_gb"
        assert "memory_gb" in answer["message"]
        for _ in range(2):
            await node.say({"type": "nonsense"})
        await node.say({"type": "other_nonsense"})
        assert (await node.hear())["code"] == "INVALID_MESSAGE"
        assert (await node.hear())["code"] == "INVALID_MESSAGE"
        assert (await node.register())["type"] == "node_register_ack"
        await node.beat(node_id="node-STRANGER")
        assert (await node.hear_type("node_error"))["code"] == "INVALID_MESSAGE"


async def schema(system: System) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws) as node:
        answer = await node.register(capability_schema_version="9.9")
        assert answer["code"] == "INVALID_CAPABILITY_SCHEMA"
        assert answer["details"]["supported"] == ["1.0", "2.0"]


async def conflict(system: System) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws) as owner, Node(system.ws) as thief:
        await owner.register()
        answer = await thief.register(node_id=owner.node_id, node_token="wrong")
        assert answer["code"] == "NODE_ID_CONFLICT"
        assert not (answer["details"] or {}).get("retry_after_ms")


async def not_registered(system: System) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws) as node:
        await node.say({"type": "node_heartbeat", "node_id": "node-OLD00000"})
        assert (await node.hear())["code"] == "NOT_REGISTERED"
        assert (await node.register())["type"] == "node_register_ack"


async def unauthorized(system: System) -> None:
    await system.start(sweepers=0, join_tokens=["let-me-in"])
    async with Node(system.ws) as node:
        assert (await node.register())["code"] == "UNAUTHORIZED"
        assert await node.close_code() == 4501
    async with Node(system.ws + "?token=let-me-in") as node:
        assert (await node.register())["type"] == "node_register_ack"
    headers = {"Authorization": "Bearer let-me-in"}
    async with Node(system.ws, additional_headers=headers) as node:
        assert (await node.register())["type"] == "node_register_ack"
    assert "let-me-in" not in system.gateways[0].log()


async def rate_limited(system: System) -> None:
    await system.start(sweepers=0, messages_burst=5, messages_per_s=0.1)
    async with Node(system.ws) as node:
        await node.register()
        for _ in range(8):
            await node.beat()
        answer = await node.hear_type("node_error")
        assert answer["code"] == "RATE_LIMITED"
        assert answer["details"]["retry_after_ms"] > 0


async def unavailable(system: System) -> None:
    await system.start(sweepers=0, heartbeat_interval_s=BETWEEN_BEATS_MS / 1000)
    async with Node(system.ws) as node:
        store = system.backend.servers[0]
        store.pause()
        try:
            answer = await node.register()
            assert answer["code"] == "UNAVAILABLE"
            assert 0 < answer["details"]["retry_after_ms"] <= BETWEEN_BEATS_MS / 5
            assert "registration_put_off error=" in system.gateways[0].log()
        finally:
            store.resume()


async def internal(system: System) -> None:
    """The store's own records made unreadable: the nearest thing to a bug from outside."""
    await system.start(sweepers=0)
    client = system.registry.store.client
    await client.set(system.registry.keys.node("node-BROKEN00"), "not a hash")
    async with Node(system.ws) as node:
        answer = await node.register(node_id="node-BROKEN00")
        assert answer["code"] == "INTERNAL_ERROR"
        assert answer["details"]["trace_id"]
        assert answer["details"]["trace_id"] in system.gateways[0].log()
        assert (await node.register(node_id=None))["type"] == "node_register_ack"


ERRORS: dict[ErrorCode, Story] = {
    ErrorCode.NO_GPU_AVAILABLE: no_gpu,
    ErrorCode.INVALID_MESSAGE: invalid,
    ErrorCode.INVALID_CAPABILITY_SCHEMA: schema,
    ErrorCode.NODE_ID_CONFLICT: conflict,
    ErrorCode.NOT_REGISTERED: not_registered,
    ErrorCode.UNAUTHORIZED: unauthorized,
    ErrorCode.RATE_LIMITED: rate_limited,
    ErrorCode.UNAVAILABLE: unavailable,
    ErrorCode.INTERNAL_ERROR: internal,
}


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_an_error_code_is_met(system: System, code: ErrorCode) -> None:
    await ERRORS[code](system)


async def normal(system: System) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws) as node:
        await node.register()
        await node.ws.close(1000)
        assert node.ws.close_code == 1000


async def policy(system: System) -> None:
    await system.start(sweepers=0, unreadable_per_minute=3)
    async with Node(system.ws) as node:
        for _ in range(6):
            await node.say("{")
        assert await node.close_code() == 1008


async def too_big(system: System) -> None:
    await system.start(sweepers=0, max_message_bytes=300_000)
    async with Node(system.ws) as node:
        await node.say("x" * 400_000)
        assert await node.close_code() == 1009


async def restart(system: System) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws) as node:
        await node.register()
        system.gateways[0].terminate()
        frame = await node.hear_type("reconnect")
        assert frame["after_ms"] >= 0
        assert await node.close_code() == 1012


async def register_timeout(system: System) -> None:
    await system.start(sweepers=0, register_timeout_s=0.5)
    async with Node(system.ws) as node:
        assert await node.close_code() == 4408


async def superseded(system: System) -> None:
    await system.start(gateways=2, sweepers=0)
    async with Node(system.ws) as first, Node(system.gateways[1].ws_url) as second:
        await first.register()
        ack = await second.register(node_id=first.node_id, node_token=first.token)
        assert ack["type"] == "node_register_ack"
        assert await first.close_code() == 4409
        await second.beat(resource_usage={})
        assert (await system.registry.existing(first.node_id or "")) is not None


async def silent(system: System) -> None:
    """A client that stops reading and answering pings: half-open, as far as anyone can see."""
    await system.start(sweepers=0)
    async with Node(system.ws, ping_interval=None) as node:
        await node.register()
        node.ws.transport.pause_reading()

        async def reaped() -> bool:
            return 'muster_socket_closes_total{code="4410"} 1.0' in await metrics(system.http)

        await until(reaped, "the silent socket is reaped", every_s=0.1)
        node.ws.transport.resume_reading()


async def overloaded(system: System) -> None:
    await system.start(sweepers=0, buffer_limit_bytes=100_000)
    async with Node(system.ws) as node:
        await node.say("x" * 400_000)
        assert await node.close_code() == 4429


async def duplicate_identity(system: System) -> None:
    await system.start(sweepers=0, takeover_limit=2)
    async with AsyncExitStack() as machines:
        first = await machines.enter_async_context(Node(system.ws))
        await first.register(boot_id="boot-0")
        answers = []
        for i in range(1, 4):
            twin = await machines.enter_async_context(Node(system.ws))
            answers.append(
                await twin.register(
                    node_id=first.node_id, node_token=first.token, boot_id=f"boot-{i}"
                )
            )
        assert [a["type"] for a in answers[:2]] == ["node_register_ack"] * 2
        assert await twin.close_code() == 4509


CLOSES: dict[int, Story] = {
    1000: normal,
    1001: restart,
    1008: policy,
    1009: too_big,
    1012: restart,
    4408: register_timeout,
    4409: superseded,
    4410: silent,
    4429: overloaded,
    4501: unauthorized,
    4509: duplicate_identity,
}


@pytest.mark.parametrize("code", sorted(CLOSE_CODES))
async def test_a_close_code_is_met(system: System, code: int) -> None:
    await CLOSES[code](system)


async def test_a_frame_that_is_no_object_is_answered_and_the_socket_stays(
    system: System,
) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws) as node:
        for bad in ("[]", "{", '"x"', '{"type":1}', b"\x80"):
            await node.say(bad)
            assert (await node.hear())["code"] == "INVALID_MESSAGE"
        await node.say(dict(EXAMPLE))
        assert (await node.hear())["type"] == "node_register_ack"
