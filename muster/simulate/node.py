"""One simulated node: a life of sockets, one after the other, and what it saw written into a book.

It does what a careful agent does: keeps its id and token, beats when the server's interval is
over, comes back after a close as `muster.wire.closing` says, at a random moment. It never decides
what the fault means for the promises; it notes what happened and whether it was told to cause it.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import secrets
from typing import TYPE_CHECKING, cast

import msgspec

from muster.simulate import frames, words
from muster.simulate.frames import CLOSE, PING, PONG, TEXT, FrameError, close_code, masked
from muster.simulate.scenarios import Fault
from muster.wire.closing import retry_policy
from muster.wire.errors import ErrorCode
from muster.wire.messages import HeartbeatAck, NodeError, NodeStatus, Reconnect, RegisterAck

if TYPE_CHECKING:
    from muster.simulate.herd import Herd
    from muster.simulate.order import Server

_BACKOFF_MOST_S = 30.0
_CONNECT_S = 30.0
_GOOD_BEATS = 3


class Wire(asyncio.Protocol):
    """One socket of a node: bytes in, messages out."""

    __slots__ = ("_buffer", "_node", "_upgraded", "code", "transport")

    def __init__(self, node: Node) -> None:
        self._node = node
        self._buffer = bytearray()
        self._upgraded = False
        self.code = 1006
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are none of asyncio's, but do the same.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._node.upgrade())

    def data_received(self, data: bytes) -> None:
        if self._node.deaf:
            return
        buffer = self._buffer
        buffer += data
        if not self._upgraded:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            line = bytes(buffer[: buffer.find(b"\r\n")]).decode("ascii", "replace")
            del buffer[: end + 4]
            if " 101 " not in f"{line} ":
                self._node.refused(" ".join(line.split()[:2]))
                self.abort()
                return
            self._upgraded = True
            self._node.opened()
        try:
            for opcode, payload in frames.frames(buffer):
                if opcode == TEXT:
                    self._node.hear(payload)
                elif opcode == PING:
                    self.send(payload, PONG)
                elif opcode == CLOSE:
                    self.code = close_code(payload)
                    self.send(payload[:2], CLOSE)
                    self.close()
                    return
        except (FrameError, msgspec.DecodeError) as error:
            self._node.book.counts["unreadable"] += 1
            self._node.herd.first_error(f"unreadable from the server: {error}")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._node.lost(self)

    def send(self, payload: bytes, opcode: int = TEXT) -> None:
        if self.transport is not None:
            self.transport.write(masked(payload, opcode))

    def send_in_pieces(self, payload: bytes) -> None:
        """A frame whose second half comes a moment later."""
        if self.transport is None:
            return
        frame = masked(payload)
        half = len(frame) // 2
        self.transport.write(frame[:half])
        asyncio.get_running_loop().call_later(0.2, self._write, frame[half:])

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)


class Node:
    """One node. `struck` is what befalls it while the fault lasts."""

    __slots__ = (
        "_acked_at", "_after_s", "_asked_at", "_beats", "_boot_id", "_clone", "_connecting",
        "_due", "_last_beat", "_lost_at", "_never", "_server", "_task", "_third_at", "_timer",
        "_tries", "_was_silent", "_wire", "acks", "book", "deaf", "fault", "herd", "labels",
        "leaving", "node_id", "number", "registered", "status", "struck", "token",
    )  # fmt: skip

    def __init__(
        self, number: int, herd: Herd, labels: dict[str, str], struck: Fault, *, acks: bool
    ) -> None:
        self.number = number
        self.herd = herd
        self.book = herd.book
        self.labels = labels
        self.struck = struck
        self.acks = acks
        self.fault = Fault.NONE
        self.node_id: str | None = None
        self.token: str | None = None
        self.status = ""
        self.registered = False
        self.leaving = False
        self.deaf = False
        self._boot_id = secrets.token_hex(8)
        self._wire: Wire | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._clone: Node | None = None
        self._server = number // herd.order.processes
        self._tries = self._beats = 0
        self._connecting = self._asked_at = self._acked_at = self._third_at = 0.0
        self._due = self._last_beat = 0.0
        self._lost_at: float | None = None
        self._after_s: float | None = None
        self._never = False
        self._was_silent = False

    @property
    def connected(self) -> bool:
        return self._wire is not None and self._wire.transport is not None

    # Connecting

    def connect(self) -> None:
        """Begins a socket, unless it has one or is not to come back."""
        self._timer = None
        if self._task is None and not self.connected and not self.leaving and not self._never:
            self._task = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        server = self.server
        self._connecting = asyncio.get_running_loop().time()
        wire = self._wire = Wire(self)
        try:
            async with asyncio.timeout(_CONNECT_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: wire,
                    server.host,
                    server.port,
                    ssl=self.herd.tls if server.tls else None,
                    local_addr=self.herd.source(self.number),
                )
        except (OSError, TimeoutError) as error:
            self._wire = None
            name = type(error).__name__
            self.book.counts[f"not connected: {name}"] += 1
            self.herd.first_error(f"cannot connect to {server.url}: {error or name}")
            self._again(self._backoff())
        finally:
            self._task = None

    def upgrade(self) -> bytes:
        """The request that makes a WebSocket of the connection."""
        server = self.server
        token = self.herd.order.join_token
        bearer = f"Authorization: Bearer {token}\r\n" if token else ""
        return (
            f"GET {server.path} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            f"User-Agent: muster-simulate\r\nAccept-Language: en\r\n{bearer}\r\n"
        ).encode()

    def opened(self) -> None:
        self.book.counts["sockets opened"] += 1
        self._register()

    def refused(self, line: str) -> None:
        """The server answered the upgrade with something else."""
        self.book.counts[f"upgrade refused: {line}"] += 1
        self.herd.first_error(f"the upgrade was answered {line}")

    def lost(self, wire: Wire) -> None:
        """A socket ended, whoever ended it."""
        if wire is not self._wire and self._wire is not None:
            return
        now = asyncio.get_running_loop().time()
        self._wire = None
        if self.leaving:
            return
        self.book.counts[f"closed {wire.code}"] += 1
        if self.struck is Fault.CLONED and wire.code in (4409, 4509):
            self._doubted()
        if self.registered:
            self.registered = False
            self._lost_at = now
        self._wait_no_more()
        policy = retry_policy(wire.code)
        self._elsewhere()
        if policy == "never":
            self._never = True
        elif self.fault is not Fault.SILENT:
            soon = random.uniform(0.0, 1.0) if policy == "jitter" else self._backoff()
            if self._after_s is not None:
                soon = random.uniform(self._after_s, self._after_s * 1.25)
            self._again(soon)
        self._after_s = None

    def _elsewhere(self) -> None:
        """Another server, by chance: all to the same neighbour would be twice what it can hold."""
        self._server += random.randrange(1, max(2, len(self.herd.order.servers)))

    @property
    def server(self) -> Server:
        """The one it is at, or tries next."""
        return self.herd.order.servers[self._server % len(self.herd.order.servers)]

    def _backoff(self) -> float:
        bound = min(_BACKOFF_MOST_S, 2.0 ** min(self._tries, 10))
        self._tries += 1
        return random.uniform(0.0, bound)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _again(self, seconds: float) -> None:
        if not self.leaving:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.connect)

    # Speaking

    def _register(self) -> None:
        if self._wire is None:
            return
        self._asked_at = asyncio.get_running_loop().time()
        self._wire.send(
            words.register(
                self.number,
                self.labels,
                node_id=self.node_id,
                token=self.token,
                boot_id=self._boot_id,
                acks=self.acks,
            )
        )

    def _beat(self) -> None:
        self._timer = None
        if not self.registered or self._wire is None or self.node_id is None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        self.book.took("beat sent late", now - self._due)
        interval = self.herd.order.interval_s or self.herd.interval_s
        if self.fault is not Fault.SILENT:
            payload = words.heartbeat(self.node_id, well=self._is_well())
            if self.fault is Fault.SLOW:
                self._wire.send_in_pieces(payload)
            else:
                self._wire.send(payload)
            self._was_silent = False
            self.book.counts["beats"] += 1
            self._beats += 1
            self._last_beat = now
            if self._beats == _GOOD_BEATS:
                self._third_at = now
        self._due = max(self._due + interval, now)
        self._timer = loop.call_at(self._due, self._beat)

    def _is_well(self) -> bool:
        if self.fault is Fault.FLAPS:
            return self._beats % 4 == 0
        return self.fault is not Fault.GPU_LOST

    # Hearing

    def hear(self, payload: bytes) -> None:
        """One text frame of the server's."""
        match words.hear(payload):
            case RegisterAck() as ack:
                self._acked(ack)
            case NodeStatus() as change:
                self._changed(change)
            case NodeError() as error:
                self._failed(error)
            case HeartbeatAck() as ack:
                now = asyncio.get_running_loop().time()
                self.book.took("beat to its ack", now - self._last_beat)
                if ack.store != "ok":
                    self.book.counts["acks: store unavailable"] += 1
            case Reconnect() as asked:
                self.book.counts["asked to reconnect"] += 1
                self._after_s = asked.after_ms / 1000.0

    def _acked(self, ack: RegisterAck) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        again = self.node_id is not None
        self.node_id, self.token = ack.node_id, ack.node_token or self.token
        self.status, self.registered, self._tries = ack.status, True, 0
        self.herd.told(ack.heartbeat_interval_ms, ack.heartbeat_timeout_ms)
        self.book.counts["registered"] += 1
        self.book.took("registration to its ack", now - self._asked_at)
        self.book.took("connecting to registered", now - self._connecting)
        if again:
            self.book.counts["registered again"] += 1
            if ack.resumed:
                self.book.counts["resumed"] += 1
        if self._lost_at is not None:
            self.book.took("away", now - self._lost_at)
            self._lost_at = None
        self._acked_at, self._beats, self._third_at = now, 0, 0.0
        first = now
        if ack.resumed:
            self._beats = _GOOD_BEATS  # whether it becomes ready is no news
            first += random.uniform(0.0, self.herd.order.interval_s or self.herd.interval_s)
        if self.fault is Fault.SLOW:
            self._stop_reading()
        self._wait_no_more()
        self._due = self._last_beat = first
        self._timer = loop.call_at(first, self._beat)

    def _changed(self, change: NodeStatus) -> None:
        now = asyncio.get_running_loop().time()
        self.status = change.status
        self.book.counts[f"status {change.status}"] += 1
        since_beat = now - self._last_beat
        if change.status == "ready":
            if self._third_at:
                self.book.took("third beat to ready", now - self._third_at)
                self.book.took("registered to ready", now - self._acked_at)
                self._third_at = 0.0
            elif change.previous == "degraded":
                self.book.took("good beat to ready again", since_beat)
        elif change.status == "degraded":
            if self.struck in (Fault.GPU_LOST, Fault.FLAPS):
                self.book.took("third bad beat to degraded", since_beat)
                self.herd.seen("degraded", self.number)
            else:
                self._falsely("degraded", change)
        elif change.status == "offline" and not self.leaving:
            timeout_s = self.herd.timeout_s
            if change.reason != "heartbeat_timeout":
                self.book.counts[f"taken off: {change.reason}"] += 1
            elif self._was_silent or self.fault is Fault.SILENT:
                self.book.took("offline after the time-out", max(0.0, since_beat - timeout_s))
                self.book.counts["offline too soon"] += since_beat < timeout_s - 0.01
                self.herd.seen("offline", self.number)
            elif since_beat > timeout_s - 0.5:
                # No beat was sent for so long: this process stood still, the word is true.
                self.book.counts["offline by the simulator's own fault"] += 1
            else:
                self._falsely("offline", change)

    def _falsely(self, status: str, change: NodeStatus) -> None:
        self.book.counts[f"falsely {status}"] += 1
        self.herd.first_error(
            f"{change.node_id} falsely {status}: {change.reason}, {change.message}"
        )

    def _failed(self, error: NodeError) -> None:
        self.book.counts[f"error {error.code}"] += 1
        if self.struck is not Fault.CLONED:
            self.herd.first_error(f"{error.code}: {error.message}")
        else:
            self._doubted()
        if error.code not in words.RETRIED:
            return
        asked_ms = (error.details or {}).get("retry_after_ms")
        if error.code == ErrorCode.NODE_ID_CONFLICT and asked_ms is None:
            self.node_id = self.token = None  # as the protocol says: a new identity
        if error.code == ErrorCode.RATE_LIMITED and self.registered:
            return
        wait = asked_ms / 1000.0 if isinstance(asked_ms, int | float) else 1.0
        self.registered = False
        self._wait_no_more()
        self._timer = asyncio.get_running_loop().call_later(
            random.uniform(wait, wait * 1.25), self._register
        )

    # The fault

    def strike(self) -> None:
        """The fault begins."""
        self.fault = self.struck
        self._was_silent = self.fault is Fault.SILENT
        self.deaf = False
        if self.fault is Fault.SLOW:
            self._stop_reading()
        elif self.fault is Fault.CLONED:
            self._clone = Double(self)
            self._clone.connect()

    def heal(self) -> None:
        """The fault ends: a struck node does again what all do."""
        if self.fault is Fault.NONE:
            return
        self.fault = Fault.NONE
        if self._wire is not None and self._wire.transport is not None:
            self._wire.transport.resume_reading()
        if self._clone is not None:
            self._clone.quit()
            self._clone = None
        self._never = False
        if not self.connected and self._task is None and self._timer is None:
            self._again(random.uniform(0.0, 1.0))

    def _stop_reading(self) -> None:
        if self._wire is not None and self._wire.transport is not None:
            self._wire.transport.pause_reading()

    def _doubted(self) -> None:
        """The server knows of a double."""
        self.herd.seen("doubted", self.number)

    # Leaving

    def leave(self, *, unregister: bool) -> None:
        """Takes its leave: unregisters, so that nobody waits for it, and closes."""
        self.leaving = True
        self._wait_no_more()
        if self._clone is not None:
            self._clone.quit()
        if self._wire is None:
            return
        if unregister and self.registered and self._wire.transport is not None:
            self._wire.transport.resume_reading()
            self._wire.send(words.UNREGISTER)
            asyncio.get_running_loop().call_later(0.5, self.quit)
        else:
            self.quit()

    def quit(self) -> None:
        """Ends its socket."""
        self.leaving = True
        self._wait_no_more()
        if self._wire is not None:
            self._wire.send((1000).to_bytes(2, "big"), CLOSE)
            self._wire.close()


class Double(Node):
    """Another machine that has a node's saved identity; it comes and goes with the fault."""

    __slots__ = ()

    def __init__(self, of: Node) -> None:
        super().__init__(of.number, of.herd, of.labels, Fault.CLONED, acks=False)
        self.node_id, self.token = of.node_id, of.token

    def opened(self) -> None:
        self.book.counts["doubles: sockets opened"] += 1
        self._register()
