"""The short way of a heartbeat: nothing else takes it, and it reads what the others read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from gateway.transport import whole_text
from muster.wire.beating import SHORT_MOST, heartbeat_of, quick_heartbeat, short_heartbeat
from muster.wire.codec import JSON
from registry import capabilities as can
from registry.health import judge
from tests.unit.test_wire_reading import BEATS

PAYLOADS = st.integers(0, 70_000).map(lambda size: b"x" * size) | st.binary(max_size=300)


def frame(payload: bytes, opcode: Opcode = Opcode.TEXT, **options: bool) -> bytes:
    """A frame as a client sends it."""
    return Frame(opcode, payload, **options).serialize(mask=True, extensions=[])


@given(PAYLOADS)
def test_one_whole_text_frame_is_taken_unless_it_is_large(payload: bytes) -> None:
    found = whole_text(frame(payload))
    assert found == (payload if len(payload) < 65_536 else None)


@given(st.binary(max_size=300), st.integers(1, 310), st.binary(min_size=1, max_size=20))
def test_less_or_more_than_one_frame_is_not_taken(payload: bytes, cut: int, more: bytes) -> None:
    whole = frame(payload)
    assert whole_text(whole[: -min(cut, len(whole))]) is None
    assert whole_text(whole + more) is None


@pytest.mark.parametrize("size", [5, 200])
@pytest.mark.parametrize(
    "other",
    [
        lambda payload: frame(payload, Opcode.BINARY),
        lambda payload: frame(payload, Opcode.CONT),
        lambda payload: frame(payload, fin=False),
        lambda payload: bytes([frame(payload)[0] | 0x40]) + frame(payload)[1:],
        lambda payload: Frame(Opcode.TEXT, payload).serialize(mask=False, extensions=[]),
    ],
    ids=["binary", "continued", "to be continued", "of an extension", "unmasked"],
)
def test_any_other_frame_is_not_taken(other: Any, size: int) -> None:
    assert whole_text(other(b"y" * size)) is None


@pytest.mark.parametrize("size", [0, 5, 125])
def test_an_unmasked_frame_with_as_much_behind_it_as_a_mask_is_not_taken(size: int) -> None:
    assert whole_text(bytes([0x81, size]) + b"z" * (size + 4)) is None


@given(BEATS)
def test_the_short_way_reads_what_the_quick_way_reads(beat: dict[str, Any]) -> None:
    data = json.dumps(beat).encode()
    short = short_heartbeat(data)
    if short is None:
        return
    quick = quick_heartbeat(data, JSON)
    assert quick is not None
    assert (short.node_id, short.usage, short.health_ok) == (
        quick.node_id,
        quick.usage,
        quick.health_ok,
    )
    for ready in (True, False):
        assert judge(short, ready) is judge(quick, ready)
    assert can.unpack_report(can.pack_report(short)) == can.unpack_report(can.pack_report(quick))


@pytest.mark.parametrize(
    "more",
    [
        {"installed_models": []},
        {"hardware": {"gpus": []}},
        {"capability_state": {}},
        {"node_token": "a secret that must not be stored"},
        {"health": {"reason": "过热"}},
        {"timestamp": "t" * SHORT_MOST},
        {"resource_usage": {"gpu_percent": "40"}},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_says_more_or_is_odd_takes_another_way(more: dict[str, Any]) -> None:
    beat = {"type": "node_heartbeat", "resource_usage": {"gpu_percent": 40}}
    assert short_heartbeat(json.dumps(beat).encode()) is not None
    assert short_heartbeat(json.dumps(beat | more, ensure_ascii=False).encode()) is None


def test_another_type_takes_another_way() -> None:
    assert short_heartbeat(b'{"type":"node_register"}') is None
    assert short_heartbeat(b"{}") is None
    assert short_heartbeat(b"[1]") is None


def test_a_report_kept_as_it_came_is_shown_as_any_other() -> None:
    sent = {
        "type": "node_heartbeat",
        "timestamp": 5,
        "resource_usage": {"gpu_percent": 40, "fan": "loud", "gpus": [{"index": 0}]},
        "health": {"ok": False, "reason": "hot"},
    }
    kept = can.pack_report(short_heartbeat(json.dumps(sent).encode()) or heartbeat_of(b"{}"))
    assert kept == json.dumps(sent).encode()
    shown = can.unpack_report(kept)
    assert shown["resource_usage"]["fan"] == "loud"
    assert shown["resource_usage"]["gpus"][0]["healthy"] is True
    assert (shown["timestamp"], shown["health_ok"], shown["health_reason"]) == (5, False, "hot")
