"""What the server says: frames, and what differs in sentences."""

from __future__ import annotations

import json

import pytest

from muster.wire.codec import JSON, MSGPACK, Malformed
from muster.wire.errors import STATUS_TEXTS, TEXTS, ErrorCode, error_text, status_text
from muster.wire.messages import (
    HeartbeatAck,
    NodeError,
    NodeStatus,
    Reconnect,
    RegisterAck,
    Reply,
    Unknown,
)
from muster.wire.replies import read_reply


def test_a_plain_ack_has_every_field_but_the_token_and_resumed() -> None:
    assert json.loads(JSON.encode(RegisterAck(node_id="n"))) == {
        "type": "node_register_ack",
        "node_id": "n",
        "message": "registered",
        "status": "registering",
        "session": 0,
        "version": 0,
        "heartbeat_interval_ms": 15000,
        "heartbeat_timeout_ms": 45000,
        "warnings": [],
    }
    full = json.loads(JSON.encode(RegisterAck(node_id="n", node_token="t", resumed=True)))
    assert (full["node_token"], full["resumed"]) == ("t", True)


def test_an_error_has_all_its_keys_also_when_null() -> None:
    error = NodeError(node_id=None, code="NO_GPU_AVAILABLE", message="m")
    assert json.loads(JSON.encode(error)) == {
        "type": "node_error",
        "node_id": None,
        "code": "NO_GPU_AVAILABLE",
        "message": "m",
        "details": None,
    }


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)
@pytest.mark.parametrize(
    "reply",
    [
        RegisterAck(node_id="n", session=3, warnings=["w"], resumed=True),
        NodeError(node_id="n", code="INVALID_MESSAGE", message="m", details={"path": None}),
        NodeStatus(
            node_id="n", status="ready", previous=None, reason="healthy", message="m",
            timestamp=1, version=2,
        ),
        HeartbeatAck(node_id="n", next_ms=1, store="ok"),
        Reconnect(after_ms=1, reason="restarting"),
    ],
    ids=lambda reply: type(reply).__name__,
)  # fmt: skip
def test_a_reply_is_read_as_it_was_written(codec: object, reply: Reply) -> None:
    chosen = MSGPACK if codec is MSGPACK else JSON
    assert read_reply(chosen.encode(reply), chosen) == reply


def test_an_agent_passes_over_types_it_does_not_know() -> None:
    assert read_reply('{"type":"new"}', JSON) == Unknown(type="new")


@pytest.mark.parametrize("data", ["[]", "{}", "x", '{"type":"reconnect"}'])
def test_a_reply_that_is_none_is_malformed(data: str) -> None:
    with pytest.raises(Malformed):
        read_reply(data, JSON)


def test_the_codecs_name_their_subprotocols() -> None:
    assert (JSON.subprotocol, JSON.binary) == (None, False)
    assert (MSGPACK.subprotocol, MSGPACK.binary) == ("muster.v1.msgpack", True)


def test_every_error_has_a_sentence_in_both_languages() -> None:
    assert len(ErrorCode) == 9
    for texts in TEXTS.values():
        assert set(texts) == set(ErrorCode)


@pytest.mark.parametrize("locale", ["zh", "en"])
def test_details_show_in_the_sentences_they_matter_to(locale: str) -> None:
    assert "2.0" in error_text(
        ErrorCode.INVALID_CAPABILITY_SCHEMA, locale, supported=["1.0", "2.0"]
    )
    assert "abc" in error_text(ErrorCode.INTERNAL_ERROR, locale, trace_id="abc")
    waiting = error_text(ErrorCode.NODE_ID_CONFLICT, locale, retry_after_ms=1000)
    assert waiting != error_text(ErrorCode.NODE_ID_CONFLICT, locale)


def test_both_languages_know_the_same_reasons() -> None:
    assert set(STATUS_TEXTS["zh"]) == set(STATUS_TEXTS["en"])


def test_drained_means_something_else_under_the_operator_s_drain() -> None:
    assert status_text("draining", "drained", "en") != status_text("offline", "drained", "en")
