"""A name server of a test: it knows what it is told, and forgets as it is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

_A = 1
_REFERS_TO_THE_QUESTION = b"\xc0\x0c"


class Names(asyncio.DatagramProtocol):
    """IPv4 addresses by name; a name that is not there does not exist."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.port = 0
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        labels, at = [], 12
        while length := data[at]:
            labels.append(data[at + 1 : at + 1 + length].decode())
            at += length + 1
        question = data[12 : at + 5]
        kind = int.from_bytes(data[at + 1 : at + 3], "big")
        address = self.known.get(".".join(labels).lower())
        answers = b""
        if address and kind == _A:
            # Class IN, kept for no time, four bytes.
            head = _A.to_bytes(2, "big") + b"\0\1" + bytes(4) + b"\0\4"
            answers = _REFERS_TO_THE_QUESTION + head + socket.inet_aton(address)
        flags = b"\x81\x80" if address else b"\x81\x83"
        counts = b"\0\1" + (b"\0\1" if answers else b"\0\0") + bytes(4)
        self._transport.sendto(data[:2] + flags + counts + question + answers, addr)


@asynccontextmanager
async def names() -> AsyncIterator[Names]:
    """A name server on a port of its own."""
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    try:
        yield made
    finally:
        transport.close()
