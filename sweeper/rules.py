"""The life of a node: who becomes what, when, and why.

Two rules hold. First, `TABLE` is the whole of it: rows are tried from top to bottom, and the first
whose `when` holds is the decision; a state that no row leaves stays. Second, everything here is
pure: facts and limits in, at most one decision out; the script that commits it compares again
what it rests on, and a recorded decision can be judged anew from its evidence.

This file does not read clocks, does not touch the store, and decides nothing about retention's
deletion except that it is time (`expired`).

Silence, warm-up and drain clocks do not run while nobody observed the partition: every such
duration is `now - then - (unobserved now - unobserved then)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from registry.model import Act, Decision, Facts, Reason, Status, Verdict
from registry.settings import RegistrySettings
from registry.window import in_a_row, three_pass, unfit

REGISTERING, READY, DEGRADED, DRAINING, OFFLINE = (
    Status.REGISTERING,
    Status.READY,
    Status.DEGRADED,
    Status.DRAINING,
    Status.OFFLINE,
)
ANY_BUT_OFFLINE = (REGISTERING, READY, DEGRADED, DRAINING)
IN_SERVICE = (REGISTERING, READY, DEGRADED)
HELD_LOOK_MS = 1000


@dataclass(frozen=True)
class Limits:
    """The numbers in force, ms."""

    heartbeat_timeout_ms: int
    warmup_timeout_ms: int
    retention_ms: int
    gateway_grace_ms: int
    flap_damping: bool
    flap_window_ms: int
    flap_hold_ms: int

    @classmethod
    def of(cls, s: RegistrySettings) -> Limits:
        """The limits of some settings."""
        return cls(
            heartbeat_timeout_ms=round(s.heartbeat_timeout_s * 1000),
            warmup_timeout_ms=round(s.warmup_timeout_s * 1000),
            retention_ms=round(s.retention_s * 1000),
            gateway_grace_ms=round(s.gateway_grace_s * 1000),
            flap_damping=s.flap_damping,
            flap_window_ms=round(s.flap_window_s * 1000),
            flap_hold_ms=round(s.flap_hold_s * 1000),
        )


@dataclass(frozen=True)
class Case:
    """One node's facts, the limits in force, and whether its gateway is present."""

    f: Facts
    limits: Limits
    gateway_present: bool

    def clock(self, since: int, unobserved_then: int) -> int:
        """Observed ms since an instant."""
        return self.f.now - since - (self.f.unobserved - unobserved_then)

    @property
    def silence(self) -> int:
        return self.clock(self.f.last_beat, self.f.beat_unobserved)

    @property
    def silence_allowed(self) -> int:
        """45 s; up to 90 s for the nodes of a gateway that is itself gone."""
        timeout = self.limits.heartbeat_timeout_ms
        if self.gateway_present:
            return timeout
        return max(timeout, self.limits.gateway_grace_ms)

    @property
    def live(self) -> bool:
        """The TTL key stands; one that outlives the time-out is a skewed clock's."""
        return 0 < self.f.ttl_ms <= self.limits.heartbeat_timeout_ms

    @property
    def idle(self) -> bool:
        return self.f.jobs == 0 and self.f.holds == 0


def last_failure(f: Facts, otherwise: Reason) -> Reason:
    """The reason of the newest failure since the registration."""
    for letter in f.window + f.last_failure:
        reason = Verdict(letter).reason
        if reason is not None:
            return reason
    return otherwise


# When a row applies -----------------------------------------------------------------------------


def removed_by_operator(c: Case) -> bool:
    return c.f.leave_kind == "remove"


def left_with_nothing_to_drain(c: Case) -> bool:
    own_drain = c.f.status is DRAINING and c.f.reason == Reason.NODE_REQUEST
    leaving = c.f.leave_kind == "unregister" and (not c.f.leave_drain or not own_drain)
    return leaving and (not c.f.leave_drain or c.idle)


def silent_too_long(c: Case) -> bool:
    return not c.live and c.silence >= c.silence_allowed


def drained_itself(c: Case) -> bool:
    reported = c.f.reported_at > c.f.leave_at
    return c.f.leave_kind == "unregister" and reported and c.idle


def own_drain_ran_out(c: Case) -> bool:
    ran = c.clock(c.f.leave_at, c.f.leave_unobserved)
    return c.f.leave_kind == "unregister" and ran >= c.f.leave_timeout_ms


def operator_drains(c: Case) -> bool:
    return c.f.intent != ""


def node_drains(c: Case) -> bool:
    return c.f.leave_kind == "unregister" and c.f.leave_drain


def drained_for_operator(c: Case) -> bool:
    intended = c.f.intent != "" and c.f.leave == "" and c.f.reason != Reason.DRAINED
    return intended and c.f.reported_at > c.f.intent_at and c.idle


def operators_drain_ran_out(c: Case) -> bool:
    worded = c.f.reason in (Reason.DRAINED, Reason.DRAIN_TIMEOUT)
    ran = c.clock(c.f.intent_at, c.f.intent_unobserved)
    return c.f.intent != "" and c.f.leave == "" and not worded and ran >= c.f.intent_timeout_ms


def operator_allows_more_time(c: Case) -> bool:
    """Drained again after the time ran out: the word says so until the new time runs out too."""
    worded = c.f.reason == Reason.DRAIN_TIMEOUT
    ran = c.clock(c.f.intent_at, c.f.intent_unobserved)
    return c.f.intent != "" and c.f.leave == "" and worded and ran < c.f.intent_timeout_ms


def _resumed(c: Case) -> bool:
    return c.f.intent == "" and c.f.leave == ""


def resumed_fit(c: Case) -> bool:
    return _resumed(c) and c.f.ever_ready and c.f.last_verdict == Verdict.PASS


def resumed_unfit(c: Case) -> bool:
    return _resumed(c) and c.f.ever_ready and c.f.last_verdict != Verdict.PASS


def resumed_untried(c: Case) -> bool:
    return _resumed(c) and not c.f.ever_ready


def last_three_pass(c: Case) -> bool:
    return three_pass(c.f.window)


def warmup_ran_out(c: Case) -> bool:
    return c.clock(c.f.warmup_at, c.f.warmup_unobserved) >= c.limits.warmup_timeout_ms


def became_unfit(c: Case) -> bool:
    return unfit(c.f.window)


def damped(c: Case) -> bool:
    """With `flap_damping`, a node that degraded twice within the window waits its time."""
    f, limits = c.f, c.limits
    if not limits.flap_damping or f.degradations < 2:
        return False
    return f.now - f.degraded_at < limits.flap_hold_ms * f.degradations


def passed_again(c: Case) -> bool:
    return c.f.ever_ready and in_a_row(c.f.window)[:1] == Verdict.PASS and not damped(c)


def passed_at_last(c: Case) -> bool:
    return not c.f.ever_ready and three_pass(c.f.window) and not damped(c)


# The table --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """From any of `sources` to `to` when `when` holds. `reason` None: the last failure's, or
    `otherwise` when nothing failed. `by` is whose act it follows from. `drained` and `silence` name
    what the script sees again. `by_time`: it rests on a duration, so nobody may be judged by it
    while time that passed may not be written down as unobserved yet."""

    sources: tuple[Status, ...]
    to: Status
    when: Callable[[Case], bool]
    reason: Reason | None
    words: str
    otherwise: Reason = Reason.WARMUP_TIMEOUT
    drained: bool = False
    silence: bool = False
    by_time: bool = False
    starts_warmup: bool = False
    by: Literal["intended", "left", "resumed"] | None = None


TABLE: tuple[Row, ...] = (
    Row(ANY_BUT_OFFLINE, OFFLINE, removed_by_operator, Reason.REMOVED,
        "an operator removed it", by="left"),
    Row(ANY_BUT_OFFLINE, OFFLINE, left_with_nothing_to_drain, Reason.UNREGISTERED,
        "it unregistered with nothing to drain", by="left"),
    Row(ANY_BUT_OFFLINE, OFFLINE, silent_too_long, Reason.HEARTBEAT_TIMEOUT,
        "45 s of observed silence", silence=True, by_time=True),
    Row((DRAINING,), OFFLINE, drained_itself, Reason.DRAINED,
        "its own drain: nothing runs, no holds are open", drained=True, by="left"),
    Row((DRAINING,), OFFLINE, own_drain_ran_out, Reason.DRAIN_TIMEOUT,
        "its own drain ran out of time", by_time=True, by="left"),
    Row((DRAINING,), DRAINING, drained_for_operator, Reason.DRAINED,
        "operator's drain: nothing runs, safe to take away", drained=True, by="intended"),
    Row((DRAINING,), DRAINING, operators_drain_ran_out, Reason.DRAIN_TIMEOUT,
        "operator's drain ran out of time, jobs still run", by_time=True, by="intended"),
    Row((DRAINING,), DRAINING, operator_allows_more_time, Reason.OPERATOR,
        "that drain had run out of time and was given more", by_time=True, by="intended"),
    Row((DRAINING,), READY, resumed_fit, Reason.RESUMED,
        "operator resumes; was ready, last verdict passed", by="resumed"),
    Row((DRAINING,), DEGRADED, resumed_unfit, Reason.RESUMED,
        "operator resumes; was ready, last verdict failed", by="resumed"),
    Row((DRAINING,), REGISTERING, resumed_untried, Reason.RESUMED,
        "operator resumes; never was ready, warm-up starts now", starts_warmup=True, by="resumed"),
    Row(IN_SERVICE, DRAINING, operator_drains, Reason.OPERATOR,
        "an operator drains it", by="intended"),
    Row(IN_SERVICE, DRAINING, node_drains, Reason.NODE_REQUEST,
        "it unregistered with jobs or holds", by="left"),
    Row((REGISTERING,), READY, last_three_pass, Reason.HEALTHY,
        "last 3 verdicts pass"),
    Row((REGISTERING,), DEGRADED, warmup_ran_out, None,
        "60 s without having become ready", by_time=True),
    Row((READY,), DEGRADED, became_unfit, None,
        "last 3 failed, or 3 of the last 5"),
    Row((DEGRADED,), READY, passed_again, Reason.RECOVERED,
        "was ready before: one pass"),
    Row((DEGRADED,), READY, passed_at_last, Reason.HEALTHY,
        "never was ready: last 3 verdicts pass"),
)  # fmt: skip


def judge(facts: Facts, limits: Limits, *, gateway_present: bool) -> Decision | None:
    """The one decision the facts call for, or None."""
    case = Case(facts, limits, gateway_present)
    for row in TABLE:
        if facts.status in row.sources and row.when(case):
            return _decision(case, row)
    return None


def _decision(case: Case, row: Row) -> Decision:
    facts = case.f
    reason = row.reason or last_failure(facts, row.otherwise)
    moves = facts.status is not row.to
    return Decision(
        to=row.to,
        reason=reason,
        resets_window=moves and Status.READY in (facts.status, row.to),
        silence_ms=case.silence_allowed if row.silence else 0,
        by_time=row.by_time,
        drained=row.drained,
        starts_warmup=row.starts_warmup,
        evidence=_evidence(case, row),
    )


def _evidence(case: Case, row: Row) -> dict[str, Any]:
    """All that the judgement rests on: enough to judge again; and who is behind it."""
    facts = asdict(case.f)
    for unjudged in ("capabilities", "intended", "left", "resumed"):
        del facts[unjudged]
    facts["status"] = case.f.status.value
    blame = {Reason.HEARTBEAT_TIMEOUT: "node" if case.gateway_present else "platform"}
    act: Act | None = getattr(case.f, row.by) if row.by else None
    return {
        "rule": row.when.__name__,
        "facts": facts,
        "limits": asdict(case.limits),
        "gateway_present": case.gateway_present,
        "silence_ms": case.silence,
        "blame": blame.get(row.reason) if row.reason else None,
        "by": asdict(act) if act else None,
    }


def replay(evidence: dict[str, Any]) -> Decision | None:
    """Judges recorded evidence again, under the limits recorded in it. What a later version noted
    besides, and this one does not know, changes nothing."""
    values = _known(Facts, evidence["facts"])
    values["status"] = Status(values["status"])
    facts = Facts(capabilities=(), **values)
    limits = Limits(**_known(Limits, evidence["limits"]))
    return judge(facts, limits, gateway_present=evidence["gateway_present"])


def _known(kind: type[Facts | Limits], noted: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {name: value for name, value in noted.items() if name in names}


def expired(facts: Facts, limits: Limits) -> bool:
    """Whether an offline record's retention is over."""
    return facts.status is OFFLINE and facts.now - facts.since >= limits.retention_ms


def next_look_ms(facts: Facts, limits: Limits, *, gateway_present: bool) -> int:
    """When to look again though a deadline has passed: 0 means as the record's alarm says.

    An alarm rings for nothing while a key still stands or a lapsed gateway's grace holds, and for
    a node that leaves and outlasts an operator's drain."""
    case = Case(facts, limits, gateway_present)
    if facts.status is OFFLINE:
        return 0
    if case.silence >= limits.heartbeat_timeout_ms:
        return min(HELD_LOOK_MS, max(50, case.silence_allowed - case.silence))
    if facts.status is DRAINING and facts.leave and facts.intent:
        ran = case.clock(facts.intent_at, facts.intent_unobserved)
        return HELD_LOOK_MS if ran >= facts.intent_timeout_ms else 0
    return 0
