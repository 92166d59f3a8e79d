"""The registry's vocabulary: the values that pass between gateways, the store and sweepers.

Three rules hold for everything here. Every instant is milliseconds of the *store's* clock unless
its name says otherwise. `version` and `session` only order; `sid` is random and only compared for
equality. Nothing here does I/O.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from msgspec import Struct


class Status(StrEnum):
    """The five states of a node; only `ready` is ever selected."""

    REGISTERING = "registering"
    READY = "ready"
    DEGRADED = "degraded"
    DRAINING = "draining"
    OFFLINE = "offline"


class Reason(StrEnum):
    """Why a node is in its state, or why a verdict failed."""

    REGISTERED = "registered"
    OPERATOR = "operator"
    HEALTHY = "healthy"
    WARMUP_TIMEOUT = "warmup_timeout"
    RECOVERED = "recovered"
    NODE_REQUEST = "node_request"
    DRAINED = "drained"
    DRAIN_TIMEOUT = "drain_timeout"
    RESUMED = "resumed"
    HEARTBEAT_TIMEOUT = "heartbeat_timeout"
    UNREGISTERED = "unregistered"
    REMOVED = "removed"
    GPU_UNAVAILABLE = "gpu_unavailable"
    MODEL_MISSING = "model_missing"
    SELF_REPORTED = "self_reported"
    MISSED_HEARTBEAT = "missed_heartbeat"
    JOB_FAILED = "job_failed"


class Verdict(StrEnum):
    """What one heartbeat or job is worth, as the letter kept in the store's lists."""

    PASS = "P"  # noqa: S105 (a letter, no password)
    GPU_UNAVAILABLE = "g"
    MODEL_MISSING = "m"
    SELF_REPORTED = "s"
    MISSED_HEARTBEAT = "b"
    JOB_FAILED = "j"

    __hash__ = str.__hash__  # an enumeration's own is written in Python, and verdicts are counted

    @property
    def passed(self) -> bool:
        return self is Verdict.PASS

    @property
    def reason(self) -> Reason | None:
        """The reason code of a failure; None for a pass."""
        return _REASONS.get(self)


_REASONS = {
    Verdict.GPU_UNAVAILABLE: Reason.GPU_UNAVAILABLE,
    Verdict.MODEL_MISSING: Reason.MODEL_MISSING,
    Verdict.SELF_REPORTED: Reason.SELF_REPORTED,
    Verdict.MISSED_HEARTBEAT: Reason.MISSED_HEARTBEAT,
    Verdict.JOB_FAILED: Reason.JOB_FAILED,
}


@dataclass(frozen=True, slots=True)
class Change:
    """A node's state as its owner must be told it; `version` orders the changes of one node."""

    node_id: str
    sid: str
    version: int
    status: str
    previous: str
    reason: str
    since: int


@dataclass(frozen=True, slots=True)
class Act:
    """Who did something to a node, why, and when (ms)."""

    who: str
    why: str
    at: int


@dataclass(frozen=True, slots=True)
class OperatorLabels:
    """An operator's labels on a node. `stamp` is random and changes with them; '' = there are
    none."""

    values: Mapping[str, str]
    stamp: str


UNLABELLED = OperatorLabels(MappingProxyType({}), "")


@dataclass(frozen=True, slots=True)
class Existing:
    """What the store knows of a node when somebody asks to register under its id."""

    node_id: str
    sid: str
    session: int
    version: int
    status: str
    reason: str
    gateway: str
    digest: str
    capabilities: tuple[str, ...]
    hardware_digest: str
    token_shown: bool
    boot_id: str
    attempt: int
    address: str
    takeovers: str
    closed: bool
    leaving: bool
    intent: str


@dataclass(frozen=True, slots=True)
class Known:
    """All that stands under an id: its record, if there is one, and the operator's labels, which
    outlive it."""

    record: Existing | None
    labels: OperatorLabels


@dataclass(frozen=True, slots=True)
class NewRegistration:
    """An admitted registration, ready to be written.

    `kind` is `register` (a new life), `resume` (same life, new socket), `revive` (offline by
    silence, its socket lives) or `restore` (the store lost it, its socket lives). For `restore`,
    `window` holds the verdicts the gateway kept, newest first, and `intent` what it was told.
    `label_stamp` is that of the operator's labels which digest and capabilities are made with.
    `arrived` is when its frame came (this process's clock, seconds): life counts from there, so one
    that waited with us for more than `patience_s` is put off rather than written.
    """

    node_id: str
    sid: str
    gateway: str
    kind: str
    registration: bytes
    digest: str
    capabilities: tuple[str, ...]
    hardware_digest: str
    public: bool
    capacity: int
    gpu_memory_gb: float = 0.0
    boot_id: str = ""
    attempt: int = 0
    address: str = ""
    takeovers: str = ""
    token_shown: bool = False
    floor_session: int = 0
    floor_version: int = 0
    window: str = ""
    intent: str = ""
    label_stamp: str = ""
    arrived: float | None = None
    patience_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Registered:
    """A registration the store accepted. `intent` is the operator's drain in force, or ''."""

    session: int
    version: int
    status: str
    reason: str
    since: int
    resumed: bool
    intent: str


@dataclass(frozen=True, slots=True)
class Stale:
    """The store had moved on since the caller looked: look again and decide anew."""

    what: str


class Beat(Struct, gc=False):
    """One accepted heartbeat on its way to the store.

    `arrived` is the earliest instant (this process's `StoreClock.monotonic()`, seconds) at which
    the frame may have reached this machine; `seq` counts per sid and makes a resent beat harmless.
    `relayed` is the version last told to the node.
    """

    node_id: str
    sid: str
    seq: int
    arrived: float
    verdict: Verdict
    jobs: int
    capacity: int
    relayed: int
    report: bytes
    session: int = 0


class BeatOutcome(StrEnum):
    """What the store said to one beat."""

    FINE = "fine"
    TELL = "tell"  # the node has not been told `change`
    LOWER = "lower"  # the store's version is below what was relayed: it lost a transition
    MISSING = "missing"  # no record: lost by the store
    SILENT = "silent"  # offline by silence: register again as new
    LEFT = "left"  # deliberately taken off: NOT_REGISTERED
    FOREIGN = "foreign"  # another sid with a higher session holds the id
    OLDER = "older"  # another sid with a lower session: the store lost ours
    TOO_OLD = "too_old"  # the frame is older than the time-out: changed nothing

    __hash__ = str.__hash__  # as for a verdict


@dataclass(frozen=True, slots=True)
class BeatAnswer:
    """The store's answer to one beat."""

    outcome: BeatOutcome
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a sweeper judges one node by, read in one script (see `scripts/facts.lua`).

    Nothing is judged by the acts; they say who is behind what is judged."""

    node_id: str
    now: int
    sid: str
    version: int
    status: Status
    reason: str
    since: int
    gateway: str
    digest: str
    capabilities: tuple[str, ...]
    window: str
    last_failure: str
    ever_ready: bool
    was_ready: bool
    last_beat: int
    beat_unobserved: int
    warmup_at: int
    warmup_unobserved: int
    unobserved: int
    ttl_ms: int
    jobs: int
    reported_at: int
    holds: int
    intent: str
    intent_at: int
    intent_timeout_ms: int
    intent_unobserved: int
    leave: str
    leave_at: int
    leave_kind: str
    leave_drain: bool
    leave_timeout_ms: int
    leave_unobserved: int
    degradations: int
    degraded_at: int
    last_verdict: str
    due: int
    intended: Act | None = None
    left: Act | None = None
    resumed: Act | None = None

    @property
    def removed(self) -> bool:
        """Taken away by an operator: kept only so that no late beat brings it back."""
        return self.status is Status.OFFLINE and self.reason == Reason.REMOVED


@dataclass(frozen=True, slots=True)
class Looked:
    """A sweeper's last look at a partition: the store's clock then, ms, and the server's run."""

    at: int
    run: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A judged transition: from `Facts.status` to `to`, and what must still hold to commit it.

    `silence_ms` > 0 asks the script to see again that the TTL key is gone and that observed
    silence is at least that long. `by_time` says that it rests on the time that passed: silence,
    a warm-up or a drain that is over. If `looked` is told, the script sees again that the run of
    the server is the one of that look, its clock no further from it than a gap that counts as
    unobserved, and the unobserved time what was judged. `drained` asks it to see again that no
    holds are open and that the report is the one judged.
    `resets_window` starts a new window (moves into or out of ready).
    """

    to: Status
    reason: Reason
    resets_window: bool = False
    silence_ms: int = 0
    by_time: bool = False
    looked: Looked | None = None
    drained: bool = False
    starts_warmup: bool = False
    clears_intent: bool = False
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Patrolled:
    """One sweeper's look at one partition: held or not, and what waits there. `run` is that of
    the server that was asked, another one after a restart or a failover. `added` is unobserved time
    that was just found, ms; it is negative where the store's clock stepped back."""

    partition: int
    held: bool
    now: int
    run: str
    marked: tuple[str, ...]
    due: tuple[str, ...]
    next_due: int
    unobserved: int
    swept: int
    added: int


@dataclass(frozen=True, slots=True)
class Snoozed:
    """Nodes whose alarms rang for nothing and were set on, and by how many ms the latest of these
    alarms was late."""

    ids: frozenset[str]
    late_ms: int


@dataclass(frozen=True, slots=True)
class Selected:
    """A node that may be given work now. `load` counts running jobs and open holds, without the
    one just taken; `age_ms` is the age of the report it was judged by. `hold_id` is '' without a
    hold, `hold_expires` its end in ms."""

    node_id: str
    load: int
    capacity: int
    age_ms: int
    gateway: str
    hold_id: str = ""
    hold_expires: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with the store's set-up: what `check` found. `severity` is `fatal` or
    `warning`."""

    check: str
    severity: str
    what: str
    fix: str
