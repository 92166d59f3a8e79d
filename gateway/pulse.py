"""One socket's heartbeats: what each is worth, and what the store's answer asks of us.

Every accepted heartbeat is one verdict and one beat. It carries the version the node was told
last; the answer repairs whatever a lost message or a failed-over store got wrong:

    TELL              the node is told the change it missed
    LOWER             the store lost a transition: mended, then told
    MISSING, OLDER    the store lost the node: its session is restored, then the beat sent again
    SILENT            offline by silence though the socket lives: revived, then sent again
    LEFT              taken off deliberately: told once, then NOT_REGISTERED
    FOREIGN           another socket has the id: this one is closed
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import structs

from gateway.enrolment import adopt, new_registration, prepare
from gateway.session import Session, taken_off
from muster.wire.closing import CloseCode
from muster.wire.errors import ErrorCode
from muster.wire.messages import Heartbeat, HeartbeatAck, JobResult, Register, Unregister
from registry import capabilities as can
from registry.errors import StoreError
from registry.health import judge
from registry.logs import log
from registry.model import (
    Beat,
    BeatAnswer,
    BeatOutcome,
    Change,
    Reason,
    Registered,
    Status,
    Verdict,
)

if TYPE_CHECKING:
    from gateway.connection import Connection

logger = logging.getLogger("muster.gateway.pulse")

_COUNTED = (BeatOutcome.TELL, BeatOutcome.LOWER)  # and FINE
_RENEWED = (BeatOutcome.FOREIGN, BeatOutcome.OLDER, BeatOutcome.MISSING, BeatOutcome.SILENT)
_LOOKS = 20


class Pulse:
    """Handles what a registered node reports on one socket."""

    __slots__ = ("_connection", "_former", "_idle", "_tasks", "_under_way", "_writing")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._under_way = 0
        self._idle: asyncio.Event | None = None
        self._writing: asyncio.Lock | None = None
        self._tasks: set[asyncio.Task[None]] | None = None
        self._former: str = ""

    # Reports

    async def beat(self, message: Heartbeat, arrived: float) -> None:
        """Judges one heartbeat and sends it on its way; does not wait for the answer."""
        connection = self._connection
        if connection.session is not None:
            updated = can.apply(connection.session.register, message)
            if updated is not connection.session.register:
                await self._update(updated)
        session, node_id = connection.session, connection.node_id
        if session is None or node_id is None:
            connection.refuse(ErrorCode.NOT_REGISTERED)
            return
        self.offer(session, node_id, message, arrived)

    def offer(self, session: Session, node_id: str, message: Heartbeat, arrived: float) -> None:
        """Judges a heartbeat that reports nothing new of the machine, and sends it on its way."""
        services = self._connection.services
        worth = session.worth_of(services.settings.required_models)
        verdict = judge(message, worth.models_ready)
        services.metrics.verdicts[verdict] += 1
        usage = message.usage
        session.seq += 1
        beat = Beat(
            node_id,
            session.sid,
            session.seq,
            arrived,
            verdict,
            usage.running_jobs or 0,
            worth.capacity if usage.gpus is None else can.capacity(session.register, message),
            session.version,
            can.pack_report(message),
            session.session,
        )
        self._under_way += 1
        healthy = verdict is Verdict.PASS and session.status == Status.READY
        services.batcher.offer(beat, self, hurry=not healthy)
        if session.register.heartbeat_ack:
            self._acknowledge(node_id)

    async def job_result(self, message: JobResult) -> None:
        """Notes the end of a task; never a sign of life."""
        connection = self._connection
        session, node_id = connection.session, connection.node_id
        if session is None or node_id is None:
            connection.refuse(ErrorCode.NOT_REGISTERED)
            return
        connection.services.metrics.job_results.labels(str(message.success).lower()).inc()
        await connection.insist(
            lambda: connection.services.registry.job_result(
                node_id,
                session.sid,
                failed=message.success is False,
                jobs=message.running_jobs,
                job_id=message.job_id or "",
            )
        )

    async def unregister(self, message: Unregister) -> None:
        """The node wants to leave; what becomes of it is told by `node_status`."""
        connection = self._connection
        registry = connection.services.registry
        session, node_id = connection.session, connection.node_id
        if session is None or node_id is None:
            connection.refuse(ErrorCode.NOT_REGISTERED)
            return
        for _ in range(_LOOKS):
            done = await connection.insist(
                lambda: registry.unregister(
                    node_id,
                    session.sid,
                    drain=message.drain,
                    why=message.reason or "",
                    digest=session.digest,
                    capabilities=session.capabilities,
                )
            )
            if done or not await self._look_again(session):
                return

    async def settle(self, timeout_s: float | None = None) -> bool:
        """Waits until no beat is under way nor anything it began; False on time-out."""
        if not self._under_way:
            return True
        self._connection.services.batcher.hurry()
        self._idle = self._idle or asyncio.Event()
        self._idle.clear()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def end(self) -> None:
        """The socket is gone: nothing is begun or repaired for it any more."""
        for task in self._tasks or ():
            task.cancel()

    # What the batcher sees

    @property
    def relayed(self) -> int:
        session = self._connection.session
        return session.version if session is not None else 0

    def answered(self, beat: Beat, answer: BeatAnswer, now: float) -> None:
        """Acts on the store's answer to a beat, come at `now` (monotonic, s); never waits."""
        connection = self._connection
        metrics = connection.services.metrics
        metrics.heartbeats[answer.outcome] += 1
        metrics.beat_wait.observe(max(0.0, now - beat.arrived))
        if answer.outcome is BeatOutcome.FINE:  # nearly always, and nothing need be said
            session = connection.session
            if session is not None and session.sid == beat.sid:
                session.counted(beat.verdict)
            self._landed()
            return
        follow_up = self._act(beat, answer)
        if follow_up is None:
            self._landed()
        else:
            self._begin(follow_up)

    def _act(self, beat: Beat, answer: BeatAnswer) -> Coroutine[Any, Any, None] | None:
        connection = self._connection
        session = connection.session
        if session is None or not connection.transport.open:
            return None
        if session.sid != beat.sid:
            again = answer.outcome in _RENEWED and beat.sid == self._former
            return self._again(beat) if again else None
        if answer.outcome in _COUNTED:
            session.counted(beat.verdict)
        match answer.outcome:
            case BeatOutcome.TELL if answer.change is not None:
                connection.tell(answer.change, "beat")
            case BeatOutcome.LOWER if beat.relayed == session.version:
                return self._mend(session)
            case BeatOutcome.MISSING | BeatOutcome.OLDER:
                return self._renew("restore", beat)
            case BeatOutcome.SILENT:
                return self._renew("revive", beat)
            case BeatOutcome.LEFT:
                self._left(answer.change)
            case BeatOutcome.FOREIGN:
                connection.close(CloseCode.SUPERSEDED)
        return None

    def _left(self, change: Change | None) -> None:
        connection = self._connection
        if change is not None:
            connection.tell(change, "beat")
        if change is None or taken_off(change):
            connection.take_off()
            connection.refuse(ErrorCode.NOT_REGISTERED)

    # Repairs

    async def _mend(self, session: Session) -> None:
        connection = self._connection
        assert connection.node_id is not None
        change = await connection.services.registry.mend(
            connection.node_id, session.sid, session.version, session.intent
        )
        if change is not None and connection.session is session:
            connection.tell(change, "mend")

    async def _renew(self, kind: str, beat: Beat) -> None:
        """Registers again what the socket still proves to be alive, then counts the beat."""
        connection = self._connection
        async with self._alone():
            session = connection.session
            if session is not None and session.sid == beat.sid:
                async with connection.services.renewals:
                    if not await self._register_again(kind, session, beat):
                        return
        await self._again(beat)

    async def _register_again(self, kind: str, session: Session, beat: Beat) -> bool:
        """False if the beat needs no further look: too old, or the socket is superseded."""
        connection = self._connection
        registry = connection.services.registry
        for _ in range(_LOOKS):
            known = await connection.insist(lambda: registry.known(beat.node_id))
            seen = known.record
            if seen is None:
                kind = "restore"
            elif seen.sid != session.sid and seen.session > session.session:
                connection.close(CloseCode.SUPERSEDED)
                return False
            elif seen.sid == session.sid and not _silent(seen.status, seen.reason):
                return True  # nothing to renew any more: the beat asks again
            incoming = prepare(session.register, known.labels)
            incoming.warnings = session.warnings
            incoming.intent = session.intent
            incoming.window = session.window if kind == "restore" else ""
            new = new_registration(
                connection, incoming, kind, beat.arrived,
                takeovers=seen.takeovers if seen else "",
                token_shown=connection.token_shown,
                floor_session=session.session,
                floor_version=session.version,
                window=incoming.window,
                intent=session.intent if kind == "restore" else "",
            )  # fmt: skip
            connection.incoming = incoming
            connection.services.hub.put(incoming.sid, connection)
            written: Any = None
            try:
                written = await connection.insist(lambda n=new, s=seen: registry.register(n, s))  # type: ignore[misc]
            finally:
                if not isinstance(written, Registered):
                    connection.services.hub.remove(incoming.sid, connection)
                    connection.incoming = None
            if isinstance(written, Registered):
                self._renewed(kind, session, incoming, written)
                return True
            if written.what == "age":
                return False
        return True

    def _renewed(self, kind: str, session: Session, incoming: Session, written: Registered) -> None:
        connection = self._connection
        assert connection.node_id is not None
        self._former = session.sid
        adopt(connection, incoming, written)
        incoming.version = session.version
        connection.services.metrics.renewals.labels(kind).inc()
        previous = Status.OFFLINE if kind == "revive" else session.status
        connection.tell(
            Change(
                connection.node_id, incoming.sid, written.version, written.status, previous,
                written.reason, written.since,
            ),
            kind,
        )  # fmt: skip
        if incoming.early is not None:
            connection.tell(incoming.early, "relay")
        log(logger, logging.INFO, "session_renewed", kind=kind, **connection.log_context())

    async def _again(self, beat: Beat) -> None:
        """Sends a beat once more, under the session that now holds."""
        connection = self._connection
        session = connection.session
        if session is None or not connection.transport.open:
            return
        seq = beat.seq
        if session.sid != beat.sid:
            session.seq += 1
            seq = session.seq
        self._under_way += 1
        connection.services.batcher.offer(
            structs.replace(beat, sid=session.sid, session=session.session, seq=seq), self
        )

    async def _update(self, updated: Register) -> None:
        """What the node can do changed: the store learns it before the beat counts. What it could
        not be told stays new, so that the next beat tries again.

        A report of what was not said before changes the record; capabilities may be the same."""
        async with self._alone():  # a renewal writes what the session held when it began
            session = self._connection.session
            if session is not None and updated != session.register:
                await self._write(session, updated)

    async def _write(self, session: Session, updated: Register) -> None:
        registry = self._connection.services.registry
        node_id = self._connection.node_id
        assert node_id is not None
        registration = can.pack(updated)
        for _ in range(_LOOKS):
            labels = session.labels
            capabilities = can.capabilities(updated, labels.values)
            digest = can.digest(updated, labels.values)
            write = partial(
                registry.update,
                node_id,
                session.sid,
                session.digest,
                session.capabilities,
                registration,
                digest,
                capabilities,
                updated.accept_public_jobs,
                can.capacity(updated, None),
                can.largest_gpu_gb(updated),
                labels.stamp,
            )
            if await self._connection.insist(write):
                session.register = updated
                session.hardware_digest = can.hardware_digest(updated)
                session.digest, session.capabilities = digest, capabilities
                return
            if not await self._look_again(session):
                return

    async def _look_again(self, session: Session) -> bool:
        """A change was refused as stale: whether the session still holds, now seen anew."""
        connection = self._connection
        assert connection.node_id is not None
        node_id = connection.node_id
        known = await connection.insist(lambda: connection.services.registry.known(node_id))
        seen = known.record
        if seen is None or seen.sid != session.sid:
            return False
        session.digest, session.capabilities = seen.digest, seen.capabilities
        session.labels = known.labels
        return True

    def _alone(self) -> asyncio.Lock:
        """Held by whoever writes what the session holds."""
        self._writing = self._writing or asyncio.Lock()
        return self._writing

    # Bookkeeping

    def _acknowledge(self, node_id: str) -> None:
        services = self._connection.services
        interval_ms = services.settings.heartbeat_interval_s * 1000
        self._connection.send(
            HeartbeatAck(
                node_id=node_id,
                next_ms=round(interval_ms * random.uniform(0.8, 1.0)),
                store="ok" if services.batcher.reaches(node_id) else "unavailable",
            )
        )

    def _begin(self, follow_up: Coroutine[Any, Any, None]) -> None:
        self._tasks = self._tasks if self._tasks is not None else set()
        task = asyncio.create_task(self._follow(follow_up))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, follow_up: Coroutine[Any, Any, None]) -> None:
        try:
            await follow_up
        except StoreError as error:
            log(
                logger,
                logging.WARNING,
                "repair_failed",
                error=str(error),
                **self._connection.log_context(),
            )
        finally:
            self._landed()

    def _landed(self) -> None:
        self._under_way -= 1
        if self._under_way == 0 and self._idle is not None:
            self._idle.set()


def _silent(status: str, reason: str) -> bool:
    return status == Status.OFFLINE and reason == Reason.HEARTBEAT_TIMEOUT
