"""Bytes of one socket: uvicorn's protocol, and the handle our conversation holds on it.

ASGI hides what this gateway needs: when a frame arrived, whether a pong came, how much is
buffered, and sending without waiting. `NodeProtocol` is given to uvicorn as its WebSocket class
and puts a `Transport` into `scope["extensions"]["muster"]`; every received message carries
`arrived`, the earliest instant at which it may have reached this machine.

Three rules. Sending never waits: a reader so slow that its backlog passes a bound is dropped.
Reading pauses while a message is unread, so what is read after a long pause is as old as that
pause. And whatever bytes come are a sign of life, as old as the clock says they may be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame
from websockets.frames import apply_mask as _apply_mask  # type: ignore[attr-defined]
from websockets.http11 import Request
from websockets.streams import StreamReader

from gateway.buffers import Buffers
from gateway.clock import GAP_S, POLLS, StallClock, monotonic
from gateway.mailbox import AtOnce, Mailbox
from muster.wire.closing import CloseCode

FULL_READ = 64 * 1024
BACKLOG_LIMIT = 1024 * 1024
_LAST_WORD_S = 1.0
_TEXT_WHOLE = 0x81  # FIN, no extension, a text frame
_MASKED = 0x80
_LENGTH_IN_TWO = 126
_AT_ONCE = AtOnce()


# Where the parser waits when no frame has begun. It is the only way to know: an empty buffer may
# follow half a frame.
_AT_A_FRAME_S_BEGINNING: Any = StreamReader.at_eof.__code__

apply_mask: Callable[[bytes, bytes], bytes] = _apply_mask

Short = Callable[[bytes, float, float], bool]
"""Takes a message's bytes, when they may have arrived, and now; False if it can't handle it."""


def whole_text(data: bytes) -> bytes | None:
    """The payload if these are exactly one text frame, whole, from a client, and not large; None
    for anything else. RFC 6455, section 5.2."""
    size = len(data)
    if size < 6 or data[0] != _TEXT_WHOLE:
        return None
    length = data[1] - _MASKED
    if length == size - 6:
        return apply_mask(data[6:], data[2:6]) if length < _LENGTH_IN_TWO else None
    if length != _LENGTH_IN_TWO or size < 8 or (data[2] << 8 | data[3]) != size - 8:
        return None
    return apply_mask(data[8:], data[4:8])


class NodeProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol with arrival times, pings on request and bounded buffers.

    The lifespan state must hold `stall_clock` (StallClock) and `buffers` (Buffers).
    """

    # What every heartbeat touches lies together, and not in uvicorn's own large dictionary: of a
    # fleet's sockets none is in the processor's cache when its turn comes.
    __slots__ = (
        "_arrived", "_held", "_paused_at", "_queued", "_suspicion", "_waiting_since",
        "buffers", "clear", "clock", "heard_observed", "last_heard", "lost", "short",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue = Mailbox()  # type: ignore[assignment]
        self.writable = _AT_ONCE  # type: ignore[assignment]
        self.clock: StallClock = self.app_state["stall_clock"]
        self.buffers: Buffers = self.app_state["buffers"]
        self.last_heard = monotonic()
        self.heard_observed = self.clock.observed()
        self._arrived = self.last_heard
        self._waiting_since: float | None = None
        self._suspicion = 0
        self._paused_at = 0.0
        self._queued = 0
        self._held = 0
        self.lost = False
        self.short: Short | None = None
        self.clear = False  # the short way was open last, and nothing has changed that since

    def data_received(self, data: bytes) -> None:
        now = self.clock.look()
        arrived = self.clock.arrived(now)
        if self._waiting_since is not None:
            arrived = min(arrived, self._waiting_since)
            self._waiting_since = None
        if len(data) >= FULL_READ and monotonic() - arrived > GAP_S:
            self._suspect(arrived)
        self._arrived = arrived
        if arrived > self.last_heard:
            self.last_heard = arrived
        self.heard_observed = self.clock.lived(now)
        short = self.short
        if short is not None and (self.clear or self._between_messages()):
            payload = whole_text(data)
            if payload is not None and short(payload, arrived, now):
                self.clear = not self.close_sent
                return
        self.clear = False
        super().data_received(data)
        self._account()

    def _between_messages(self) -> bool:
        """Whether all that came was parsed, was whole, and was taken."""
        parsing: Any = self.conn.parser.gi_yieldfrom  # type: ignore[attr-defined]
        waits_in = parsing and parsing.gi_yieldfrom
        return (
            waits_in is not None
            and waits_in.gi_code is _AT_A_FRAME_S_BEGINNING
            and not self.frames
            and self.queue.empty()
            and not self.close_sent
            and not self.lost
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.short = None  # it leads to the conversation, which leads back here
        super().connection_lost(exc)
        self.buffers.change(self, self._held, 0)
        self._held = 0

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions: Any = self.scope["extensions"]
            extensions["muster"] = Transport(self)

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept":
            # Nobody reads them again, and they would be a tenth of what an idle socket holds.
            self.request.headers.clear()
            self.response.headers.clear()

    def handle_text(self, event: Frame) -> None:
        super().handle_text(event)
        event.data = b""  # the parser keeps its last frame, and what takes the short way is none

    def handle_bytes(self, event: Frame) -> None:
        super().handle_bytes(event)
        event.data = b""

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        event.data = b""

    def handle_pong(self, event: Frame) -> None:
        """Nothing more: that bytes came was noted already."""

    def send_receive_event_to_app(self) -> None:
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        event: Any = {"type": "websocket.receive", "arrived": self._arrived, "size": len(data)}
        if self.curr_msg_data_type == "text":
            try:
                event["text"] = bytes(data).decode()
            except UnicodeDecodeError:
                self.conn.send_close(1007)
                self.handle_parser_exception()
                return
        else:
            event["bytes"] = bytes(data)
        self._queued += len(data)
        self.queue.put_nowait(event)
        if not self.read_paused:
            self.read_paused = True
            self._paused_at = self._arrived
            self.transport.pause_reading()

    async def receive(self) -> Any:
        event: Any = await super().receive()
        if not self.read_paused and self._paused_at:
            if monotonic() - self._paused_at > GAP_S:
                self._suspect(self._paused_at)
            self._paused_at = 0.0
        self._queued -= event.get("size", 0)
        if not self.lost:
            self._account()
        return event

    def overflow(self) -> None:
        """Too much is buffered, and most of it here."""
        transport = Transport(self)
        transport.close(CloseCode.OVERLOADED.code, CloseCode.OVERLOADED.reason)
        self.loop.call_soon(transport.abort)

    def _suspect(self, since: float) -> None:
        """The next read, if it comes at once, holds what arrived at any time after `since`."""
        self._waiting_since = since
        self._suspicion += 1
        self._hop(self._suspicion, POLLS)

    def _hop(self, suspicion: int, left: int) -> None:
        if suspicion != self._suspicion:
            return
        if left == 0:
            self._waiting_since = None
            return
        self.loop.call_soon(self._hop, suspicion, left - 1)

    def _account(self) -> None:
        held = self._queued + len(self.conn.reader.buffer) + sum(map(len, self.frames))
        if held != self._held:
            before, self._held = self._held, held
            self.buffers.change(self, before, held)


class Transport:
    """What a conversation may do with its socket. Nothing here waits or raises."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: NodeProtocol) -> None:
        self._protocol = protocol

    def shorten(self, short: Short | None) -> None:
        """Offers `short` every small text message that nothing else stands before, as it comes,
        without the way through the queue."""
        self._protocol.short = short

    @property
    def key(self) -> Hashable:
        """What stands for this socket at the door."""
        return self._protocol.transport

    async def receive(self) -> Any:
        """The next event of the socket; messages carry `arrived` (monotonic, s)."""
        return await self._protocol.receive()

    @property
    def last_heard(self) -> float:
        """The latest instant (monotonic, s) at which the peer certainly was heard."""
        return self._protocol.last_heard

    @property
    def heard_observed(self) -> float:
        """When bytes were last read, in observed seconds (see `StallClock.observed`).

        A socket that we ourselves don't read just now is not silent.
        """
        protocol = self._protocol
        return protocol.clock.observed() if protocol.read_paused else protocol.heard_observed

    @property
    def open(self) -> bool:
        protocol = self._protocol
        return (
            protocol.handshake_complete
            and not protocol.lost
            and not protocol.close_sent
            and not protocol.transport.is_closing()
        )

    def send(self, data: bytes, *, binary: bool) -> bool:
        """Writes one frame; False if the socket can't take it any more."""
        if not self.open:
            return False
        protocol = self._protocol
        try:
            if binary:
                protocol.conn.send_binary(data)
            else:
                protocol.conn.send_text(data)
        except InvalidState:
            return False
        return self._flush()

    def ping(self) -> None:
        """Asks for a pong; it shows up in `last_heard`."""
        if not self.open:
            return
        try:
            self._protocol.conn.send_ping(b"muster")
        except InvalidState:
            return
        self._flush()

    def close(self, code: int, reason: str) -> None:
        """Begins the closing handshake; the conversation then receives its disconnect."""
        if not self.open:
            return
        protocol = self._protocol
        protocol.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        try:
            protocol.conn.send_close(code, reason)
        except InvalidState:
            return
        protocol.transport.write(b"".join(protocol.conn.data_to_send()))
        protocol.close_sent = True
        protocol.clear = False
        if protocol.read_paused:
            protocol.read_paused = False
            protocol.transport.resume_reading()
        protocol.close_timer = asyncio.get_running_loop().call_later(
            protocol.close_timeout, protocol.transport.close
        )

    def abort(self) -> None:
        """Drops the socket without further words."""
        if not self._protocol.lost:
            self._protocol.transport.abort()

    def abort_soon(self) -> None:
        """Drops the socket once what was written had its chance: nobody answers there."""
        asyncio.get_running_loop().call_later(_LAST_WORD_S, self.abort)

    def _flush(self) -> bool:
        protocol = self._protocol
        protocol.transport.write(b"".join(protocol.conn.data_to_send()))
        if protocol.transport.get_write_buffer_size() > BACKLOG_LIMIT:
            self.abort()
            return False
        return True
