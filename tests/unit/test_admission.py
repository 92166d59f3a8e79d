"""Whose id is it: every rule, and the invariants between them."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from gateway.admission import (
    Accept,
    Ask,
    Attempt,
    Conflict,
    Decision,
    Duplicate,
    Holder,
    Outrun,
    Policy,
    decide,
)
from gateway.tokens import TokenCheck
from registry.model import Existing, Status

POLICY = Policy(
    require_token=False, takeover_limit=3, takeover_window_ms=60_000, retry_after_ms=45_000
)
NOW = 1_000_000
HELD = Existing(
    node_id="node-A",
    sid="old",
    session=1,
    version=1,
    status="ready",
    reason="healthy",
    gateway="g1",
    digest="d",
    capabilities=("any",),
    hardware_digest="h",
    token_shown=False,
    boot_id="b1",
    attempt=4,
    address="10.0.0.1",
    takeovers="",
    closed=False,
    leaving=False,
    intent="",
)
SAME = Attempt(TokenCheck.NONE, boot_id="b1", attempt=5, address="10.0.0.1")
KNOWN = dataclasses.replace(SAME, token=TokenCheck.RIGHT)
OTHER = Attempt(TokenCheck.RIGHT, boot_id="b2", attempt=1, address="10.0.0.2")


def judged(
    existing: Existing | None,
    attempt: Attempt,
    holder: Holder = Holder.UNKNOWN,
    policy: Policy = POLICY,
) -> Decision:
    return decide(existing, attempt, policy, holder, NOW)


def held(**changes: object) -> Existing:
    return dataclasses.replace(HELD, **changes)  # type: ignore[arg-type]


def test_an_unknown_id_is_accepted() -> None:
    assert judged(None, SAME) == Accept("register")


def test_a_wrong_token_is_a_conflict_always() -> None:
    wrong = dataclasses.replace(SAME, token=TokenCheck.WRONG, own_sid="old")
    for existing in (None, HELD, held(closed=True), held(status="offline")):
        assert judged(existing, wrong) == Conflict()


def test_the_right_token_takes_over_at_once() -> None:
    assert judged(HELD, KNOWN) == Accept("resume")


def test_the_same_socket_keeps_its_id_without_a_token() -> None:
    own = dataclasses.replace(SAME, own_sid="old", attempt=0)
    assert judged(held(token_shown=True), own) == Accept("register")


def test_without_a_token_an_owned_id_is_lost_for_good() -> None:
    assert judged(held(token_shown=True, closed=True), SAME) == Conflict()


def test_without_a_token_every_known_id_is_lost_where_tokens_are_required() -> None:
    strict = dataclasses.replace(POLICY, require_token=True)
    assert judged(held(closed=True), SAME, policy=strict) == Conflict()
    assert judged(None, SAME, policy=strict) == Accept("register")


def test_a_plain_client_comes_back_once_its_socket_is_closed() -> None:
    assert judged(held(closed=True), SAME) == Accept("register")


def test_a_plain_client_comes_back_once_its_gateway_is_gone() -> None:
    assert judged(HELD, SAME, Holder.ABSENT) == Accept("register")


def test_a_held_socket_is_asked_about() -> None:
    assert judged(HELD, SAME) == Ask("g1", "old")


def test_a_living_twin_keeps_the_id_for_now() -> None:
    assert judged(HELD, SAME, Holder.ALIVE) == Conflict(45_000)


def test_a_half_open_twin_loses_the_id() -> None:
    assert judged(HELD, SAME, Holder.NO_PONG) == Accept("register")
    assert judged(HELD, SAME, Holder.GONE) == Accept("register")


def test_a_lower_attempt_of_the_same_boot_never_supersedes_a_higher_one() -> None:
    late = dataclasses.replace(KNOWN, attempt=3)
    assert judged(HELD, late) == Outrun()
    assert judged(held(closed=True), late) == Accept("resume")


def test_takeovers_between_machines_are_counted() -> None:
    assert judged(HELD, OTHER) == Accept("resume", str(NOW))
    assert judged(held(takeovers="990000"), OTHER) == Accept("resume", f"990000,{NOW}")


def test_the_fourth_takeover_in_a_minute_is_a_duplicate_identity() -> None:
    assert judged(held(takeovers="950000,960000,970000"), OTHER) == Duplicate()


def test_takeovers_longer_ago_are_forgotten() -> None:
    assert judged(held(takeovers="900000,930000,935000"), OTHER) == Accept("resume", str(NOW))


def test_a_machine_coming_back_to_its_own_place_is_no_takeover() -> None:
    many = held(takeovers="950000,960000,970000")
    assert judged(many, KNOWN) == Accept("resume", many.takeovers)
    assert isinstance(judged(dataclasses.replace(many, closed=True), OTHER), Accept)


existing_records = st.none() | st.builds(
    lambda **changes: held(**changes),
    status=st.sampled_from([s.value for s in Status]),
    token_shown=st.booleans(),
    closed=st.booleans(),
    attempt=st.integers(0, 9),
)
attempts = st.builds(
    Attempt,
    token=st.sampled_from(TokenCheck),
    boot_id=st.sampled_from(["", "b1", "b2"]),
    attempt=st.integers(0, 9),
    address=st.sampled_from(["10.0.0.1", "10.0.0.2"]),
    own_sid=st.sampled_from(["", "old", "older"]),
)


@given(existing_records, attempts, st.sampled_from(Holder))
def test_nobody_without_the_right_token_takes_a_living_socket(
    existing: Existing | None, attempt: Attempt, holder: Holder
) -> None:
    decision = judged(existing, attempt, holder)
    if (
        isinstance(decision, Accept)
        and existing is not None
        and attempt.token is not TokenCheck.RIGHT
        and attempt.own_sid != existing.sid
    ):
        assert existing.closed or holder in (Holder.ABSENT, Holder.GONE, Holder.NO_PONG)
        assert not existing.token_shown


@given(existing_records, attempts)
def test_an_answer_always_decides(existing: Existing | None, attempt: Attempt) -> None:
    for holder in set(Holder) - {Holder.UNKNOWN}:
        assert not isinstance(judged(existing, attempt, holder), Ask)
