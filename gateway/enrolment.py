"""One socket's registrations: checks in the protocol's order, then one write.

A refused registration leaves no trace in the store. The hub entry stands before the write, so
that a change decided at once finds its socket; it waits in `Session.early` until the ack is out.
"""

from __future__ import annotations

import logging
import math
import random
import secrets
import string
from typing import TYPE_CHECKING

from gateway.admission import Accept, Attempt, Conflict, Duplicate, Outrun
from gateway.clock import monotonic
from gateway.limits import TokenBucket
from gateway.ownership import Claim
from gateway.session import Session, new_sid
from gateway.tokens import TokenCheck
from muster.wire.closing import CloseCode
from muster.wire.errors import SIMULATED_PATH, ErrorCode
from muster.wire.messages import SUPPORTED_SCHEMAS, HeartbeatAck, Register, RegisterAck
from registry import capabilities as can
from registry.errors import Contended, StoreUnavailable
from registry.logs import log
from registry.model import NewRegistration, OperatorLabels, Registered, Stale, Status

if TYPE_CHECKING:
    from gateway.connection import Connection

logger = logging.getLogger("muster.gateway.enrolment")

_ALPHABET = string.digits + string.ascii_uppercase
_LOOKS = 20
_SETTLE_S = 5.0


def new_node_id() -> str:
    """An id for a node that has none; created only if free."""
    return "node-" + "".join(secrets.choice(_ALPHABET) for _ in range(8))


class Enrolment:
    """Handles `node_register` on one socket."""

    __slots__ = ("_assigned", "_bucket", "_connection", "_lets_simulated_in", "own_sid")

    def __init__(self, connection: Connection, now: float) -> None:
        settings = connection.services.settings
        self._connection = connection
        self._bucket = TokenBucket(settings.registrations_burst, settings.registrations_per_s, now)
        self._lets_simulated_in = settings.lets_simulated_in
        self._assigned = False
        self.own_sid = ""

    async def register(self, message: Register, arrived: float) -> None:
        """Answers one registration, whatever becomes of it."""
        connection = self._connection
        connection.unregistered_since = connection.services.clock.observed()
        try:
            result = await self._register(message, arrived)
        except StoreUnavailable as error:
            result = "UNAVAILABLE"
            context = connection.log_context()
            log(logger, logging.INFO, "registration_put_off", error=str(error), **context)
            # Within the time-out it must come again, and be heard: at 15 s a beat in 1 to 3 s.
            interval_ms = connection.services.settings.heartbeat_interval_s * 1000
            again_ms = round(random.uniform(interval_ms / 15, interval_ms / 5))
            connection.refuse(ErrorCode.UNAVAILABLE, retry_after_ms=again_ms)
        finally:
            self._forget_incoming()
        connection.services.metrics.registrations.labels(result).inc()

    async def _register(self, message: Register, arrived: float) -> str:
        connection = self._connection
        retry_after_ms = self._bucket.take(monotonic())
        if retry_after_ms:
            connection.refuse(ErrorCode.RATE_LIMITED, retry_after_ms=retry_after_ms)
            return "RATE_LIMITED"
        if not connection.admitted:
            connection.refuse(ErrorCode.UNAUTHORIZED)
            connection.close(CloseCode.UNAUTHORIZED)
            return "UNAUTHORIZED"
        if message.labels.get("simulated") == "true" and not self._lets_simulated_in:
            connection.refuse(ErrorCode.INVALID_MESSAGE, path=SIMULATED_PATH, expected="a real GPU")
            return "INVALID_MESSAGE"
        if connection.node_id and message.node_id and message.node_id != connection.node_id:
            connection.refuse_id(connection.node_id)
            return "INVALID_MESSAGE"
        if not await connection.settle(_SETTLE_S):
            raise StoreUnavailable("beats of this socket are still under way")
        if connection.session is not None:
            self.own_sid = connection.session.sid
        for _ in range(_LOOKS):
            result = await self._attempt(message, arrived)
            if result is not None:
                return result
        raise Contended("the record changes faster than it can be read")

    async def _attempt(self, message: Register, arrived: float) -> str | None:
        """One look and one write; None if the store moved on in between."""
        connection = self._connection
        named = connection.node_id or message.node_id
        node_id = named or new_node_id()
        token = connection.services.node_tokens.check(node_id, message.node_token or None)
        if named:
            claim = await connection.services.ownership.claim(node_id, self._shown(message, token))
        else:
            claim = Claim(Accept("register"), None)
        if not isinstance(claim.decision, Accept):
            return self._turn_away(claim)
        if message.capability_schema_version not in SUPPORTED_SCHEMAS:
            connection.refuse(
                ErrorCode.INVALID_CAPABILITY_SCHEMA, supported=list(SUPPORTED_SCHEMAS)
            )
            return "INVALID_CAPABILITY_SCHEMA"
        return await self._write(node_id, message, token, claim, arrived, assigned=not named)

    def _shown(self, message: Register, token: TokenCheck) -> Attempt:
        return Attempt(
            token=token,
            boot_id=message.boot_id or "",
            attempt=message.attempt or 0,
            address=self._connection.address,
            own_sid=self.own_sid,
        )

    def _turn_away(self, claim: Claim) -> str:
        connection = self._connection
        match claim.decision:
            case Conflict(retry_after_ms=int(retry)):
                connection.refuse(ErrorCode.NODE_ID_CONFLICT, retry_after_ms=retry)
            case Conflict():
                connection.refuse(ErrorCode.NODE_ID_CONFLICT)
            case Outrun():
                connection.refuse(
                    ErrorCode.NODE_ID_CONFLICT,
                    retry_after_ms=round(connection.services.settings.heartbeat_timeout_s * 1000),
                )
            case Duplicate():
                connection.refuse(ErrorCode.NODE_ID_CONFLICT)
                connection.close(CloseCode.DUPLICATE_IDENTITY)
        return "NODE_ID_CONFLICT"

    async def _write(
        self,
        node_id: str,
        message: Register,
        token: TokenCheck,
        claim: Claim,
        arrived: float,
        *,
        assigned: bool,
    ) -> str | None:
        connection = self._connection
        assert isinstance(claim.decision, Accept)
        incoming = prepare(message, claim.labels)
        former = connection.session
        former_id = connection.node_id
        connection.incoming = incoming
        connection.node_id = node_id
        connection.services.hub.put(incoming.sid, connection)
        written: Registered | Stale | None = None
        try:
            new = new_registration(
                connection,
                incoming,
                claim.decision.kind,
                arrived,
                takeovers=claim.decision.takeovers,
                token_shown=token is TokenCheck.RIGHT,
                floor_session=former.session if former else 0,
                floor_version=former.version if former else 0,
                patience_s=self._patience_s(message),
            )
            written = await connection.services.registry.register(new, claim.existing)
        finally:
            if not isinstance(written, Registered):
                connection.services.hub.remove(incoming.sid, connection)
                connection.incoming = None
                connection.node_id = former_id
        if isinstance(written, Stale):
            if written.what == "age":
                raise StoreUnavailable("the registration is older than the time-out")
            return None
        self._assigned = self._assigned or assigned
        connection.token_shown = connection.token_shown or token is TokenCheck.RIGHT
        self._begin(written, token, arrived)
        return "resumed" if written.resumed else "registered"

    def _patience_s(self, message: Register) -> float:
        """How old a registration may be when it is written: its node must have time for the next
        heartbeat, which comes an interval after the answer, or sooner if it can be asked to."""
        settings = self._connection.services.settings
        next_s = settings.heartbeat_interval_s / (3 if message.heartbeat_ack else 1)
        return max(settings.heartbeat_timeout_s - 1.5 * next_s, settings.heartbeat_timeout_s / 2)

    def _begin(self, written: Registered, token: TokenCheck, arrived: float) -> None:
        """The store accepted: the new session is the socket's, and the ack its first frame."""
        connection = self._connection
        incoming = connection.incoming
        assert incoming is not None
        assert connection.node_id is not None
        adopt(connection, incoming, written)
        self.own_sid = incoming.sid
        entitled = self._assigned or connection.token_shown
        settings = connection.services.settings
        token_of = connection.services.node_tokens.issue
        connection.send(
            RegisterAck(
                node_id=connection.node_id,
                message="registered",
                status=written.status,
                node_token=(token_of(connection.node_id) if entitled else None) or None,
                session=written.session,
                version=written.version,
                heartbeat_interval_ms=round(settings.heartbeat_interval_s * 1000),
                heartbeat_timeout_ms=round(settings.heartbeat_timeout_s * 1000),
                warnings=incoming.warnings,
                resumed=True if written.resumed else None,
            )
        )
        waited_s = monotonic() - arrived
        late = waited_s > settings.heartbeat_interval_s
        if (written.resumed or late) and incoming.register.heartbeat_ack:
            left_s = max(0.0, settings.heartbeat_timeout_s - waited_s)
            next_s = min(settings.heartbeat_interval_s, left_s / 2)
            connection.send(
                HeartbeatAck(
                    node_id=connection.node_id,
                    next_ms=random.randint(1, max(1, round(next_s * 1000))),
                    store="ok",
                )
            )
        if incoming.early is not None:
            connection.tell(incoming.early, "relay")
        log(
            logger,
            logging.INFO,
            "registered",
            status=written.status,
            resumed=written.resumed,
            **connection.log_context(),
        )

    def _forget_incoming(self) -> None:
        connection = self._connection
        if connection.incoming is not None:
            connection.services.hub.remove(connection.incoming.sid, connection)
            connection.incoming = None


def prepare(message: Register, labels: OperatorLabels) -> Session:
    """A session about to begin with this registration, under an operator's labels."""
    return Session(
        sid=new_sid(),
        register=message,
        digest=can.digest(message, labels.values),
        capabilities=can.capabilities(message, labels.values),
        hardware_digest=can.hardware_digest(message),
        warnings=tuple(message.warnings),
        labels=labels,
    )


def new_registration(
    connection: Connection,
    incoming: Session,
    kind: str,
    arrived: float,
    *,
    takeovers: str = "",
    token_shown: bool = False,
    floor_session: int = 0,
    floor_version: int = 0,
    window: str = "",
    intent: str = "",
    patience_s: float = math.inf,
) -> NewRegistration:
    """The record to be written for a session about to begin."""
    message = incoming.register
    assert connection.node_id is not None
    return NewRegistration(
        node_id=connection.node_id,
        sid=incoming.sid,
        gateway=connection.services.gateway_id,
        kind=kind,
        registration=can.pack(message),
        digest=incoming.digest,
        capabilities=incoming.capabilities,
        hardware_digest=incoming.hardware_digest,
        public=message.accept_public_jobs,
        capacity=can.capacity(message, None),
        gpu_memory_gb=can.largest_gpu_gb(message),
        boot_id=message.boot_id or "",
        attempt=message.attempt or 0,
        address=connection.address,
        takeovers=takeovers,
        token_shown=token_shown,
        floor_session=floor_session,
        floor_version=floor_version,
        window=window,
        intent=intent,
        label_stamp=incoming.labels.stamp,
        arrived=arrived,
        patience_s=patience_s,
    )


def adopt(connection: Connection, incoming: Session, written: Registered) -> None:
    """Makes the session that the store accepted the socket's own."""
    if connection.session is not None:
        connection.services.hub.remove(connection.session.sid, connection)
    incoming.begin(written)
    if written.status == Status.DRAINING and not incoming.intent:
        incoming.intent = written.intent
    connection.session = incoming
    connection.incoming = None
