"""What a gateway remembers of one session of one node: only what a beat needs, or a restore."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from muster.wire.messages import Register
from registry import capabilities as can
from registry.model import (
    UNLABELLED,
    Change,
    OperatorLabels,
    Reason,
    Registered,
    Status,
    Verdict,
)

WINDOW = 5


def new_sid() -> str:
    """A session id: random, compared for equality, never reused."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Worth:
    """What a registration is worth to every beat that reports nothing new about it."""

    register: Register
    models_ready: bool
    capacity: int


@dataclass(slots=True)
class Session:
    """One session. `version` is the last one told to the node; `window` the last verdicts the
    store counted, newest first; `intent` the operator's drain the node was told of, or ''; `labels`
    the operator's as last seen: digest and capabilities are made with them."""

    sid: str
    register: Register
    digest: str
    capabilities: tuple[str, ...]
    hardware_digest: str
    warnings: tuple[str, ...] = ()
    labels: OperatorLabels = UNLABELLED
    session: int = 0
    version: int = 0
    status: str = Status.REGISTERING
    intent: str = ""
    seq: int = 0
    window: str = ""
    early: Change | None = None
    worth: Worth | None = None

    def begin(self, registered: Registered) -> None:
        """Takes what the store said to the registration."""
        self.session = registered.session
        self.version = registered.version
        self.status = registered.status
        self.intent = registered.intent

    def worth_of(self, required_models: Sequence[str]) -> Worth:
        """What the registration in force is worth; found once for each."""
        worth = self.worth
        if worth is None or worth.register is not self.register:
            register = self.register
            worth = self.worth = Worth(
                register, can.required_met(register, required_models), can.capacity(register, None)
            )
        return worth

    def counted(self, verdict: Verdict) -> None:
        """Remembers a verdict the store has counted."""
        self.window = (verdict + self.window)[:WINDOW]

    def told(self, change: Change) -> bool:
        """Notes that the node is told a change; False if it knows that or better already."""
        if change.version <= self.version:
            return False
        self.version = change.version
        self.status = change.status
        if change.status == Status.DRAINING and change.reason == Reason.OPERATOR:
            self.intent = self.intent or f"told-{change.version}"
        elif change.status not in (Status.DRAINING, Status.OFFLINE):
            self.intent = ""
        return True


def taken_off(change: Change) -> bool:
    """Whether the change says that the node left deliberately, which no beat undoes."""
    return change.status == Status.OFFLINE and change.reason != Reason.HEARTBEAT_TIMEOUT
