"""A client that does not wait for the answer to its upgrade. RFC 6455, section 4.1, forbids it, and
strangers may do it all the same: it must make no difference."""

from __future__ import annotations

import asyncio
import json
import re
import struct

import pytest

from tests.integration.conftest import System
from tests.support.node import EXAMPLE, metrics
from tests.support.raw import UPGRADE, Wire, frame, wire

HEAD = f"{UPGRADE}\r\n".encode()
REGISTER = frame(json.dumps({**EXAMPLE, "heartbeat_ack": True}).encode())
BEAT = frame(b'{"type":"node_heartbeat"}')
BYE = frame(struct.pack("!H", 1000), 8)


async def heard(stranger: Wire, last: bytes) -> bytes:
    """All that comes, up to `last`."""
    got = b""
    async with asyncio.timeout(20):
        while last not in got:
            more = await stranger.reader.read(65_536)
            assert more, got
            got += more
    return got


async def test_a_registration_in_the_packet_of_the_upgrade_is_heard_wherever_it_is_cut(
    system: System,
) -> None:
    await system.start(sweepers=0)
    (gateway,) = system.gateways
    said = HEAD + REGISTER
    for cut in (0, 1, 40, len(HEAD) - 2, len(HEAD), len(HEAD) + 1, len(said) - 1):
        async with wire(gateway.port) as stranger:
            await stranger.send(said[:cut])
            await asyncio.sleep(0.1)
            await stranger.send(said[cut:])
            got = await heard(stranger, b'"node_register_ack"')
            assert got.startswith(b"HTTP/1.1 101 "), cut
            await stranger.send(BEAT)
            await heard(stranger, b'"node_heartbeat_ack"')


async def test_all_that_is_said_early_is_answered_in_order_after_the_upgrade(
    system: System,
) -> None:
    await system.start(sweepers=0)
    (gateway,) = system.gateways
    padded = {**EXAMPLE, "version": "v" * 20_000, "heartbeat_ack": True}
    large = frame(json.dumps(padded).encode())
    pieces = frame(b'{"type":"node_', fin=False) + frame(b'heartbeat"}', 0)
    async with wire(gateway.port) as stranger:
        await stranger.send(HEAD + frame(b"early", 9) + large + BEAT + pieces)
        got = await heard(stranger, b'"node_heartbeat_ack"')
        while got.count(b'"node_heartbeat_ack"') < 2:
            got += await heard(stranger, b'"node_heartbeat_ack"')
        await stranger.send(BYE)
        got += await stranger.until_closed()
    said = (b"HTTP/1.1 101 ", b"\x8a\x05early", b'"node_register_ack"', b'"node_heartbeat_ack"')
    places = [got.index(each) for each in said]
    assert places == sorted(places)
    assert places[0] == 0
    assert got.endswith(b"\x88\x02\x03\xe8")


async def test_who_says_goodbye_in_the_packet_of_the_upgrade_is_answered_both(
    system: System,
) -> None:
    await system.start(sweepers=0)
    (gateway,) = system.gateways
    async with wire(gateway.port) as stranger:
        await stranger.send(HEAD + BYE)
        got = await stranger.until_closed()
    assert got.startswith(b"HTTP/1.1 101 ")
    assert got.endswith(b"\r\n\r\n\x88\x02\x03\xe8")


BROKEN = {"unmasked": frame(b"{}", masked=False), "no opcode": frame(b"{}", 3)}


@pytest.mark.parametrize("at_once", [True, False], ids=["one packet", "two packets"])
@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_frame_that_comes_early_ends_its_socket_as_a_later_one_would(
    system: System, broken: str, at_once: bool
) -> None:
    await system.start(sweepers=0)
    (gateway,) = system.gateways
    for _ in range(20):  # in two packets it may come before the answer or after it
        async with wire(gateway.port) as stranger:
            if at_once:
                await stranger.send(HEAD + BROKEN[broken])
            else:
                await stranger.send(HEAD)
                await stranger.send(BROKEN[broken])
            got = await stranger.until_closed()
            assert got.startswith(b"HTTP/1.1 101 ")
            code = got[got.index(b"\r\n\r\n") + 4 :]
            assert code[:1] == b"\x88"
            assert int.from_bytes(code[2:4]) == 1002
    assert "Traceback" not in gateway.log()
    assert await counted(system, "muster_bugs_total") == 0


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace(b"/ws/node", b"/nowhere"),
        HEAD.replace(b"\r\n\r\n", b"\r\nOrigin: https://else.where\r\n\r\n"),
        HEAD.replace(b"Version: 13", b"Version: 12"),
        HEAD.replace(b"\r\n\r\n", b"\r\nX-More: x" * 130 + b"\r\n\r\n"),
    ],
    ids=["no such path", "a foreign page", "no such version", "too many lines"],
)
async def test_what_stands_behind_a_refused_upgrade_is_no_request(
    system: System, head: bytes
) -> None:
    await system.start(sweepers=0)
    (gateway,) = system.gateways
    async with wire(gateway.port) as stranger:
        await stranger.send(head + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + REGISTER)
        got = await stranger.until_closed()
    assert len(re.findall(rb"HTTP/1\.1 \d{3} ", got)) == 1
    assert re.match(rb"HTTP/1\.1 4\d\d ", got)
    assert "Traceback" not in gateway.log()
    assert await counted(system, "muster_bugs_total") == 0


async def counted(system: System, series: str) -> float:
    """The sum of what this is found to say."""
    return sum(
        float(value) for value in re.findall(rf"^{series} (\S+)$", await metrics(system.http), re.M)
    )


async def test_an_upgrade_behind_a_request_that_is_not_answered_yet_is_none(
    system: System,
) -> None:
    """Its HTTP side would live on and lift the pauses of the WebSocket: a flood without a brake."""
    await system.start(sweepers=0)
    (gateway,) = system.gateways
    get = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for before in (get % b"readyz" + get % b"healthz", get % b"metrics"):
        async with wire(gateway.port) as stranger:
            await stranger.send(before + HEAD + REGISTER * 20)
            got = await stranger.until_closed()
            assert b"HTTP/1.1 101 " not in got and b"node_register_ack" not in got
