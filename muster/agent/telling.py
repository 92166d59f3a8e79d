"""What a session hears and does, as its status for people and as calls into a program."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from muster.agent.conversation import Acknowledged, Refused, Registered, StatusTold, Then
from muster.agent.endings import ClosedBy, End, Lost
from muster.agent.hardware import NoGpuError
from muster.agent.models import ModelScan
from muster.agent.status import (
    Action,
    AgentStatus,
    Closed,
    GpuRow,
    ModelRow,
    NoGpu,
    Registration,
    Unreachable,
)
from muster.agent.status import Refused as RefusedProblem
from muster.agent.trouble import Note

logger = logging.getLogger("muster.agent")


class Telling:
    """Writes an `AgentStatus`. A callback that fails is logged and harms nothing."""

    def __init__(
        self,
        status: AgentStatus,
        on_registered: Callable[[str], None] | None,
        on_status: Callable[[str, str], None] | None,
        on_refused: Callable[[str, str], None] | None,
    ) -> None:
        self._status = status
        self._on_registered = on_registered
        self._on_status = on_status
        self._on_refused = on_refused
        self._ills: dict[int, str | None] = {}

    # The connection

    def connecting(self, server: str, attempt: int) -> None:
        self._status.change(server=server, retry_at=None)
        self._status.tell(Action.CONNECTING, server=server, attempt=attempt)

    def connected(self, server: str) -> None:
        self._status.change(connected=True, registration=Registration.REGISTERING)
        self._status.tell(Action.CONNECTED, server=server)

    def disconnected(self) -> None:
        self._status.change(connected=False, next_heartbeat_at=None, round_trip_ms=None)

    def ended(self, end: End) -> None:
        """How a life ended, where nobody else said so: refusals were told when they came."""
        server = self._status.server or ""
        failed = self._status.registration is Registration.FAILED
        if not failed:
            self._status.change(registration=Registration.IDLE)
        match end:
            case Lost(trouble, detail):
                self._status.change(problem=Unreachable(trouble, server, detail))
                self._status.tell(
                    Action.CLOSED, server=server, close_code=None, trouble=trouble, detail=detail
                )
            case ClosedBy(code, reason):
                if not failed:
                    self._status.change(problem=Closed(code, reason))
                self._status.tell(
                    Action.CLOSED, server=server, close_code=code, trouble=None, detail=reason
                )

    def retrying(self, wait_s: float) -> None:
        self._status.change(retry_at=time.monotonic() + wait_s)
        self._status.tell(Action.RETRYING, in_s=round(wait_s, 1))

    def refused_for_good(self) -> None:
        self._status.change(registration=Registration.FAILED)

    def left(self, reason: str) -> None:
        self._status.change(registration=Registration.IDLE, retry_at=None)
        self._status.tell(Action.LEFT, reason=reason)

    # What the server said

    def registered(self, event: Registered) -> None:
        self._status.change(
            node_id=event.node_id,
            session=event.session,
            registration=Registration.SUCCESS,
            status=event.status,
            reason=None if event.resumed else _REASONS.get(event.status),
            said="",
            since_ms=_wall_ms(),
            problem=None,
            server_warnings=event.warnings,
        )
        self._status.tell(
            Action.REGISTERED,
            node_id=event.node_id,
            status=event.status,
            resumed=event.resumed,
            session=event.session,
        )
        _call(self._on_registered, event.node_id)
        _call(self._on_status, event.status, self._status.reason or "")

    def status(self, event: StatusTold) -> None:
        self._status.change(
            status=event.status, reason=event.reason, said=event.said, since_ms=event.timestamp
        )
        self._status.tell(
            Action.STATUS,
            status=event.status,
            previous=event.previous,
            reason=event.reason,
            said=event.said,
        )
        _call(self._on_status, event.status, event.reason)

    def refused(self, event: Refused) -> None:
        if event.then is not Then.STAY:
            self._status.change(
                registration=Registration.FAILED,
                problem=RefusedProblem(event.code, event.details, event.said),
            )
        self._status.tell(
            Action.REFUSED,
            code=event.code,
            details=event.details,
            said=event.said,
            then=event.then.value,
            retry_in_s=event.after_s,
        )
        _call(self._on_refused, event.code, event.said)

    def acknowledged(self, event: Acknowledged, next_beat: float | None) -> None:
        self._status.change(next_heartbeat_at=next_beat)
        if event.round_trip_s is not None:
            self._status.change(round_trip_ms=round(event.round_trip_s * 1000, 1))
        if event.store_ok:
            self._status.withdraw(Note.STORE_AWAY)
        else:
            self._status.note(Note.STORE_AWAY)

    # What the node did and is

    def beaten(self, next_beat: float | None) -> None:
        self._status.change(last_heartbeat_ms=_wall_ms(), next_heartbeat_at=next_beat)

    def models(self, scan: ModelScan) -> None:
        rows = tuple(
            ModelRow(m.model_id, m.kind, m.version, m.src_lang, m.tgt_lang, m.enabled, m.status)
            for m in scan.models
        )
        self._status.change(models=rows, model_problems=scan.problems)
        if scan.models:
            self._status.withdraw(Note.NO_MODELS)
        else:
            self._status.note(Note.NO_MODELS)
        self._status.tell(
            Action.MODELS_CHANGED, models=len(scan.models), problems=len(scan.problems)
        )

    def gpus(self, rows: tuple[GpuRow, ...]) -> None:
        """Tells of each card that fell ill, recovered, or is ill for another reason."""
        for row in rows:
            if self._ills.get(row.index) != row.reason:
                self._ills[row.index] = row.reason
                self._status.tell(
                    Action.GPU_CHANGED,
                    index=row.index,
                    name=row.name,
                    healthy=row.healthy,
                    reason=row.reason,
                )

    def no_gpu(self, error: NoGpuError) -> None:
        """Says so once while it stays the same."""
        problem = NoGpu(error.cause, error.detail)
        if self._status.problem != problem:
            self._status.change(problem=problem)
            self._status.tell(Action.NO_GPU, cause=error.cause, detail=error.detail)

    def other_hardware(self, added: tuple[str, ...], removed: tuple[str, ...]) -> None:
        self._status.tell(Action.HARDWARE_CHANGED, added=added, removed=removed)

    def draining(self, reason: str, timeout_s: float) -> None:
        self._status.tell(Action.DRAINING, reason=reason, timeout_s=timeout_s)


# Why a new session has the status its ack tells: there is no `node_status` that says so.
_REASONS = {"registering": "registered", "draining": "operator"}


def _wall_ms() -> int:
    """For people to read; nothing is decided by it."""
    return int(time.time() * 1000)


def _call(callback: Callable[..., None] | None, *values: Any) -> None:
    if callback is None:
        return
    try:
        callback(*values)
    except Exception:
        logger.exception("a callback failed")
