"""Heartbeats on the short way and on the way of all messages: the same comes of both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from websockets.frames import Frame, Opcode

from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.node import EXAMPLE, Node, metrics


@pytest_asyncio.fixture(params=[True, False], ids=["short way", "one way for all"])
async def node(system: System, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Node, str]]:
    """A registered node, and where its gateway is asked."""
    await system.start(sweepers=0, short_way=request.param, messages_burst=150, messages_per_s=20)
    async with Node(system.ws) as made:
        assert (await made.register())["type"] == "node_register_ack"
        yield made, system.http


def beat(**more: Any) -> bytes:
    return json.dumps({"type": "node_heartbeat", **more}).encode()


def frame(payload: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=True, extensions=[])


async def fine(url: str) -> int:
    """Beats of which the store said nothing else."""
    return int(float((await _line(url, "fine")).split()[-1]))


async def _line(url: str, outcome: str) -> str:
    start = f'muster_heartbeats_total{{outcome="{outcome}"}}'
    return next(x for x in (await metrics(url)).splitlines() if x.startswith(start))


async def test_frames_cut_and_joined_anywhere_are_counted_once_each(
    node: tuple[Node, str],
) -> None:
    socket, url = node
    write = socket.ws.transport.write
    one = frame(beat(resource_usage={"gpu_percent": 40.0, "running_jobs": 1}))
    sent = 0
    for cut in range(1, len(one), 7):
        write(one[:cut])
        await asyncio.sleep(0.003)
        write(one[cut:])
        sent += 1
    for joined in (one + one, one + one[:9], one[9:] + one, frame(b"?", Opcode.PING) + one):
        write(joined)
        await asyncio.sleep(0.003)
    sent += 6
    payload = beat()
    write(frame(payload[:9], fin=False))
    await asyncio.sleep(0.003)
    write(frame(payload[9:], Opcode.CONT))
    write(one)
    sent += 2
    await until(lambda: _counted(url, sent), f"{sent} beats are counted")


async def _counted(url: str, sent: int) -> bool:
    counted = await fine(url)
    assert counted <= sent
    return counted == sent


async def test_what_looks_like_a_heartbeat_inside_a_frame_is_none(node: tuple[Node, str]) -> None:
    socket, url = node
    inner = frame(beat())
    socket.ws.transport.write(inner)
    await until(lambda: _counted(url, 1), "a true one is counted")
    socket.ws.transport.write(bytes([0x81, 0x80 | len(inner), 0, 0, 0, 0]))
    await asyncio.sleep(0.05)
    socket.ws.transport.write(inner)
    assert await socket.close_code() == 1007, "a text that is not UTF-8"
    assert await fine(url) == 1


async def test_a_message_that_takes_long_is_not_overtaken(node: tuple[Node, str]) -> None:
    socket, url = node
    register = json.dumps(EXAMPLE | {"node_id": socket.node_id, "node_token": socket.token})
    for _ in range(20):
        await socket.say(register)
        await asyncio.sleep(0.0005)  # a read of its own, while the registration is under way
        await socket.say(beat().decode())
        assert (await socket.hear())["type"] == "node_register_ack"
    await until(lambda: _counted(url, 20), "every beat counted in the session before it")
    assert " 0.0" in await _line(url, "foreign")


async def test_what_came_is_shown_and_a_flood_is_limited(
    node: tuple[Node, str], system: System
) -> None:
    socket, _ = node
    usage = {"gpu_percent": 41.5, "running_jobs": 2, "fan": "loud"}
    await socket.say(beat(resource_usage=usage, timestamp=7).decode())

    async def shown() -> bool:
        detail = await system.registry.node(str(socket.node_id))
        assert detail is not None
        report = detail.subject.report
        return bool(report) and (report["resource_usage"], report["timestamp"]) == (usage, 7)

    await until(shown, "the report is shown")
    flood = frame(beat())
    for _ in range(200):
        socket.ws.transport.write(flood)
    assert (await socket.hear_type("node_error"))["code"] == "RATE_LIMITED"


async def test_beats_that_come_one_by_one_are_limited_as_well(node: tuple[Node, str]) -> None:
    socket, _ = node
    flood = frame(beat())
    told = asyncio.create_task(socket.hear_type("node_error"))
    for _ in range(600):
        if told.done():
            break
        socket.ws.transport.write(flood)
        await asyncio.sleep(0.001)  # a read of its own: nothing is joined, nothing waits its turn
    assert (await told)["code"] == "RATE_LIMITED"


async def test_a_beat_in_another_machines_name_is_refused_and_counts_for_nobody(
    node: tuple[Node, str],
) -> None:
    socket, url = node
    await socket.say(beat(node_id="node-SOMEBODY").decode())
    refused = await socket.hear_type("node_error")
    assert (refused["code"], refused["details"]["path"]) == ("INVALID_MESSAGE", "node_id")
    assert await fine(url) == 0
