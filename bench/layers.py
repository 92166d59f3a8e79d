"""`python -m bench.layers`: what a WebSocket layer takes by itself, without a network.

Three of them: ours (the short way of a heartbeat, with its bookkeeping of arrival and floods; its
socket and its upgrade are the whole of uvicorn's protocol and `websockets`, with the application's
task), `websockets` alone, and picows alone. Each is given the same upgrade and the same heartbeat,
over a transport that goes nowhere. Processor time of a loop, the best of some repeats; memory as
Python's allocators account it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import picows
import uvicorn
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in its public part
from uvicorn.server import ServerState
from websockets.server import ServerProtocol

from bench.load import masked
from bench.nodes import heartbeat_text, node_name
from gateway.buffers import Buffers
from gateway.clock import StallClock
from gateway.flooding import FloodedProtocol

_HEAD = (
    b"GET /ws/node HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_FRAMES, _SOCKETS, _REPEATS = 20_000, 400, 7
_LARGEST = 8 * 1024 * 1024
_NO_LIMIT = 1e9

Feed = Callable[[bytes], None]


class _Nowhere:
    """A transport whose writes are dropped; picows wants a true socket to ask for its options."""

    def __init__(self, plug: socket.socket) -> None:
        self._plug = plug

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._plug if name == "socket" else default

    def get_write_buffer_size(self) -> int:
        return 1  # or picows would write past the transport

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


@dataclass(frozen=True)
class Layer:
    """`open` makes a socket whose upgrade was answered, and what takes its bytes."""

    name: str
    open: Callable[[], tuple[Any, Feed]]


def _ours(wire: _Nowhere) -> Layer:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    config = uvicorn.Config(app, ws=FloodedProtocol, ws_per_message_deflate=False, log_config=None)
    config.load()
    clock = StallClock()
    door = SimpleNamespace(messages=(_NO_LIMIT, _NO_LIMIT), leave=lambda key: None)
    state = {"stall_clock": clock, "buffers": Buffers(_LARGEST), "door": door}

    def opened() -> tuple[Any, Feed]:
        protocol = FloodedProtocol(config, ServerState(), state)
        protocol.connection_made(wire)  # type: ignore[arg-type]
        protocol.data_received(_HEAD)
        protocol.short = lambda payload, arrived, now: True
        clock.tick()
        return protocol, protocol.data_received

    return Layer("Muster's", opened)


def _websockets(wire: _Nowhere) -> Layer:
    def opened() -> tuple[Any, Feed]:
        protocol = ServerProtocol(max_size=_LARGEST)
        protocol.receive_data(_HEAD)
        (request,) = protocol.events_received()
        protocol.send_response(protocol.accept(request))  # type: ignore[arg-type]
        wire.write(b"".join(protocol.data_to_send()))

        def feed(data: bytes) -> None:
            protocol.receive_data(data)
            (frame,) = protocol.events_received()
            bytes(frame.data)  # type: ignore[union-attr]

        return (protocol, request), feed

    return Layer("websockets", opened)


class _Taking(picows.WSListener):
    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        frame.get_payload_as_bytes()


def _picows(wire: _Nowhere) -> Layer:
    # With a logger proper it would make a logger for each connection.
    logger = logging.LoggerAdapter(logging.getLogger("bench.picows"))

    def opened() -> tuple[Any, Feed]:
        protocol = WSProtocol(
            None, None, False, lambda request: _Taking(), logger, True, None, False, 1, 1,
            picows.WSAutoPingStrategy.PING_WHEN_IDLE, True, _LARGEST, None, 2048,
        )  # fmt: skip
        protocol.connection_made(wire)

        def feed(data: bytes) -> None:
            size = len(data)
            protocol.get_buffer(-1)[:size] = data
            protocol.buffer_updated(size)

        feed(_HEAD)
        return protocol, feed

    return Layer("picows", opened)


async def measure(layer: Layer, frame: bytes) -> tuple[float, float, float]:
    """µs a frame, µs an upgrade, bytes a socket."""
    _, feed = layer.open()
    await asyncio.sleep(0)
    per_frame = min(_spent(lambda: feed(frame), _FRAMES) for _ in range(_REPEATS))
    per_upgrade = min(_spent(lambda: layer.open(), _SOCKETS) for _ in range(_REPEATS))
    await asyncio.sleep(0)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = [layer.open() for _ in range(_SOCKETS)]
        await asyncio.sleep(0.1)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return per_frame, per_upgrade, (held - before) / len(kept)


def _spent(do: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        do()
    return (time.process_time() - began) / times * 1e6


async def _all() -> None:
    logging.getLogger("bench.picows").setLevel(logging.CRITICAL)
    frame = masked(heartbeat_text(node_name(1)))
    listening = socket.create_server(("127.0.0.1", 0))
    with listening, socket.create_connection(listening.getsockname()) as plug:
        for make in (_ours, _websockets, _picows):
            layer = make(_Nowhere(plug))
            per_frame, per_upgrade, held = await measure(layer, frame)
            print(
                f"{layer.name:11} {per_frame:6.2f} µs a heartbeat of {len(frame)} bytes, "
                f"{per_upgrade:4.0f} µs an upgrade, {held:6.0f} bytes a socket"
            )


if __name__ == "__main__":
    asyncio.run(_all())
