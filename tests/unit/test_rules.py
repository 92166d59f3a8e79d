"""The life of a node: every row of the table, and what no row may ever do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registry.model import Act, Decision, Facts, Reason, Status, Verdict
from registry.settings import RegistrySettings
from sweeper import diagram
from sweeper.rules import TABLE, Limits, Row, expired, judge, next_look_ms, replay

REGISTERING, READY, DEGRADED, DRAINING, OFFLINE = Status
LIMITS = Limits.of(RegistrySettings())
NOW = 1_000_000_000
LEFT: dict[str, Any] = {
    "leave": "unregister 1", "leave_kind": "unregister", "leave_at": NOW - 5_000,
    "leave_drain": True, "leave_timeout_ms": 3_600_000,
}  # fmt: skip
REMOVED: dict[str, Any] = {"leave": "remove 1", "leave_kind": "remove", "leave_at": NOW - 1}
INTENT: dict[str, Any] = {
    "intent": "stamp", "intent_at": NOW - 5_000, "intent_timeout_ms": 3_600_000,
}  # fmt: skip
SILENT: dict[str, Any] = {"last_beat": NOW - 45_000, "ttl_ms": -2}
PROVEN: dict[str, Any] = {"ever_ready": True, "was_ready": True}


def facts(status: Status = READY, **changes: Any) -> Facts:
    """A live node with nothing to be judged for."""
    plain = Facts(
        node_id="node-A", now=NOW, sid="sid", version=7, status=status, reason="", since=NOW,
        gateway="gw1", digest="d1", capabilities=("any",), window="", last_failure="",
        ever_ready=False, was_ready=False, last_beat=NOW - 1_000, beat_unobserved=0,
        warmup_at=NOW - 10_000, warmup_unobserved=0, unobserved=0, ttl_ms=44_000, jobs=0,
        reported_at=NOW - 1_000, holds=0, intent="", intent_at=0, intent_timeout_ms=0,
        intent_unobserved=0, leave="", leave_at=0, leave_kind="", leave_drain=False,
        leave_timeout_ms=0, leave_unobserved=0, degradations=0, degraded_at=0, last_verdict="",
        due=0,
    )  # fmt: skip
    return replace(plain, **changes)


def judged(status: Status, *, present: bool = True, **changes: Any) -> Decision | None:
    return judge(facts(status, **changes), LIMITS, gateway_present=present)


def outcome(status: Status, **changes: Any) -> tuple[Status, Reason] | None:
    decision = judged(status, **changes)
    return None if decision is None else (decision.to, decision.reason)


BUSY = {"jobs": 1}
EXAMPLES: list[tuple[str, Status, dict[str, Any], Status, Reason]] = [
    ("removed_by_operator", READY, REMOVED | BUSY, OFFLINE, Reason.REMOVED),
    ("removed_by_operator", DRAINING, REMOVED | INTENT, OFFLINE, Reason.REMOVED),
    ("left_with_nothing_to_drain", READY, LEFT, OFFLINE, Reason.UNREGISTERED),
    (
        "left_with_nothing_to_drain", DEGRADED, LEFT | BUSY | {"leave_drain": False},
        OFFLINE, Reason.UNREGISTERED,
    ),
    ("silent_too_long", REGISTERING, SILENT, OFFLINE, Reason.HEARTBEAT_TIMEOUT),
    ("silent_too_long", DRAINING, SILENT | INTENT, OFFLINE, Reason.HEARTBEAT_TIMEOUT),
    ("drained_itself", DRAINING, LEFT | {"reason": "node_request"}, OFFLINE, Reason.DRAINED),
    (
        "own_drain_ran_out", DRAINING, LEFT | BUSY | {"leave_at": NOW - 3_600_000},
        OFFLINE, Reason.DRAIN_TIMEOUT,
    ),
    ("node_drains", READY, LEFT | BUSY, DRAINING, Reason.NODE_REQUEST),
    ("node_drains", REGISTERING, LEFT | {"holds": 1}, DRAINING, Reason.NODE_REQUEST),
    ("operator_drains", READY, INTENT, DRAINING, Reason.OPERATOR),
    ("operator_drains", REGISTERING, INTENT | {"window": "PPP"}, DRAINING, Reason.OPERATOR),
    ("drained_for_operator", DRAINING, INTENT, DRAINING, Reason.DRAINED),
    (
        "drained_for_operator", DRAINING, INTENT | {"reason": "drain_timeout"},
        DRAINING, Reason.DRAINED,
    ),
    (
        "operators_drain_ran_out", DRAINING, INTENT | BUSY | {"intent_at": NOW - 3_600_000},
        DRAINING, Reason.DRAIN_TIMEOUT,
    ),
    (
        "operator_allows_more_time", DRAINING, INTENT | BUSY | {"reason": "drain_timeout"},
        DRAINING, Reason.OPERATOR,
    ),
    ("resumed_fit", DRAINING, PROVEN | {"last_verdict": "P"}, READY, Reason.RESUMED),
    ("resumed_unfit", DRAINING, PROVEN | {"last_verdict": "g"}, DEGRADED, Reason.RESUMED),
    ("resumed_untried", DRAINING, {"last_verdict": "P"}, REGISTERING, Reason.RESUMED),
    ("last_three_pass", REGISTERING, {"window": "PPPg"}, READY, Reason.HEALTHY),
    ("last_three_pass", REGISTERING, {"window": "PjPjP"}, READY, Reason.HEALTHY),
    (
        "warmup_ran_out", REGISTERING, {"warmup_at": NOW - 60_000, "window": "PPg"},
        DEGRADED, Reason.GPU_UNAVAILABLE,
    ),
    (
        "warmup_ran_out", REGISTERING, {"warmup_at": NOW - 60_000},
        DEGRADED, Reason.WARMUP_TIMEOUT,
    ),
    ("became_unfit", READY, {"window": "mggP"}, DEGRADED, Reason.MODEL_MISSING),
    ("became_unfit", READY, {"window": "sPbPj"}, DEGRADED, Reason.SELF_REPORTED),
    ("became_unfit", READY, {"window": "jjPjP"}, DEGRADED, Reason.JOB_FAILED),
    ("became_unfit", READY, {"window": "gjgjg"}, DEGRADED, Reason.GPU_UNAVAILABLE),
    ("passed_again", DEGRADED, PROVEN | {"window": "Pggg"}, READY, Reason.RECOVERED),
    ("passed_again", DEGRADED, PROVEN | {"window": "jP"}, READY, Reason.RECOVERED),
    ("passed_at_last", DEGRADED, {"window": "PPPg"}, READY, Reason.HEALTHY),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "status", "changes", "to", "reason"), EXAMPLES)
def test_a_row_applies_as_the_table_says(
    rule: str, status: Status, changes: dict[str, Any], to: Status, reason: Reason
) -> None:
    decision = judged(status, **changes)
    assert decision is not None
    assert (decision.evidence["rule"], decision.to, decision.reason) == (rule, to, reason)


def test_every_row_has_an_example_from_each_state_or_the_same_predicate() -> None:
    assert {row.when.__name__ for row in TABLE} == {rule for rule, *_ in EXAMPLES}


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (READY, {"window": "ggPPP"}),
        (READY, {"window": "gg"}),
        (READY, {"window": "jg"}),
        (REGISTERING, {"window": "PP"}),
        (REGISTERING, {"window": "PPgPP"}),
        (REGISTERING, {"window": "PPjjj"}),
        (REGISTERING, {"warmup_at": NOW - 59_999}),
        (DEGRADED, PROVEN | {"window": "gPPPP"}),
        (DEGRADED, PROVEN | {"window": ""}),
        (DEGRADED, {"window": "PP"}),
        (DRAINING, INTENT | {"reported_at": NOW - 5_000}),
        (DRAINING, INTENT | {"holds": 1}),
        (DRAINING, INTENT | {"reason": "drained"}),
        (DRAINING, INTENT | BUSY | {"reason": "drain_timeout", "intent_at": 0}),
        (DRAINING, INTENT | LEFT | BUSY | {"reason": "drain_timeout"}),
        (DRAINING, LEFT | {"reason": "node_request", "reported_at": NOW - 5_000}),
        (DRAINING, LEFT | BUSY | {"reason": "node_request"}),
        (READY, {"last_beat": NOW - 44_999, "ttl_ms": -2}),
        (READY, {"last_beat": NOW - 90_000, "ttl_ms": 1}),
        (READY, SILENT | {"unobserved": 1}),
        (REGISTERING, {"warmup_at": NOW - 60_000, "unobserved": 1}),
        (OFFLINE, {"window": "PPP"}),
    ],
)
def test_nothing_happens_just_short_of_a_row(status: Status, changes: dict[str, Any]) -> None:
    assert judged(status, **changes) is None


def test_a_key_that_outlives_the_time_out_counts_as_gone() -> None:
    assert outcome(READY, **SILENT | {"ttl_ms": 45_001}) == (OFFLINE, Reason.HEARTBEAT_TIMEOUT)
    assert outcome(READY, **SILENT | {"ttl_ms": 45_000}) is None


def test_a_lapsed_gateways_node_is_held_for_its_grace_and_blamed_on_the_platform() -> None:
    assert judged(READY, present=False, last_beat=NOW - 89_999, ttl_ms=-2) is None
    decision = judged(READY, present=False, last_beat=NOW - 90_000, ttl_ms=-2)
    assert decision is not None
    assert (decision.silence_ms, decision.evidence["blame"]) == (90_000, "platform")
    alone = judged(READY, **SILENT)
    assert alone is not None
    assert (alone.silence_ms, alone.evidence["blame"]) == (45_000, "node")


def test_moves_into_and_out_of_ready_begin_a_new_window() -> None:
    for rule, status, changes, to, _ in EXAMPLES:
        decision = judged(status, **changes)
        assert decision is not None
        assert decision.resets_window == (READY in (status, to)), rule


def test_what_the_commit_must_see_again_is_said() -> None:
    assert judged(DRAINING, **INTENT).drained  # type: ignore[union-attr]
    assert judged(DRAINING, **LEFT | {"reason": "node_request"}).drained  # type: ignore[union-attr]
    assert judged(DRAINING, last_verdict="P").starts_warmup  # type: ignore[union-attr]


def test_a_node_leaving_under_an_operators_drain_goes_when_it_is_done() -> None:
    under = INTENT | LEFT | {"reason": "operator"}
    assert outcome(DRAINING, **under | BUSY) is None
    gone = outcome(DRAINING, **under)
    assert gone is not None
    assert gone[0] is OFFLINE


def test_a_flapping_node_is_held_only_if_damping_is_on() -> None:
    flapping = facts(
        DEGRADED, window="P", ever_ready=True, degradations=2, degraded_at=NOW - 119_999
    )
    damping = replace(LIMITS, flap_damping=True)
    assert judge(flapping, LIMITS, gateway_present=True) is not None
    assert judge(flapping, damping, gateway_present=True) is None
    rested = replace(flapping, degraded_at=NOW - 120_000)
    assert judge(rested, damping, gateway_present=True) is not None
    once = replace(flapping, degradations=1)
    assert judge(once, damping, gateway_present=True) is not None


def test_only_an_offline_record_expires_and_only_after_its_retention() -> None:
    day = LIMITS.retention_ms
    assert expired(facts(OFFLINE, since=NOW - day), LIMITS)
    assert not expired(facts(OFFLINE, since=NOW - day + 1), LIMITS)
    assert not expired(facts(DEGRADED, since=NOW - day), LIMITS)


def test_an_alarm_that_rings_for_nothing_keeps_still_for_a_while() -> None:
    assert next_look_ms(facts(), LIMITS, gateway_present=True) == 0
    assert next_look_ms(facts(OFFLINE, **SILENT), LIMITS, gateway_present=True) == 0
    assert next_look_ms(facts(**SILENT), LIMITS, gateway_present=False) == 1000
    under = facts(DRAINING, **INTENT | LEFT | BUSY | {"intent_at": NOW - 3_600_000})
    assert judge(under, LIMITS, gateway_present=True) is None
    assert next_look_ms(under, LIMITS, gateway_present=True) == 1000


@pytest.mark.parametrize(
    ("status", "changes", "who"),
    [
        (READY, INTENT, "ann"),
        (DRAINING, INTENT, "ann"),
        (DRAINING, INTENT | BUSY | {"intent_at": 0}, "ann"),
        (READY, REMOVED, "bob"),
        (READY, LEFT | BUSY, "bob"),
        (DRAINING, LEFT | BUSY | {"leave_at": 0}, "bob"),
        (DRAINING, PROVEN, "cid"),
        (DRAINING, {}, "cid"),
        (READY, INTENT | SILENT, None),
        (READY, {"window": "ggg"}, None),
    ],
)
def test_a_transition_names_who_is_behind_it(
    status: Status, changes: dict[str, Any], who: str | None
) -> None:
    acts: dict[str, Any] = {
        "intended": Act("ann", "a", 1),
        "left": Act("bob", "b", 2),
        "resumed": Act("cid", "c", 3),
    }
    decision = judged(status, **changes, **acts)
    assert decision is not None
    by = decision.evidence["by"]
    assert (by and by["who"]) == who
    assert replay(json.loads(json.dumps(decision.evidence))) is not None


def test_evidence_of_a_later_version_is_replayed_by_what_is_known_of_it() -> None:
    decision = judged(Status.REGISTERING, window="PPP")
    assert decision is not None
    evidence = json.loads(json.dumps(decision.evidence))
    for part in (evidence, evidence["facts"], evidence["limits"]):
        part["later"] = 1
    again = replay(evidence)
    assert again is not None
    assert (again.to, again.reason) == (decision.to, decision.reason)


# Properties

ages = st.sampled_from([0, 1, 1_000, 44_999, 45_000, 60_000, 90_000, 3_600_000])
windows = st.text(alphabet="Pgmsbj", max_size=5)


@st.composite
def any_facts(draw: st.DrawFn) -> Facts:
    leave = draw(st.sampled_from([("", ""), ("s", "unregister"), ("s", "remove")]))
    ever = draw(st.booleans())
    return facts(
        draw(st.sampled_from(Status)),
        reason=draw(st.sampled_from(["", "operator", "node_request", "drained", "drain_timeout"])),
        window=draw(windows),
        last_failure=draw(st.sampled_from(["", "g", "j"])),
        last_verdict=draw(st.sampled_from(["", "P", "g"])),
        ever_ready=ever,
        was_ready=ever,
        last_beat=NOW - draw(ages),
        warmup_at=NOW - draw(ages),
        unobserved=draw(ages),
        beat_unobserved=0,
        ttl_ms=draw(st.sampled_from([-2, -1, 0, 1, 45_000, 45_001])),
        jobs=draw(st.integers(0, 2)),
        holds=draw(st.integers(0, 1)),
        reported_at=NOW - draw(ages),
        intent=draw(st.sampled_from(["", "stamp"])),
        intent_at=NOW - draw(ages),
        intent_timeout_ms=3_600_000,
        leave=leave[0],
        leave_kind=leave[1],
        leave_drain=draw(st.booleans()),
        leave_at=NOW - draw(ages),
        leave_timeout_ms=3_600_000,
        degradations=draw(st.integers(0, 3)),
        degraded_at=NOW - draw(ages),
    )


any_limits = st.booleans().map(lambda on: replace(LIMITS, flap_damping=on))


def after(before: Facts, decision: Decision) -> Facts:
    """The facts once the decision is committed, as the script writes them."""
    return replace(
        before,
        status=decision.to,
        reason=decision.reason.value,
        since=before.now,
        window="" if decision.resets_window else before.window,
        warmup_at=before.now if decision.starts_warmup else before.warmup_at,
        warmup_unobserved=before.unobserved if decision.starts_warmup else before.warmup_unobserved,
        ever_ready=before.ever_ready or decision.to is READY,
        was_ready=before.was_ready or decision.to is READY,
        ttl_ms=-2 if decision.to is OFFLINE else before.ttl_ms,
        degraded_at=before.now if decision.to is DEGRADED else before.degraded_at,
    )


@given(any_facts(), any_limits, st.booleans())
def test_nothing_leads_out_of_offline(f: Facts, limits: Limits, present: bool) -> None:
    assert judge(replace(f, status=OFFLINE), limits, gateway_present=present) is None


@given(any_facts(), any_limits, st.booleans())
def test_nothing_that_leaves_or_is_drained_becomes_ready(
    f: Facts, limits: Limits, present: bool
) -> None:
    assume(f.intent or f.leave)
    decision = judge(f, limits, gateway_present=present)
    assert decision is None or decision.to in (DRAINING, OFFLINE)
    if f.status in (READY, REGISTERING, DEGRADED) and (f.intent or f.leave_drain):
        assert decision is not None


@given(any_facts(), any_limits, st.booleans())
def test_a_decision_is_never_made_twice(f: Facts, limits: Limits, present: bool) -> None:
    seen: list[tuple[Status, Reason]] = []
    for _ in range(8):
        decision = judge(f, limits, gateway_present=present)
        if decision is None:
            return
        assert (decision.to, decision.reason) not in seen
        seen.append((decision.to, decision.reason))
        f = after(f, decision)
    raise AssertionError(f"it never comes to rest: {seen}")


@given(any_facts(), any_limits, st.booleans(), st.integers(1, 5), st.integers(1, 45_000))
def test_nothing_leads_away_from_the_healthy_whose_alarms_are_set_on_unjudged(
    f: Facts, limits: Limits, present: bool, passed: int, left: int
) -> None:
    """Healthy as `registry/scripts/snooze.lua` means it."""
    f = replace(f, status=READY, window="P" * passed, leave="", leave_kind="", intent="")
    f = replace(f, ttl_ms=min(left, limits.heartbeat_timeout_ms))
    assert judge(f, limits, gateway_present=present) is None


@given(any_facts(), any_limits, st.booleans(), st.integers(0, 10**7))
def test_silence_stays_silence(f: Facts, limits: Limits, present: bool, later: int) -> None:
    f = replace(f, last_beat=NOW - 90_000, unobserved=0, ttl_ms=-2, leave="", leave_kind="")
    assume(f.status is not OFFLINE)
    decision = judge(f, limits, gateway_present=present)
    assert decision is not None
    assert decision.reason is Reason.HEARTBEAT_TIMEOUT
    again = judge(replace(f, now=f.now + later), limits, gateway_present=present)
    assert again is not None
    assert again.reason is Reason.HEARTBEAT_TIMEOUT


@given(any_facts(), st.booleans(), st.sampled_from([-1, 1]), st.integers(1, 10**7))
def test_whatever_comes_of_time_alone_says_so(
    f: Facts, present: bool, way: int, passed: int
) -> None:
    """Who may not be judged by the time that passed is told apart by nothing else. Damping is left
    out: it keeps from a change of state, and by the store's clock alone."""
    now, then = (
        judge(facts, LIMITS, gateway_present=present)
        for facts in (f, replace(f, now=f.now + way * passed))
    )
    if (now and (now.to, now.reason)) != (then and (then.to, then.reason)):
        assert (now and now.by_time) or (then and then.by_time)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.when.__name__)
def test_a_row_that_is_by_time_is_one_that_time_alone_leads_to(row: Row) -> None:
    timed = {
        "silent_too_long", "own_drain_ran_out", "operators_drain_ran_out",
        "operator_allows_more_time", "warmup_ran_out",
    }  # fmt: skip
    assert row.by_time is (row.when.__name__ in timed)


@given(any_facts(), any_limits, st.booleans())
def test_only_silence_without_a_key_is_silence(f: Facts, limits: Limits, present: bool) -> None:
    decision = judge(f, limits, gateway_present=present)
    if decision is not None and decision.reason is Reason.HEARTBEAT_TIMEOUT:
        assert not 0 < f.ttl_ms <= limits.heartbeat_timeout_ms
        assert f.now - f.last_beat - f.unobserved >= decision.silence_ms
        assert decision.silence_ms >= limits.heartbeat_timeout_ms


@given(any_facts(), any_limits, st.booleans())
def test_only_a_node_whose_newest_verdict_passed_becomes_ready(
    f: Facts, limits: Limits, present: bool
) -> None:
    decision = judge(f, limits, gateway_present=present)
    if decision is not None and decision.to is READY:
        if decision.reason is Reason.RESUMED:
            assert f.last_verdict == Verdict.PASS
        else:
            assert f.window.replace("j", "").startswith("P")


@given(any_facts(), any_limits, st.booleans())
def test_evidence_survives_json_and_leads_to_the_same_decision(
    f: Facts, limits: Limits, present: bool
) -> None:
    decision = judge(f, limits, gateway_present=present)
    if decision is not None:
        assert replay(json.loads(json.dumps(decision.evidence))) == replace(
            decision, evidence=replay(decision.evidence).evidence  # type: ignore[union-attr]
        )  # fmt: skip


# The document


def test_the_document_is_drawn_from_the_table() -> None:
    assert diagram.main(["--check"]) == 0, "run: python -m sweeper.diagram"


def test_every_row_is_in_the_drawn_table_and_every_move_in_the_diagram() -> None:
    table, chart = diagram.table(), diagram.diagram()

    def shown(row: Row) -> bool:
        moves = (f"{source} --> {row.to}" for source in row.sources)
        return row.words in table and all(move in chart for move in moves)

    assert all(shown(row) for row in TABLE)


def test_a_document_without_a_place_for_the_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="place"):
        diagram.drawn("nothing")
