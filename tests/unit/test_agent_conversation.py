"""One socket's conversation, with time given: when beats are due, what is believed, the end."""

from __future__ import annotations

import ast
import inspect
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.agent import conversation as module
from muster.agent.conversation import (
    ANSWER_TO_REGISTER_S,
    BEATS_APART_S,
    Acknowledged,
    Conversation,
    Ignored,
    Moving,
    Refused,
    Registered,
    StatusTold,
    Then,
)
from muster.agent.report import Claim, Report
from muster.wire.codec import JSON
from muster.wire.errors import ErrorCode
from muster.wire.messages import Heartbeat, Model, Register, Usage
from muster.wire.reading import read

REPORT = Report(
    version="1.2.3",
    platform="linux",
    hardware={"cpu_cores": 8, "memory_gb": 32, "gpus": [{"name": "RTX 3070", "memory_gb": 8}]},
    models=(Model(model_id="m", kind="asr", version="1", src_lang="zh"),),
    usage=Usage(cpu_percent=1.5, running_jobs=0),
)
OTHER_MODELS = Report(
    version="1.2.3",
    platform="linux",
    hardware=REPORT.hardware,
    models=(Model(model_id="n", kind="asr", version="1", src_lang="en"),),
)
CLAIM = Claim(node_id=None, node_token=None, boot_id="boot", attempt=1)


def latest(_low: float, high: float) -> float:
    return high


def earliest(low: float, _high: float) -> float:
    return low


def frame(type_: str, **fields: Any) -> str:
    return json.dumps({"type": type_, **fields})


def ack(**changes: Any) -> str:
    fields = {
        "node_id": "node-A",
        "message": "registered",
        "status": "registering",
        "session": 5,
        "version": 100,
        "heartbeat_interval_ms": 15000,
        "heartbeat_timeout_ms": 45000,
    }
    return frame("node_register_ack", **(fields | changes))


def status(version: int, name: str = "ready") -> str:
    return frame(
        "node_status",
        node_id="node-A",
        status=name,
        previous="registering",
        reason="healthy",
        message="m",
        timestamp=1,
        version=version,
    )


def beat_ack(next_ms: int = 14000, store: str = "ok") -> str:
    return frame("node_heartbeat_ack", node_id="node-A", next_ms=next_ms, store=store)


def error(code: str, **details: Any) -> str:
    return frame("node_error", node_id=None, code=code, message="no", details=details or None)


def registered(now: float = 0.0, uniform: Any = latest, **changes: Any) -> Conversation:
    made = Conversation(CLAIM, uniform)
    made.register(REPORT, now)
    assert isinstance(made.hear(ack(**changes), now), Registered)
    return made


def beat(talk: Conversation, now: float, report: Report = REPORT) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(talk.beat(report, now, timestamp=7))
    return sent


# What is said


def test_a_registration_is_what_a_gateway_reads_as_one() -> None:
    talk = Conversation(Claim(node_id="node-A", node_token="t", boot_id="boot", attempt=3))
    said = read(talk.register(REPORT, 0.0), JSON)
    assert isinstance(said, Register)
    assert (said.node_id, said.node_token) == ("node-A", "t")
    assert (said.boot_id, said.attempt, said.heartbeat_ack) == ("boot", 3, True)
    assert said.installed_models == REPORT.models
    assert said.hardware.gpus[0].name == "RTX 3070"
    assert said.warnings == ()


def test_a_first_registration_has_no_id() -> None:
    said = json.loads(Conversation(CLAIM).register(REPORT, 0.0))
    assert said["node_id"] is None
    assert "node_token" not in said


def test_a_heartbeat_is_what_a_gateway_reads_as_one() -> None:
    said = read(registered().beat(REPORT, 1.0, timestamp=7), JSON)
    assert isinstance(said, Heartbeat)
    assert (said.node_id, said.usage.cpu_percent, said.usage.running_jobs) == ("node-A", 1.5, 0)
    assert said.warnings == ()
    assert said.health_ok is None


def test_models_go_with_a_beat_only_after_they_changed() -> None:
    talk = registered()
    assert "installed_models" not in beat(talk, 0.0)
    assert beat(talk, 1.0, OTHER_MODELS)["installed_models"][0]["model_id"] == "n"
    assert "installed_models" not in beat(talk, 2.0, OTHER_MODELS)


def test_that_there_are_no_models_left_is_said() -> None:
    empty = Report(version="1", platform="linux", hardware=REPORT.hardware)
    assert beat(registered(), 0.0, empty)["installed_models"] == []


def test_models_of_a_beat_that_was_refused_are_sent_again() -> None:
    talk = registered()
    beat(talk, 1.0, OTHER_MODELS)
    talk.hear(error("RATE_LIMITED", retry_after_ms=100), 1.1)
    assert "installed_models" in beat(talk, 2.0, OTHER_MODELS)


def test_health_is_only_spoken_of_when_it_is_not_well() -> None:
    ill = Report(
        version="1",
        platform="linux",
        hardware=REPORT.hardware,
        health_ok=False,
        health_reason="out of disk",
    )
    assert "health" not in beat(registered(), 0.0)
    assert beat(registered(), 0.0, ill)["health"] == {"ok": False, "reason": "out of disk"}


# When beats are due


def test_no_beat_is_due_before_the_registration_is_accepted() -> None:
    talk = Conversation(CLAIM)
    talk.register(REPORT, 0.0)
    assert talk.next_beat is None
    assert not talk.beat_due(1000.0)


def test_a_new_node_beats_at_once() -> None:
    assert registered(now=3.0).beat_due(3.0)


def test_a_resumed_node_spreads_its_first_beat_over_the_interval() -> None:
    assert registered(resumed=True, uniform=latest).next_beat == 15.0
    assert registered(resumed=True, uniform=earliest).next_beat == 0.0


def test_the_first_beat_of_a_resumed_node_is_when_the_server_says() -> None:
    talk = registered(resumed=True)
    assert talk.hear(beat_ack(next_ms=4000), 0.5) == Acknowledged(None, True)
    assert talk.next_beat == 4.5


def test_the_next_beat_is_when_the_ack_says_counted_from_the_beat_itself() -> None:
    talk = registered()
    beat(talk, 10.0)
    told = talk.hear(beat_ack(next_ms=12_345), 13.0)
    assert told == Acknowledged(3.0, True)
    assert talk.next_beat == pytest.approx(22.345)


def test_an_ack_that_came_after_its_own_time_makes_the_next_beat_due_at_once() -> None:
    talk = registered()
    beat(talk, 10.0)
    talk.hear(beat_ack(next_ms=1000), 13.0)
    assert talk.next_beat == 13.0


@pytest.mark.parametrize(("uniform", "due"), [(latest, 25.0), (earliest, 22.0)])
def test_without_an_ack_beats_go_on_by_the_interval_and_a_little_less(
    uniform: Any, due: float
) -> None:
    talk = registered(uniform=uniform)
    beat(talk, 10.0)
    assert talk.next_beat == pytest.approx(due)


def test_a_beat_out_of_turn_is_due_at_once_but_not_right_after_another() -> None:
    talk = registered()
    beat(talk, 10.0)
    talk.beat_now(10.1)
    assert talk.next_beat == 10.0 + BEATS_APART_S
    talk.beat_now(12.0)
    assert talk.next_beat == 10.0 + BEATS_APART_S
    beat(talk, 12.0)
    talk.beat_now(20.0)
    assert talk.beat_due(20.0)


def test_a_beat_out_of_turn_before_the_registration_changes_nothing() -> None:
    talk = Conversation(CLAIM)
    talk.beat_now(1.0)
    assert talk.next_beat is None


def test_a_server_that_calls_for_beats_without_a_pause_gets_one() -> None:
    talk = registered()
    beat(talk, 10.0)
    talk.hear(beat_ack(next_ms=-5), 10.0)
    assert talk.next_beat is not None
    assert talk.next_beat > 10.0


def test_too_many_messages_means_a_later_beat_also_out_of_turn() -> None:
    talk = registered()
    beat(talk, 10.0)
    told = talk.hear(error("RATE_LIMITED", retry_after_ms=60_000), 10.5)
    assert isinstance(told, Refused)
    assert told.then is Then.STAY
    assert talk.next_beat == 70.5
    talk.beat_now(11.0)
    assert talk.next_beat == 70.5


def test_the_store_of_the_server_being_away_is_told() -> None:
    talk = registered()
    beat(talk, 0.0)
    assert talk.hear(beat_ack(store="unavailable"), 0.1) == Acknowledged(0.1, False)


# When to give up


def test_a_registration_without_an_answer_is_given_up() -> None:
    talk = Conversation(CLAIM)
    talk.register(REPORT, 2.0)
    assert not talk.silent(1.9 + ANSWER_TO_REGISTER_S)
    assert talk.silent(2.0 + ANSWER_TO_REGISTER_S)
    assert talk.deadline() == 2.0 + ANSWER_TO_REGISTER_S


def test_one_missed_answer_is_forgiven() -> None:
    talk = registered()
    beat(talk, 0.0)
    assert not talk.silent(14.9)


def test_two_missed_pongs_are_not() -> None:
    talk = registered()
    beat(talk, 0.0)
    beat(talk, 15.0)
    assert not talk.silent(22.4)
    assert talk.silent(22.5)


def test_two_missed_acks_are_not_though_pongs_come() -> None:
    talk = registered()
    beat(talk, 0.0)
    talk.hear(beat_ack(), 0.1)
    for at in (15.0, 30.0):
        beat(talk, at)
        talk.pong()
    assert talk.silent(37.5)


def test_a_server_that_never_acknowledged_is_judged_by_its_pongs_alone() -> None:
    talk = registered()
    for at in (0.0, 15.0, 30.0):
        beat(talk, at)
        talk.pong()
    assert not talk.silent(1000.0)


def test_an_ack_makes_up_for_the_one_before() -> None:
    talk = registered()
    for at in (0.0, 15.0):
        beat(talk, at)
        talk.pong()
    talk.hear(beat_ack(), 16.0)
    assert not talk.silent(1000.0)


def test_an_error_is_an_answer() -> None:
    talk = registered()
    beat(talk, 0.0)
    talk.hear(beat_ack(), 0.1)
    for at in (15.0, 30.0):
        beat(talk, at)
        talk.pong()
    talk.hear(error("INTERNAL_ERROR", trace_id="t"), 30.1)
    assert not talk.silent(37.5)


def test_the_deadline_is_the_earliest_of_beat_and_silence() -> None:
    talk = registered()
    beat(talk, 0.0)
    assert talk.deadline() == 15.0
    beat(talk, 15.0)
    assert talk.deadline() == 22.5


# What is believed


@given(st.lists(st.integers(90, 110), max_size=30))
def test_of_all_changes_of_status_the_newest_is_believed_whatever_comes_last(
    versions: list[int],
) -> None:
    talk = registered(version=100)
    believed = 100
    for version in versions:
        told = talk.hear(status(version), 0.0)
        assert isinstance(told, StatusTold) is (version > believed)
        believed = max(believed, version)
    assert talk.version == believed


def test_what_the_ack_said_is_not_undone_by_an_older_change() -> None:
    talk = registered(version=100)
    assert isinstance(talk.hear(status(99), 0.0), Ignored)
    assert isinstance(talk.hear(status(100), 0.0), Ignored)
    assert isinstance(talk.hear(status(101), 0.0), StatusTold)


def test_the_servers_id_is_the_nodes_whatever_it_claimed() -> None:
    talk = Conversation(Claim(node_id="node-MINE", node_token=None, boot_id="b", attempt=1))
    talk.register(REPORT, 0.0)
    told = talk.hear(ack(node_id="node-YOURS", node_token="t", resumed=True), 0.0)
    assert isinstance(told, Registered)
    assert (told.node_id, told.node_token, told.resumed) == ("node-YOURS", "t", True)
    assert beat(talk, 0.0)["node_id"] == "node-YOURS"


def test_the_documents_own_ack_is_enough() -> None:
    talk = Conversation(CLAIM)
    talk.register(REPORT, 0.0)
    told = talk.hear(
        frame("node_register_ack", node_id="node-A", message="registered", status="registering"),
        0.0,
    )
    assert isinstance(told, Registered)
    assert talk.interval_s == 15.0


@pytest.mark.parametrize(
    "data", ["", "{", "[]", "7", '{"type": 7}', '{"type":"node_register_ack"}', b"\xff\xfe"]
)
def test_what_is_no_message_changes_nothing(data: str | bytes) -> None:
    talk = registered()
    assert isinstance(talk.hear(data, 1.0), Ignored)
    assert talk.next_beat == 0.0


def test_a_message_of_a_newer_server_changes_nothing() -> None:
    assert isinstance(registered().hear(frame("job_offer", job="x"), 1.0), Ignored)


def test_a_server_that_goes_away_says_when_to_come_back() -> None:
    told = registered().hear(frame("reconnect", after_ms=1500, reason="restart"), 1.0)
    assert told == Moving(1.5, "restart")


# What refusals ask for


BEFORE: list[tuple[str, dict[str, Any], Then]] = [
    ("NO_GPU_AVAILABLE", {}, Then.MEND_HARDWARE),
    ("INVALID_MESSAGE", {"path": "labels"}, Then.BACK_OFF),
    ("INVALID_CAPABILITY_SCHEMA", {"supported": ["3.0"]}, Then.NEVER),
    ("NODE_ID_CONFLICT", {}, Then.FORGET),
    ("NODE_ID_CONFLICT", {"retry_after_ms": 2000}, Then.WAIT),
    ("NOT_REGISTERED", {}, Then.BACK_OFF),
    ("UNAUTHORIZED", {}, Then.NEVER),
    ("RATE_LIMITED", {"retry_after_ms": 2000}, Then.WAIT),
    ("UNAVAILABLE", {"retry_after_ms": 2000}, Then.WAIT),
    ("INTERNAL_ERROR", {"trace_id": "t"}, Then.BACK_OFF),
    ("A_NEWER_CODE", {}, Then.BACK_OFF),
    ("A_NEWER_CODE", {"retry_after_ms": 2000}, Then.WAIT),
]


def test_every_error_code_is_in_the_table_of_these_tests() -> None:
    assert {code for code, _, _ in BEFORE} >= {code.value for code in ErrorCode}


@pytest.mark.parametrize(("code", "details", "then"), BEFORE)
def test_a_refused_registration_asks_for_what_the_protocol_says(
    code: str, details: dict[str, Any], then: Then
) -> None:
    talk = Conversation(CLAIM)
    talk.register(REPORT, 0.0)
    told = talk.hear(error(code, **details), 0.0)
    assert isinstance(told, Refused)
    assert told.then is then
    assert told.after_s == (2.0 if "retry_after_ms" in details else None)


@pytest.mark.parametrize("code", ErrorCode)
def test_of_a_registered_node_only_taking_it_off_ends_the_life(code: ErrorCode) -> None:
    told = registered().hear(error(code.value), 0.0)
    assert isinstance(told, Refused)
    assert told.then is (Then.AGAIN if code is ErrorCode.NOT_REGISTERED else Then.STAY)


@pytest.mark.parametrize("wait", ["soon", True, -1, 2**40, None])
def test_a_wait_that_makes_no_sense_is_none(wait: Any) -> None:
    talk = Conversation(CLAIM)
    talk.register(REPORT, 0.0)
    told = talk.hear(error("UNAVAILABLE", retry_after_ms=wait), 0.0)
    assert isinstance(told, Refused)
    assert (told.after_s, told.then) == (None, Then.BACK_OFF)


def test_the_conversation_has_no_clock_of_its_own() -> None:
    """So a clock that is wrong, or jumps, can't touch it: it never sees one."""
    names = {
        node.id
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Name)
    }
    assert not names & {"time", "datetime", "monotonic"}
