"""What a socket keeps of a message that was handled: nothing, as the next may be long in coming."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
import weakref
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode

from gateway.buffers import Buffers
from gateway.clock import StallClock
from gateway.connection import Connection
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings
from gateway.transport import NodeProtocol
from muster.wire.codec import JSON

HEAD = (
    b"GET /ws/node HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nX-Long: "
)
LARGE = 1_000_000


class Wire:
    """A transport that goes nowhere."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


async def accept_and_wait(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await asyncio.sleep(60)


@cache
def config() -> uvicorn.Config:
    made = uvicorn.Config(
        accept_and_wait, ws_max_size=4 * LARGE, ws_per_message_deflate=False, log_config=None
    )
    made.load()
    return made


async def open_socket(
    more: bytes = b"", kind: type[WebSocketsSansIOProtocol] = NodeProtocol
) -> Any:
    """A socket whose application took the upgrade and waits for nothing."""
    state = {"stall_clock": StallClock(), "buffers": Buffers(8 * LARGE)}
    protocol = kind(config(), ServerState(), state)
    protocol.connection_made(Wire())  # type: ignore[arg-type]
    protocol.data_received(HEAD + more + b"\r\n\r\n")
    for _ in range(5):
        await asyncio.sleep(0)
    assert protocol.handshake_complete
    return protocol


@pytest.mark.parametrize("pieces", [1, 2], ids=["whole", "in pieces"])
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
async def test_a_message_that_was_taken_is_held_no_longer(opcode: Opcode, pieces: int) -> None:
    protocol = await open_socket()
    size = LARGE // pieces
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(pieces):
            frame = Frame(Opcode.CONT if number else opcode, b"x" * size, number == pieces - 1)
            protocol.data_received(frame.serialize(mask=True, extensions=[]))
        del frame
        held, _ = tracemalloc.get_traced_memory()
        assert held - before > LARGE / 2, "it waits to be taken"
        await protocol.receive()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < LARGE / 20


async def test_the_head_of_the_upgrade_is_let_go_once_it_was_answered() -> None:
    protocol = await open_socket(b"y" * 4000)
    assert not protocol.request.headers
    assert not protocol.response.headers


class Event(dict[str, Any]):
    """One that can be watched going."""


async def test_a_conversation_that_waits_holds_nothing_of_the_message_before() -> None:
    settings = GatewaySettings()
    services: Any = SimpleNamespace(settings=settings, clock=StallClock(), metrics=Metrics())
    transport: Any = SimpleNamespace(
        shorten=lambda short: None, send=lambda data, binary: True, open=True
    )
    connection = Connection(
        services, transport, JSON, locale="en", admitted=True, address="192.0.2.1"
    )
    waiting = asyncio.Event()
    first: list[Event] = [Event(type="websocket.receive", text="no JSON", arrived=0.0)]
    watched = weakref.ref(first[0])

    async def receive() -> Event:
        if first:
            return first.pop()
        waiting.set()
        await asyncio.sleep(60)
        raise AssertionError

    run = asyncio.create_task(connection.run(receive))
    async with asyncio.timeout(5):
        await waiting.wait()
    held = watched()
    run.cancel()
    assert held is None


async def memory_of(kind: type[WebSocketsSansIOProtocol]) -> float:
    """Bytes of one idle socket."""
    await open_socket(kind=kind)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = [await open_socket(kind=kind) for _ in range(50)]
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / len(kept)


async def test_an_idle_socket_takes_less_memory_than_uvicorns_own() -> None:
    own, uvicorns = await memory_of(NodeProtocol), await memory_of(WebSocketsSansIOProtocol)
    assert own < 0.7 * uvicorns
