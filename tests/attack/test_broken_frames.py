"""Frames that no client library sends, byte by byte: each ends its own socket, and says why."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct

import pytest

from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.node import EXAMPLE, Node, metrics
from tests.support.raw import Wire, frame, wire

ACCEPT = b"101 Switching Protocols"


def sized(length: bytes, payload: bytes = b"", opcode: int = 1) -> bytes:
    """A masked frame that claims its length in these bytes."""
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


BROKEN: dict[str, tuple[bytes, int]] = {
    "unmasked": (frame(b"{}", masked=False), 1002),
    "an unmasked ping": (frame(b"", 9, masked=False), 1002),
    "the first reserved bit": (frame(b"{}", 0x40 | 1), 1002),
    "the second reserved bit": (frame(b"{}", 0x20 | 1), 1002),
    "the third reserved bit": (frame(b"{}", 0x10 | 1), 1002),
    "a reserved opcode": (frame(b"{}", 3), 1002),
    "a reserved control": (frame(b"", 0xB), 1002),
    "a ping in pieces": (frame(b"", 9, fin=False), 1002),
    "a ping of 126 bytes": (sized(b"\xfe\x00\x7e", bytes(126), 9), 1002),
    "a continuation of nothing": (frame(b"{}", 0), 1002),
    "a message within a message": (frame(b"{", fin=False) + frame(b"}"), 1002),
    "a length of 64 bits": (sized(b"\xff" + struct.pack("!Q", 2**63)), 1009),
    "a length above the most": (sized(b"\xff" + struct.pack("!Q", 8_388_609)), 1009),
    "a close of one byte": (frame(b"\x03", 8), 1002),
    "a close with no code there is": (frame(struct.pack("!H", 1005), 8), 1002),
    "a close whose reason is no text": (frame(struct.pack("!H", 1000) + b"\xff", 8), 1007),
    "a byte that is no text": (frame(b'{"a":"\xff"}'), 1007),
    "half a letter": (frame(b'"\xc3"'), 1007),
    "a letter too long": (frame(b'"\xc0\xaf"'), 1007),
    "half a pair": (frame(b'"\xed\xa0\x80"'), 1007),
    "a letter beyond the last": (frame(b'"\xf4\x90\x80\x80"'), 1007),
    "half a letter in each piece, and not the same": (
        frame(b'"\xc3', fin=False) + frame(b'\x28"', 0),
        1007,
    ),
}


async def close_code(stranger: Wire) -> int | None:
    """The code in the close frame that the gateway sends; None if it hangs up without one."""
    got = b""
    async with asyncio.timeout(20):
        while (at := got.rfind(b"\x88")) < 0 or len(got) < at + 4:
            if not (data := await stranger.reader.read(65_536)):
                return None
            got += data
    return int.from_bytes(got[at + 2 : at + 4])


async def test_a_frame_that_breaks_the_rules_ends_its_socket_and_nobody_elses(
    system: System,
) -> None:
    await system.start(sweepers=0)
    (gateway,) = system.gateways
    async with Node(system.ws) as honest:
        await honest.register(heartbeat_ack=True)
        for registered in (False, True):  # once registered, frames may take the short way
            for name, (broken, code) in BROKEN.items():
                async with wire(gateway.port) as stranger:
                    assert ACCEPT in await stranger.upgrade()
                    if registered:
                        await register(stranger)
                    await stranger.send(broken)
                    assert await close_code(stranger) == code, (name, registered)
        await honest.beat()
        await honest.hear_type("node_heartbeat_ack")
    assert "Traceback" not in gateway.log()

    async def all_gone() -> bool:
        return 'state="registered"} 0.0' in await metrics(system.http)

    await until(all_gone, "nobody is left")


async def register(stranger: Wire) -> None:
    await stranger.send(frame(json.dumps(EXAMPLE).encode()))
    async with asyncio.timeout(20):
        assert b"node_register_ack" in await stranger.reader.readuntil(b"}")


SLOW = (
    (b"\x81", b""),
    (b"\x81\xfe", b""),
    (b"\x81\xfe\x7f", b"\x00"),
    (b"\x81\xff\x00\x00\x00\x00\x00\x10", b"\x00"),
    (frame(b"{", fin=False) + b"\x80\xfe\x7f", b"\x00"),
    (frame(b"{", fin=False), frame(b" ", 0, fin=False)),
    (b"", frame(b"", 9)),
    (b"", frame(b"", 10)),
)
"""What is sent at once, and then a little of it each moment."""


async def test_half_a_registration_is_waited_for_no_longer_than_a_whole_one(
    system: System,
) -> None:
    """A byte a moment, a ping a moment: neither is a registration."""
    await system.start(sweepers=0, register_timeout_s=1.0)
    (gateway,) = system.gateways
    async with asyncio.TaskGroup() as slow:
        for first, then in SLOW:
            slow.create_task(_waits_in_vain(gateway.port, first, then))
    assert f'code="4408"}} {float(len(SLOW))}' in await metrics(system.http)


async def _waits_in_vain(port: int, first: bytes, then: bytes) -> None:
    async with wire(port) as stranger:
        assert ACCEPT in await stranger.upgrade()
        await stranger.send(first)

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await stranger.send(then)
                    await asyncio.sleep(0.1)

        dripping = asyncio.create_task(drip())
        try:
            assert await close_code(stranger) == 4408
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"type":"node_register","hardware":' * 20_000])
async def test_a_message_as_deep_as_it_is_long_is_answered(system: System, deep: str) -> None:
    await system.start(sweepers=0)
    async with Node(system.ws) as node:
        await node.say(deep)
        assert (await node.hear())["code"] == "INVALID_MESSAGE"
        assert (await node.register())["type"] == "node_register_ack"
