"""One socket's conversation: frames in, in order; frames out.

States: *unregistered* → (`node_register` accepted) → *registered* → (taken off) → *unregistered*.
Three rules. Frames are handled one after the other; a beat does not wait for its answer, but any
other message waits for the beats before it. A refusal leaves the socket open, as nodes in the
field reconnect badly. And a bug of ours is answered `INTERNAL_ERROR` with a trace id; it ends
neither the socket nor the process.

Nearly every frame is a heartbeat that reports nothing new. It need not wait its turn when nothing
is before it: the transport hands it over as it comes (`_short`), which saves a task switch and a
second reading. That way does nothing that the other does not; `MUSTER_SHORT_WAY=false` closes it.

What a registration needs is in `enrolment.py`, what a beat does in `pulse.py`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from gateway.clock import monotonic
from gateway.enrolment import Enrolment
from gateway.limits import Recent, TokenBucket
from gateway.pulse import Pulse
from gateway.services import Services
from gateway.session import Session, taken_off
from gateway.transport import Transport
from gateway.wheel import Due
from muster.wire.beating import short_heartbeat
from muster.wire.closing import CloseCode
from muster.wire.codec import Codec
from muster.wire.errors import ErrorCode, error_text, status_text
from muster.wire.invalid import InvalidMessage, WireError
from muster.wire.messages import (
    Heartbeat,
    JobResult,
    NodeError,
    NodeStatus,
    Reconnect,
    Register,
    Unknown,
    Unregister,
)
from muster.wire.reading import read
from registry.errors import StoreUnavailable
from registry.logs import log
from registry.model import Change, Status

logger = logging.getLogger("muster.gateway.connection")

T = TypeVar("T")

UNKNOWN_TYPES_KEPT = 64
INSIST_MOST_S = 1.0
_CLOSED_BELOW = (CloseCode.TOO_BIG.code, CloseCode.OVERLOADED.code)


class Connection:
    """The conversation over one socket."""

    __slots__ = (
        "_enrolment", "_messages", "_pulse", "_unknown", "_unreadable", "_waits", "address",
        "admitted", "codec", "incoming", "locale", "node_id", "services", "session", "token_shown",
        "transport", "unregistered_since",
    )  # fmt: skip

    def __init__(
        self,
        services: Services,
        transport: Transport,
        codec: Codec,
        *,
        locale: str,
        admitted: bool,
        address: str,
    ) -> None:
        settings = services.settings
        now = monotonic()
        self.services = services
        self.transport = transport
        self.codec = codec
        self.locale = locale
        self.admitted = admitted
        self.address = address
        self.node_id: str | None = None
        self.token_shown = False
        self.session: Session | None = None
        self.incoming: Session | None = None
        self.unregistered_since = services.clock.observed()
        self._messages = TokenBucket(settings.messages_burst, settings.messages_per_s, now)
        self._unreadable = Recent(settings.unreadable_per_minute, 60.0)
        self._unknown: set[str] = set()
        self._waits = False
        self._enrolment = Enrolment(self, now)
        self._pulse = Pulse(self)

    # What the wheel, the relay and the batcher see

    @property
    def registered(self) -> bool:
        return self.session is not None

    @property
    def heard(self) -> float:
        return self.transport.heard_observed

    @property
    def last_heard(self) -> float:
        return self.transport.last_heard

    @property
    def busy(self) -> bool:
        """Whether a message is being handled just now."""
        return not self._waits

    def ping(self) -> None:
        self.transport.ping()

    def reap(self, due: Due) -> None:
        """Closes the socket because a deadline passed."""
        silent = due is Due.SILENT
        self.close(CloseCode.SILENT if silent else CloseCode.REGISTER_TIMEOUT)
        if silent:
            self.transport.abort_soon()

    def give_way(self) -> None:
        """Closes the socket for a newcomer; it had its time to register."""
        self.transport.close(CloseCode.OVERLOADED.code, CloseCode.OVERLOADED.reason)
        self.transport.abort_soon()

    def relay(self, change: Change) -> None:
        """A change the registry published for this socket's session."""
        if self.session is not None and self.session.sid == change.sid:
            self.tell(change, "relay")
        elif self.incoming is not None and self.incoming.sid == change.sid:
            early = self.incoming.early
            if early is None or early.version < change.version:
                self.incoming.early = change

    def superseded(self, sid: str) -> None:
        """Another socket took the session's place; our own next session is not another's."""
        if self.incoming is None and self.session is not None and self.session.sid == sid:
            self.close(CloseCode.SUPERSEDED)

    def log_context(self) -> dict[str, Any]:
        return {
            "node_id": self.node_id,
            "sid": self.session.sid if self.session else None,
            "address": self.address,
        }

    # The conversation

    async def run(self, receive: Callable[[], Awaitable[Any]]) -> None:
        """Holds the conversation until the socket ends."""
        try:
            if self.services.settings.short_way and not self.codec.binary:
                self.transport.shorten(self._short)
            while True:
                self._waits = True
                event = await receive()
                self._waits = False
                if event["type"] == "websocket.disconnect":
                    self._closed_below(event.get("code"))
                    return
                await self._frame(event)
                del event  # it may be large, and the next may be long in coming
        finally:
            await self._end()

    def _closed_below(self, code: int | None) -> None:
        """Counts what was closed without `close`: too large, too much buffered, a place given."""
        if code in _CLOSED_BELOW:
            self.services.metrics.closes.labels(str(code)).inc()

    def _short(self, data: bytes, arrived: float, now: float) -> bool:
        """A heartbeat that reports nothing new, handled as it comes; False for all else, which
        then takes the way through `run`, and so does what is too much: there a flood waits."""
        session, node_id = self.session, self.node_id
        if session is None or node_id is None or not self._waits:
            return False
        message = short_heartbeat(data)
        if message is None or (message.node_id is not None and message.node_id != node_id):
            return False
        if self._messages.take(now):
            return False
        try:
            self._pulse.offer(session, node_id, message, arrived)
        except Exception as error:  # noqa: BLE001 - our bug: say so, and go on
            self._our_bug(error)
        return True

    async def _frame(self, event: Any) -> None:
        retry_after_ms = self._messages.take(monotonic())
        if retry_after_ms:
            self.refuse(ErrorCode.RATE_LIMITED, retry_after_ms=retry_after_ms)
            return
        data = event.get("bytes")
        binary = data is not None
        if data is None:
            data = event["text"]
        try:
            if binary is not self.codec.binary:
                kind = "a binary frame" if self.codec.binary else "a text frame"
                raise InvalidMessage(None, kind, unreadable=True)
            message = read(
                data, self.codec, max_report_bytes=self.services.settings.max_report_bytes
            )
            await self._handle(message, event["arrived"])
        except WireError as error:
            self._unfit(error)
        except StoreUnavailable as error:
            log(logger, logging.WARNING, "message_lost", error=str(error), **self.log_context())
        except Exception as error:  # noqa: BLE001 - our bug: say so, and go on
            self._our_bug(error)

    def _our_bug(self, error: Exception) -> None:
        trace_id = secrets.token_hex(8)
        log(
            logger,
            logging.ERROR,
            "internal_error",
            exc_info=error,
            trace_id=trace_id,
            **self.log_context(),
        )
        self.refuse(ErrorCode.INTERNAL_ERROR, trace_id=trace_id)

    async def _handle(self, message: Any, arrived: float) -> None:
        match message:
            case Heartbeat():
                if self._expects(message.node_id):
                    await self._pulse.beat(message, arrived)
            case Register():
                await self._enrolment.register(message, arrived)
            case JobResult():
                if self._expects(message.node_id):
                    await self._pulse.settle()
                    await self._pulse.job_result(message)
            case Unregister():
                if self._expects(None):
                    await self._pulse.settle()
                    await self._pulse.unregister(message)
            case Unknown():
                self._unheard_of(str(message.type))

    def _expects(self, node_id: str | None) -> bool:
        """Whether a message of a registered node may be handled; answers if not."""
        if self.session is None:
            self.refuse(ErrorCode.NOT_REGISTERED)
            return False
        if node_id and node_id != self.node_id:
            self.refuse_id(self.node_id)
            return False
        return True

    def _unfit(self, error: WireError) -> None:
        if error.type == "node_register":
            self.unregistered_since = self.services.clock.observed()
            self.services.metrics.registrations.labels(error.code.value).inc()
        self.refuse(error.code, **(error.details or {}))
        if error.unreadable and self._unreadable.add(monotonic()):
            self.close(CloseCode.POLICY)

    def _unheard_of(self, kind: str) -> None:
        if kind in self._unknown or len(self._unknown) >= UNKNOWN_TYPES_KEPT:
            return
        self._unknown.add(kind[:64])
        self.refuse(ErrorCode.INVALID_MESSAGE, path="type", expected="a known message type")

    async def _end(self) -> None:
        self._pulse.end()
        for session in (self.incoming, self.session):
            if session is not None:
                self.services.hub.remove(session.sid, self)
        session = self.session
        if session is None or self.node_id is None:
            return
        self.session = None
        try:
            await self.services.registry.closed(self.node_id, session.sid)
        except StoreUnavailable as error:
            log(logger, logging.DEBUG, "close_not_noted", error=str(error), **self.log_context())

    # What is said to the node

    def send(self, frame: Any) -> None:
        """Sends one message; never waits."""
        self.transport.send(self.codec.encode(frame), binary=self.codec.binary)

    def refuse(self, code: ErrorCode, /, **details: Any) -> None:
        """Answers `node_error`."""
        self.services.metrics.errors.labels(code.value).inc()
        self.send(
            NodeError(
                node_id=self.node_id if self.session is not None else None,
                code=code.value,
                message=error_text(code, self.locale, **details),
                details=details or None,
            )
        )

    def refuse_id(self, expected: str | None) -> None:
        """Answers that a message names another node than this socket's."""
        self.refuse(ErrorCode.INVALID_MESSAGE, path="node_id", expected=expected)

    def close(self, code: CloseCode) -> None:
        """Closes the socket for a reason both sides know."""
        if self.transport.open:
            self.services.metrics.closes.labels(str(code.code)).inc()
            self.transport.close(code.code, code.reason)

    def reconnect(self, after_ms: int, reason: str) -> None:
        """Asks the node to come back elsewhere, and closes."""
        self.send(Reconnect(after_ms=after_ms, reason=reason))
        self.close(CloseCode.SERVICE_RESTART)

    def tell(self, change: Change, way: str) -> None:
        """Tells the node a change it does not know yet."""
        session = self.session
        if session is None or not session.told(change):
            return
        self.services.metrics.relayed.labels(way).inc()
        self.send(
            NodeStatus(
                node_id=change.node_id,
                status=change.status,
                previous=change.previous,
                reason=change.reason,
                message=status_text(Status(change.status).value, change.reason, self.locale),
                timestamp=change.since,
                version=change.version,
            )
        )
        if taken_off(change):
            self.take_off()

    def take_off(self) -> None:
        """The node left deliberately: whatever comes now needs a registration first."""
        if self.session is not None:
            self.services.hub.remove(self.session.sid, self)
            self._enrolment.own_sid = self.session.sid
        self.session = None
        self.unregistered_since = self.services.clock.observed()

    # For enrolment and pulse

    async def settle(self, timeout_s: float | None = None) -> bool:
        """Waits for the beats under way; False if the time-out came first."""
        return await self._pulse.settle(timeout_s)

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeats a call until the store answers, or raises once the socket is gone."""
        pause = 0.05
        while True:
            try:
                return await call()
            except StoreUnavailable:
                if not self.transport.open:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, INSIST_MOST_S)
