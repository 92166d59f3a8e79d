"""A node socket that floods slows down itself and nobody else.

What one read brings may be tens of thousands of tiny frames. Three rules. Bytes are parsed a little
at a time, and the rest waits, unparsed, until what came out of them was taken. Messages beyond what
a socket may send are taken at the pace it may send them, with room for the answers that say so: the
rest waits in the peer's own buffers. And pings, pongs and pieces of one message, which no bucket of
the conversation sees, are counted here: who sends absurdly many is closed.

What comes before the upgrade is answered waits for the answer in the same way. RFC 6455, section
4.1, lets no client speak that early; one that does is understood, and its mistakes end as later
ones do.
"""

from __future__ import annotations

import asyncio
from typing import Any

from websockets.frames import Frame

from gateway.clock import GAP_S, monotonic
from gateway.door import Door
from gateway.limits import TokenBucket
from gateway.transport import BACKLOG_LIMIT, FULL_READ, NodeProtocol, Transport
from muster.wire.closing import CloseCode

SLICE_BYTES = 1024
"""Parsed at once at first; twice as much each time that it was only a part of one message."""
SLICE_MOST = 16 * 1024
PIECES_MOST = 4096
CONTROLS_BURST = 200
CONTROLS_PER_S = 10.0
ROOM = 4
"""How many times what a socket may send is taken, and answered RATE_LIMITED, without a pause."""


class FloodedProtocol(NodeProtocol):
    """A node socket of which a flood costs little, and whose place at the door is given back. The
    lifespan state must hold `door` (Door)."""

    __slots__ = ("_controls", "_door", "_patience_bytes", "_rest", "_rest_arrived", "_taken")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._door: Door = self.app_state["door"]
        now = monotonic()
        burst, per_s = self._door.messages
        self._taken = TokenBucket(burst * ROOM, per_s * ROOM, now)
        self._controls = TokenBucket(CONTROLS_BURST, CONTROLS_PER_S, now)
        self._rest = memoryview(b"")
        self._rest_arrived = 0.0
        self._early = False
        self._patience_bytes = SLICE_MOST

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.leave(self.transport)
        self._rest = memoryview(b"")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.close_sent:
            self._after_close(data)
            return
        if self.handshake_initiated and not self.handshake_complete:
            self._early = True
            self.transport.pause_reading()
        elif len(data) <= SLICE_BYTES and not self._rest:
            super().data_received(data)
            return
        was = bytes(self._rest)
        super().data_received(b"")  # notes that the peer was heard, and since when at the earliest
        self._rest_arrived = min(self._rest_arrived, self._arrived) if was else self._arrived
        self._keep(memoryview(was + data))
        self._feed()
        if len(data) >= FULL_READ and monotonic() - self._rest_arrived > GAP_S:
            self._suspect(self._rest_arrived)

    async def receive(self) -> Any:
        event = await super().receive()
        if event["type"] == "websocket.receive":
            wait_ms = self._taken.take(monotonic())
            if wait_ms:
                await asyncio.sleep(wait_ms / 1000)
        if self._rest and not self.read_paused:
            self._feed()
        return event

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self._early and self.handshake_complete:
            self._early = False
            self._listen()

    def _listen(self) -> None:
        """The upgrade is answered: what came before that has its turn."""
        if self.close_sent:
            self._keep(memoryview(b""))
            return
        self._feed()
        if not self.read_paused and not self.lost:
            self.transport.resume_reading()

    def handle_ping(self) -> None:
        super().handle_ping()
        if self.transport.get_write_buffer_size() > BACKLOG_LIMIT:
            self.transport.abort()
        self._control()

    def handle_pong(self, event: Frame) -> None:
        super().handle_pong(event)
        self._control()

    def handle_cont(self, event: Frame) -> None:
        if self.close_sent:
            self.frames = []
            return
        super().handle_cont(event)
        if len(self.frames) > PIECES_MOST:
            self._part(CloseCode.TOO_BIG)

    def _after_close(self, data: bytes) -> None:
        """Looks for the peer's own close, but not for long: nothing else matters any more. Beyond,
        nothing is read until the time for the closing handshake is over."""
        self._keep(memoryview(b""))
        if self._patience_bytes > 0:
            super().data_received(data[: self._patience_bytes])
        self._patience_bytes -= len(data)
        if self._patience_bytes <= 0 and not self.transport.is_closing():
            self.transport.pause_reading()

    def _control(self) -> None:
        if self._controls.take(monotonic()):
            self._part(CloseCode.POLICY)

    def _part(self, code: CloseCode) -> None:
        Transport(self).close(code.code, code.reason)
        self.frames = []
        self._keep(memoryview(b""))

    def _feed(self) -> None:
        """Parses what waits until a message comes out, which must be taken first."""
        size = SLICE_BYTES
        while self._rest and not self.lost and not self._early:
            piece, rest = bytes(self._rest[:size]), self._rest[size:]
            self._keep(rest)
            self._waiting_since = self._rest_arrived
            super().data_received(piece)
            if self.read_paused:
                return
            size = min(size * 2, SLICE_MOST)

    def _keep(self, rest: memoryview) -> None:
        """What waits counts as buffered."""
        self._queued += len(rest) - len(self._rest)
        self._rest = rest
