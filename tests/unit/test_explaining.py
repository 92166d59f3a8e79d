"""Why a node is not ready, what to do, and what it waits for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.explaining import TO_DO, Explanation, explain
from muster.wire.errors import Locale
from registry.model import Facts, Reason, Status
from registry.reading import NodeDetail
from registry.requirement import Requirement
from registry.settings import RegistrySettings
from registry.subject import Intent
from tests.unit.test_requirement import subject
from tests.unit.test_rules import NOW, facts

SETTINGS = RegistrySettings()
DRAIN = Intent("stamp", NOW - 5_000, "alice", "new card", 60_000)


def told(
    status: str,
    reason: str = "",
    *,
    about: dict[str, Any] | None = None,
    events: tuple[dict[str, Any], ...] = (),
    locale: Locale = "en",
    wanted: Requirement | None = None,
    gone: bool = False,
    **known: Any,
) -> Explanation:
    shown: dict[str, Any] = {"now": NOW, "since": NOW - 10_000, "last_beat": NOW - 1_000}
    detail = NodeDetail(
        subject=subject(status=status, reason=reason, **shown | (about or {})),
        sid="sid", session=1, ever_ready=False, window="", address="", boot_id="", verdicts=(),
        holds=(), events=events,
    )  # fmt: skip
    judged: Facts | None = None if gone else facts(Status(status), reason=reason, **known)
    return explain(detail, judged, SETTINGS, locale, wanted)


def test_a_ready_node_waits_for_nothing() -> None:
    found = told("ready", "healthy")
    assert found.selectable
    assert (found.why_not, found.to_do, found.waits_for, found.blame) == ((), (), None, None)
    assert (found.for_ms, found.matches) == (10_000, None)


def test_a_new_node_is_told_how_many_good_heartbeats_it_has_and_how_long_it_may_take() -> None:
    found = told("registering", "registered", window="PPg", warmup_at=NOW - 20_000)
    assert found.waits_for is not None
    assert (found.waits_for.what, found.waits_for.have, found.waits_for.needed) == (
        "good_heartbeats", 2, 3,
    )  # fmt: skip
    assert found.waits_for.changes_in_ms == 40_000
    assert found.waits_for.text == "3 good heartbeats in a row; it has 2"
    assert [point.code for point in found.why_not] == ["status_not_ready"]


@pytest.mark.parametrize(("locale", "text"), [("en", "one good heartbeat"), ("zh", "一次正常心跳")])
def test_what_needs_a_single_heartbeat_is_told_so_in_the_singular(
    locale: Locale, text: str
) -> None:
    found = told("degraded", "gpu_unavailable", window="g", ever_ready=True, locale=locale)
    assert found.waits_for is not None
    assert (found.waits_for.needed, found.waits_for.text) == (1, text)


def test_warm_up_does_not_run_while_nobody_watched() -> None:
    found = told("registering", warmup_at=NOW - 90_000, unobserved=50_000)
    assert found.waits_for is not None and found.waits_for.changes_in_ms == 20_000


@pytest.mark.parametrize(
    ("letter", "code", "word"),
    [
        ("g", "gpu_unavailable", "nvidia-smi"),
        ("m", "model_missing", "model"),
        ("s", "self_reported", "log"),
        ("b", "missed_heartbeat", "network"),
        ("j", "job_failed", "failed"),
    ],
)
def test_a_failing_node_is_told_what_failed_and_what_to_do(
    letter: str, code: str, word: str
) -> None:
    found = told("degraded", "warmup_timeout", window=letter)
    assert [point.code for point in found.why_not] == ["status_not_ready", code]
    assert word in found.to_do[0]
    assert not found.selectable


def test_a_degraded_node_that_was_ready_needs_one_pass_and_a_new_one_three() -> None:
    for ever, needed in ((True, 1), (False, 3)):
        found = told("degraded", "gpu_unavailable", ever_ready=ever, window="g")
        assert found.waits_for is not None
        assert (found.waits_for.have, found.waits_for.needed) == (0, needed)


def test_a_silent_node_is_told_when_patience_ends() -> None:
    late: dict[str, Any] = {
        "about": {"ttl_ms": 5_000, "last_beat": NOW - 40_000},
        "last_beat": NOW - 40_000,
    }
    found = told("ready", "healthy", **late)
    assert found.waits_for is not None
    assert (found.waits_for.what, found.waits_for.changes_in_ms) == ("heartbeat", 5_000)
    gone = told("ready", "healthy", about={"ttl_ms": -2}, last_beat=NOW - 44_000)
    assert [point.code for point in gone.why_not] == ["not_live"]
    assert gone.to_do == (TO_DO["en"]["late"],)


def test_a_full_node_waits_for_a_job_to_end() -> None:
    found = told("ready", "healthy", about={"jobs": 1, "holds": 1})
    assert found.waits_for is not None and found.waits_for.what == "capacity"
    assert [point.code for point in found.why_not] == ["capacity_exceeded"]
    assert found.to_do == (TO_DO["en"]["full"],)


def test_a_node_without_a_usable_card_is_not_called_full() -> None:
    found = told("ready", "healthy", about={"capacity": 0})
    assert [point.code for point in found.why_not] == ["gpu_unavailable"]


def test_a_private_node_is_told_that_few_will_ask_for_it() -> None:
    assert told("ready", "healthy", about={"public": False}).to_do == (TO_DO["en"]["private"],)


def test_an_operators_drain_is_told_with_its_end() -> None:
    drained: dict[str, Any] = {
        "intent": "stamp",
        "intent_at": NOW - 5_000,
        "intent_timeout_ms": 60_000,
    }
    found = told("draining", "operator", about={"intent": DRAIN, "jobs": 2}, **drained)
    assert found.waits_for is not None
    assert (found.waits_for.what, found.waits_for.have) == ("jobs_to_end", 2)
    assert found.waits_for.changes_in_ms == 55_000
    done = told("draining", "drained", about={"intent": DRAIN}, **drained)
    assert done.waits_for is not None and done.waits_for.what == "operator"
    assert done.to_do == (TO_DO["en"]["drained by an operator"],)


def test_a_drain_whose_time_ran_out_still_waits_for_its_jobs_and_no_time_ends_that() -> None:
    found = told("draining", "drain_timeout", about={"intent": DRAIN, "jobs": 2}, intent="stamp")
    assert found.waits_for is not None
    assert (found.waits_for.what, found.waits_for.have) == ("jobs_to_end", 2)
    assert found.waits_for.changes_in_ms is None
    assert found.to_do == (TO_DO["en"]["operator"],)


def test_a_nodes_own_drain_is_told_with_its_end() -> None:
    found = told(
        "draining", "node_request", about={"leaving": "unregister", "jobs": 1},
        leave="unregister 1", leave_at=NOW - 1_000, leave_timeout_ms=3_000,
    )  # fmt: skip
    assert found.waits_for is not None and found.waits_for.changes_in_ms == 2_000
    assert found.to_do == (TO_DO["en"][Reason.NODE_REQUEST],)


@pytest.mark.parametrize("blame", ["node", "platform"])
def test_an_offline_node_is_told_whose_fault_it_was(blame: str) -> None:
    events = (
        {"type": "closed"},
        {"type": "transition", "evidence": json.dumps({"blame": blame})},
        {"type": "transition", "evidence": json.dumps({"blame": "somebody else"})},
    )
    found = told("offline", "heartbeat_timeout", about={"ttl_ms": -2}, events=events)
    assert found.blame == blame
    assert found.waits_for is not None and found.waits_for.what == "registration"


@pytest.mark.parametrize("evidence", ["", "{", "{}"])
def test_evidence_that_says_nothing_blames_nobody(evidence: str) -> None:
    events = ({"type": "transition", "evidence": evidence},)
    assert told("offline", "drained", events=events).blame is None


def test_a_record_that_went_meanwhile_is_still_told() -> None:
    assert told("degraded", "gpu_unavailable", gone=True).waits_for is None


def test_a_requirement_is_answered_by_what_is_lacking() -> None:
    assert told("ready", wanted=Requirement(("asr:zh",))).matches is True
    found = told("ready", wanted=Requirement(("asr:fr",)))
    assert (found.matches, [lack.reason for lack in found.lacks]) == (
        False, ["model_not_available"],
    )  # fmt: skip


def test_both_languages_say_the_same_things() -> None:
    assert TO_DO["zh"].keys() == TO_DO["en"].keys()
    zh = told("registering", "registered", window="P", locale="zh")
    assert zh.waits_for is not None and zh.waits_for.text == "连续 3 次正常心跳, 已有 1 次"


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("locale", ["zh", "en"])
def test_every_state_with_every_reason_has_a_summary(status: Status, locale: Locale) -> None:
    for reason in Reason:
        assert told(status, reason.value, locale=locale).summary
