"""A node socket by hand: bytes as they are, for what no client library would send."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

UPGRADE = (
    "GET /ws/node HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
_KEY = bytes(4)  # a mask of zeros is a mask


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True, masked: bool = True) -> bytes:
    """One frame of at most 65535 bytes, as a client sends it."""
    size = len(payload)
    head = bytes([opcode | (0x80 if fin else 0), min(size, 126) | (0x80 if masked else 0)])
    if size >= 126:
        head += struct.pack("!H", size)
    return head + (_KEY if masked else b"") + payload


@dataclass
class Wire:
    """One TCP connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until_closed(self, timeout_s: float = 15.0) -> bytes:
        """Everything that still comes; fails if the other side does not hang up in time."""
        got = b""
        async with asyncio.timeout(timeout_s):
            with contextlib.suppress(ConnectionError):
                while data := await self.reader.read(65_536):
                    got += data
        return got

    async def upgrade(self, more: str = "") -> bytes:
        """Asks for a WebSocket; the head of the answer."""
        await self.send(f"{UPGRADE}{more}\r\n".encode("latin-1"))
        async with asyncio.timeout(20):
            return await self.reader.readuntil(b"\r\n\r\n")


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """A connection that nobody has said anything on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
