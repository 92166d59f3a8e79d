"""What one node is, and which change of state its facts call for, as docs/lifecycle.md has it.

Pure; written from that document and from nothing else. Instants are ms of the store's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field

S = 1000
INTERVAL = 15 * S
TIMEOUT = 45 * S
WARM_UP = 60 * S
DRAIN = 3600 * S
RETENTION = 24 * 3600 * S
GRACE = 90 * S
GAP = 5 * S
LAG = 5 * S
WINDOW = 5
EXPIRED = ("", "expired")

FAILURES = {
    "g": "gpu_unavailable",
    "m": "model_missing",
    "s": "self_reported",
    "b": "missed_heartbeat",
    "j": "job_failed",
}


@dataclass
class Clocked:
    """A time allowed, which does not run while nobody observes."""

    at: int
    unobserved: int
    allowed: int = 0

    def ran(self, now: int, unobserved: int) -> int:
        """Observed ms since it began."""
        return now - self.at - (unobserved - self.unobserved)

    def ends(self, unobserved: int) -> int:
        """The instant at which it is over, if everything is observed from now on."""
        return self.at + self.allowed + unobserved - self.unobserved


@dataclass
class Leave:
    """A node asked to be taken off (`unregister`), or an operator took it off (`remove`)."""

    kind: str
    stamp: str
    drain: bool
    clock: Clocked


@dataclass
class Drain:
    """An operator's drain. It belongs to the id and outlives the record."""

    stamp: str
    clock: Clocked


@dataclass
class Record:
    """What is known of a node since it registered. `heard` is an instant of the world's own clock,
    which never steps: when the last frame that counted reached its gateway; `taken` when it
    reached the store. What it waited counts as silence, whoever observed meanwhile. `ahead` is by
    how much the store's clock had then stepped back without anybody having observed it."""

    sid: str
    session: int
    gateway: str
    hardware: str
    digest: str
    capabilities: tuple[str, ...]
    capacity: int
    version: int = 0
    status: str = ""
    reason: str = ""
    previous: str = ""
    since: int = 0
    seq: int = 0
    window: str = ""
    last_verdict: str = ""
    last_failure: str = ""
    ever_ready: bool = False
    beat: Clocked = field(default_factory=lambda: Clocked(0, 0, TIMEOUT))
    warm_up: Clocked = field(default_factory=lambda: Clocked(0, 0, WARM_UP))
    jobs: int = 0
    reported: int = 0
    job_failed: int = 0
    leave: Leave | None = None
    heard: int = 0
    taken: int = 0
    ahead: int = 0

    @property
    def removed(self) -> bool:
        """An operator took it away: worded, or about to be."""
        worded = (self.status, self.reason) == ("offline", "removed")
        return worded or (self.leave is not None and self.leave.kind == "remove")


@dataclass
class Place:
    """All that stands under one id. `live_until` is when its TTL key ends, `holds_until` when the
    key of its holds does: None, where there is no such key."""

    record: Record | None = None
    drain: Drain | None = None
    live_until: int | None = None
    holds: dict[str, int] = field(default_factory=dict)
    holds_until: int | None = None

    def live(self, now: int) -> bool:
        """The key stands. One that outlives the time-out is a skewed clock's and counts as gone."""
        return self.live_until is not None and 0 < self.live_until - now <= TIMEOUT

    def well(self, now: int, unobserved: int) -> bool:
        """Ready, every verdict a pass, nobody wants it away, and it is heard."""
        r = self.record
        if r is None or r.status != "ready" or set(r.window) != {"P"}:
            return False
        away = r.leave is not None or self.drain is not None
        return not away and self.live(now) and r.beat.ran(now, unobserved) <= TIMEOUT

    def held(self, now: int) -> int:
        """Open holds: one whose time is over counts until a report came after it."""
        assert self.record is not None
        ended = min(now, self.record.reported)
        return sum(1 for expires in self.holds.values() if expires > ended)

    def idle(self, now: int) -> bool:
        assert self.record is not None
        return self.record.jobs == 0 and self.held(now) == 0

    @property
    def indexed(self) -> bool:
        """Whether it is where schedulers look."""
        r = self.record
        return r is not None and r.status == "ready" and r.leave is None and self.drain is None

    def selectable(self, now: int) -> bool:
        """Whether it may be given work."""
        assert self.record is not None
        return (
            self.indexed
            and self.live(now)
            and self.record.jobs + self.held(now) < (self.record.capacity)
        )


def row(window: str) -> str:
    """The newest verdicts that count for "in a row"; a failed job does not."""
    return window.replace("j", "")[:3]


def last_failure(r: Record, otherwise: str = "") -> str:
    failed = [letter for letter in r.window + r.last_failure if letter != "P"]
    return FAILURES[failed[0]] if failed else otherwise


def called_for(place: Place, now: int, unobserved: int, present: bool) -> tuple[str, str] | None:
    """The change of state that is called for: to what, and why; None = it stays as it is.
    `present`: its gateway is known to live."""
    r = place.record
    if r is None:
        return None
    if r.status == "offline":
        return EXPIRED if now - r.since >= RETENTION else None
    return (
        _leaves(place, r, now)
        or _silent(place, r, now, unobserved, present)
        or (_draining(place, r, now, unobserved) if r.status == "draining" else None)
        or _in_service(place, r, now, unobserved)
    )


def _leaves(place: Place, r: Record, now: int) -> tuple[str, str] | None:
    if r.leave is None:
        return None
    if r.leave.kind == "remove":
        return "offline", "removed"
    own_drain = (r.status, r.reason) == ("draining", "node_request")
    nothing_to_drain = not r.leave.drain or (place.idle(now) and not own_drain)
    return ("offline", "unregistered") if nothing_to_drain else None


def _silent(
    place: Place, r: Record, now: int, unobserved: int, present: bool
) -> tuple[str, str] | None:
    allowed = TIMEOUT if present else GRACE
    if not place.live(now) and r.beat.ran(now, unobserved) >= allowed:
        return "offline", "heartbeat_timeout"
    return None


def _draining(place: Place, r: Record, now: int, unobserved: int) -> tuple[str, str] | None:
    if r.leave is not None:
        if r.reported > r.leave.clock.at and place.idle(now):
            return "offline", "drained"
        ran_out = r.leave.clock.ran(now, unobserved) >= r.leave.clock.allowed
        return ("offline", "drain_timeout") if ran_out else None
    if place.drain is not None:
        clock = place.drain.clock
        if r.reason != "drained" and r.reported > clock.at and place.idle(now):
            return "draining", "drained"
        ran_out = clock.ran(now, unobserved) >= clock.allowed
        if ran_out and r.reason not in ("drained", "drain_timeout"):
            return "draining", "drain_timeout"
        if not ran_out and r.reason == "drain_timeout":
            return "draining", "operator"
        return None
    if not r.ever_ready:
        return "registering", "resumed"
    return ("ready" if r.last_verdict == "P" else "degraded"), "resumed"


def _in_service(place: Place, r: Record, now: int, unobserved: int) -> tuple[str, str] | None:
    if r.status == "draining":
        return None
    if place.drain is not None:
        return "draining", "operator"
    if r.leave is not None:
        return "draining", "node_request"
    three_pass = row(r.window) == "PPP"
    if r.status == "registering":
        if three_pass:
            return "ready", "healthy"
        over = r.warm_up.ran(now, unobserved) >= WARM_UP
        return ("degraded", last_failure(r, "warmup_timeout")) if over else None
    if r.status == "ready":
        in_a_row = len(row(r.window)) == 3 and "P" not in row(r.window)
        of_five = sum(1 for letter in r.window if letter != "P") >= 3
        return ("degraded", last_failure(r)) if in_a_row or of_five else None
    if r.ever_ready:
        return ("ready", "recovered") if row(r.window)[:1] == "P" else None
    return ("ready", "healthy") if three_pass else None


def next_instant(place: Place, unobserved: int) -> int:
    """When time alone may change something next. With silence it is the instant from which a node
    of a living gateway is silent too long."""
    r = place.record
    assert r is not None
    if r.status == "offline":
        return r.since + RETENTION
    instants = [r.beat.ends(unobserved)]
    if r.status == "registering":
        instants.append(r.warm_up.ends(unobserved))
    if r.status == "draining" and r.leave is not None:
        instants.append(r.leave.clock.ends(unobserved))
    worded = r.reason in ("drained", "drain_timeout")
    if r.status == "draining" and r.leave is None and place.drain is not None and not worded:
        instants.append(place.drain.clock.ends(unobserved))
    return min(instants)
