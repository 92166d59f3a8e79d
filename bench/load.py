"""Node sockets for the gateway's benchmark, in a process of their own, told what to do on stdin.

`open FROM COUNT` connects and registers nodes, `beat COUNT ROUNDS PER_S` sends heartbeats of the
first nodes at a steady pace, `end` closes all. Each is answered with one line when done.
Frames are made once and masked once, so that this process is cheap beside what it measures.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from bench.nodes import heartbeat_text, node_name, register_text

_GROUP = 20
_ACKED = b"node_register_ack"


def masked(text: str) -> bytes:
    """One text frame as a client sends it."""
    data, key = text.encode(), os.urandom(4)
    size = len(data)
    head = bytes([0x81, 0x80 | size]) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + key + bytes(b ^ key[i % 4] for i, b in enumerate(data))


class Socket(asyncio.Protocol):
    """One node's socket."""

    def __init__(self, number: int, port: int) -> None:
        name = node_name(number)
        self._port = port
        self._register = masked(register_text(name))
        self._received = b""
        self._upgraded = False
        self.beat = masked(heartbeat_text(name))
        self.acked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(
            f"GET /ws/node HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if self.acked.done():
            return
        self._received += data
        if not self._upgraded and b"\r\n\r\n" in self._received:
            self._upgraded = True
            assert self.transport is not None
            self.transport.write(self._register)
        if _ACKED in self._received:
            self.acked.set_result(None)
            self._received = b""
        elif b"node_error" in self._received:
            self.acked.set_exception(RuntimeError(repr(self._received[-300:])))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.acked.done():
            self.acked.set_exception(ConnectionError(f"closed: {self._received[-300:]!r}"))


async def _opened(number: int, port: int) -> Socket:
    loop = asyncio.get_running_loop()
    _, socket = await loop.create_connection(lambda: Socket(number, port), "127.0.0.1", port)
    await asyncio.wait_for(socket.acked, 20)
    return socket


async def _beat(sockets: list[Socket], rounds: int, per_s: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    for _ in range(rounds):
        for low in range(0, len(sockets), _GROUP):
            group = sockets[low : low + _GROUP]
            for socket in group:
                assert socket.transport is not None
                socket.transport.write(socket.beat)
            due += len(group) / per_s
            await asyncio.sleep(max(0.0, due - loop.time()))


async def serve(port: int) -> None:
    """Does what stdin says."""
    sockets: list[Socket] = []
    while line := await asyncio.to_thread(sys.stdin.readline):
        words = line.split()
        answer: Any = "done"
        try:
            if words[0] == "open":
                first, count = int(words[1]), int(words[2])
                for low in range(first, first + count, _GROUP):
                    numbers = range(low, min(low + _GROUP, first + count))
                    sockets += await asyncio.gather(*(_opened(n, port) for n in numbers))
            elif words[0] == "beat":
                await _beat(sockets[: int(words[1])], int(words[2]), float(words[3]))
            elif words[0] == "end":
                break
        except Exception as error:  # noqa: BLE001 - the other side decides
            answer = f"failed {error!r}"
        print(answer, flush=True)
    for socket in sockets:
        if socket.transport is not None:
            socket.transport.abort()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
