"""One socket's conversation from the node's side: values in, values out; no I/O and no clock.

States: *silent* → (`register` written) → *asked* → (ack heard) → *registered*. Three rules.
A conversation is one life: what ends it is never mended here, a new one begins. When the next
beat is due is the server's to say, and is always known: a default stands until its ack moves it.
And of two changes of status the one with the greater version is true, whatever comes last.

Time is given by the caller, in seconds of a clock that only runs forward. What is to be done
about an end is decided in `endings.py`; sockets are moved in `session.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from msgspec import Struct

from muster.agent.report import Claim, Report, heartbeat, registration
from muster.wire.codec import JSON, Malformed
from muster.wire.errors import ErrorCode
from muster.wire.messages import (
    HeartbeatAck,
    Model,
    NodeError,
    NodeStatus,
    Reconnect,
    RegisterAck,
    Unknown,
)
from muster.wire.replies import read_reply

ANSWER_TO_REGISTER_S = 30.0
"""How long a registration may wait: a gateway may have to ask another one whose id it is."""

BEATS_APART_S = 0.5
"""Beats out of turn keep this distance, far below what a gateway lets a socket say."""

MISSED_MOST = 2
NEXT_LEAST_S = 0.05


class Then(Enum):
    """What a refusal asks of the node."""

    STAY = "stay"
    AGAIN = "again"
    BACK_OFF = "back_off"
    WAIT = "wait"
    FORGET = "forget"
    MEND_HARDWARE = "mend_hardware"
    NEVER = "never"


class Registered(Struct, frozen=True):
    """The server took the node in."""

    node_id: str
    node_token: str | None
    status: str
    resumed: bool
    session: int
    warnings: tuple[str, ...]


class StatusTold(Struct, frozen=True):
    """The node's status changed; `timestamp` in ms of the server's clock."""

    status: str
    previous: str | None
    reason: str
    said: str
    timestamp: int


class Refused(Struct, frozen=True):
    """The server answered an error; `after_s` is the wait it asked for."""

    code: str
    details: Mapping[str, Any] | None
    said: str
    then: Then
    after_s: float | None = None


class Acknowledged(Struct, frozen=True):
    """A beat was heard; `round_trip_s` is None where no beat of ours was waiting."""

    round_trip_s: float | None
    store_ok: bool


class Moving(Struct, frozen=True):
    """The server will close this socket: come back after so long."""

    after_s: float
    reason: str


class Ignored(Struct, frozen=True):
    """A frame that changes nothing, and why."""

    why: str


Event = Registered | StatusTold | Refused | Acknowledged | Moving | Ignored


class Conversation:
    """What was said and heard on one socket.

    `uniform(low, high)` draws the jitter; tests give one that does not.
    """

    def __init__(
        self, claim: Claim, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._claim = claim
        self._uniform = uniform
        self._asked_at: float | None = None
        self.node_id: str | None = None
        self.version = 0
        self.interval_s = 15.0
        self._last_beat: float | None = None
        self._not_before = 0.0
        self._due: float | None = None
        self._acknowledges = False
        self._without_ack: list[float] = []
        self._without_pong: list[float] = []
        self._models_told: tuple[Model, ...] | None = None

    @property
    def registered(self) -> bool:
        """Whether the server took the node in."""
        return self.node_id is not None

    # What is said

    def register(self, report: Report, now: float) -> bytes:
        """The first frame."""
        self._asked_at = now
        self._models_told = report.models
        return JSON.encode(registration(report, self._claim))

    def beat(self, report: Report, now: float, timestamp: int) -> bytes:
        """The next heartbeat; a ping is to go with it. Models go along if the server may not
        know them."""
        assert self.node_id is not None
        self._last_beat = now
        self._not_before = now + BEATS_APART_S
        self._due = now + self._uniform(0.8, 1.0) * self.interval_s
        self._without_ack.append(now)
        self._without_pong.append(now)
        models = report.models != self._models_told
        self._models_told = report.models
        return JSON.encode(heartbeat(report, self.node_id, timestamp=timestamp, models=models))

    def beat_now(self, now: float) -> None:
        """Has the next beat come at once, or as soon as beats may follow each other."""
        if self._due is not None:
            self._due = min(self._due, max(now, self._not_before))

    def job_result(
        self,
        job_id: str,
        *,
        success: bool,
        error: str | Mapping[str, Any] | None = None,
        running_jobs: int | None = None,
    ) -> bytes:
        """A finished job."""
        message = {
            "type": "job_result",
            "node_id": self.node_id,
            "job_id": job_id,
            "success": success,
            "error": error,
            "running_jobs": running_jobs,
        }
        return JSON.encode({key: value for key, value in message.items() if value is not None})

    def unregister(self, reason: str, *, drain: bool) -> bytes:
        """The node leaves; with `drain`, once its jobs are done."""
        return JSON.encode({"type": "node_unregister", "reason": reason, "drain": drain})

    # What is heard

    def hear(self, data: str | bytes, now: float) -> Event:
        """What a frame means for this node."""
        try:
            message = read_reply(data, JSON)
        except Malformed as error:
            return Ignored(str(error))
        match message:
            case RegisterAck():
                return self._registered(message, now)
            case NodeStatus():
                return self._status(message)
            case HeartbeatAck():
                return self._acknowledged(message, now)
            case NodeError():
                return self._refused(message, now)
            case Reconnect():
                return Moving(max(0, message.after_ms) / 1000, message.reason)
            case Unknown():
                return Ignored(f"a message of type {message.type}")

    def pong(self) -> None:
        """The peer answered a ping, and with it all before."""
        self._without_pong.clear()

    # What time asks for

    def beat_due(self, now: float) -> bool:
        """Whether a beat is to be sent now."""
        return self._due is not None and now >= self._due

    @property
    def next_beat(self) -> float | None:
        """When the next beat is due; None before the registration is accepted."""
        return self._due

    def silent(self, now: float) -> bool:
        """Whether the server has to be given up: two answers in a row stayed away."""
        deadline = self._silent_at()
        return deadline is not None and now >= deadline

    def deadline(self) -> float | None:
        """The next moment at which time alone asks for something."""
        moments = [at for at in (self._due, self._silent_at()) if at is not None]
        return min(moments, default=None)

    def _silent_at(self) -> float | None:
        if self._asked_at is not None and not self.registered:
            return self._asked_at + ANSWER_TO_REGISTER_S
        grace = self.interval_s / 2
        waits = [self._without_pong]
        if self._acknowledges:
            waits.append(self._without_ack)
        moments = [sent[MISSED_MOST - 1] + grace for sent in waits if len(sent) >= MISSED_MOST]
        return min(moments, default=None)

    def _registered(self, ack: RegisterAck, now: float) -> Registered:
        self.node_id = ack.node_id
        self.version = ack.version
        self.interval_s = max(NEXT_LEAST_S, ack.heartbeat_interval_ms / 1000)
        # A fleet that resumes must not beat in step; one that is new wants to become ready.
        first = self._uniform(0.0, self.interval_s) if ack.resumed else 0.0
        self._due = now + first
        return Registered(
            node_id=ack.node_id,
            node_token=ack.node_token,
            status=ack.status,
            resumed=bool(ack.resumed),
            session=ack.session,
            warnings=tuple(ack.warnings),
        )

    def _status(self, told: NodeStatus) -> StatusTold | Ignored:
        if told.version <= self.version:
            return Ignored(f"{told.status} of version {told.version}, {self.version} is known")
        self.version = told.version
        return StatusTold(told.status, told.previous, told.reason, told.message, told.timestamp)

    def _acknowledged(self, ack: HeartbeatAck, now: float) -> Acknowledged:
        self._acknowledges = True
        round_trip = now - self._without_ack[0] if self._without_ack else None
        self._without_ack.clear()
        wait = max(NEXT_LEAST_S, ack.next_ms / 1000)
        # Counted from the beat itself: however slow the network, beats stay as far apart as asked.
        since = now if round_trip is None or self._last_beat is None else self._last_beat
        self._due = max(now, since + wait)
        return Acknowledged(round_trip, ack.store == "ok")

    def _refused(self, error: NodeError, now: float) -> Refused:
        after_s = _wait_asked(error.details)
        if not self.registered:
            then = _THEN.get(error.code, Then.BACK_OFF)
            if after_s is not None and then in (Then.BACK_OFF, Then.FORGET):
                then = Then.WAIT
        elif error.code == ErrorCode.NOT_REGISTERED:
            then = Then.AGAIN
        else:
            then = Then.STAY
            self._without_ack.clear()
            self._models_told = None  # what was refused may have carried them
            self._not_before = now + (after_s or 0.0)
            if self._due is not None:
                self._due = max(self._due, self._not_before)
        return Refused(error.code, error.details, error.message, then, after_s)


# Where the server asks for a wait, that wait takes the place of backing off and of forgetting.
_THEN: Mapping[str, Then] = {
    ErrorCode.NO_GPU_AVAILABLE: Then.MEND_HARDWARE,
    ErrorCode.INVALID_CAPABILITY_SCHEMA: Then.NEVER,
    ErrorCode.UNAUTHORIZED: Then.NEVER,
    ErrorCode.NODE_ID_CONFLICT: Then.FORGET,
}


def _wait_asked(details: Mapping[str, Any] | None) -> float | None:
    wait = (details or {}).get("retry_after_ms")
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait < 2**31:
        return None
    return wait / 1000
