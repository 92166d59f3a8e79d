"""What one heartbeat is worth."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.wire.codec import JSON
from muster.wire.messages import Gpu, GpuReport, Hardware, Heartbeat, Model, Register, Usage
from muster.wire.reading import read
from registry.capabilities import apply, required_met
from registry.health import judge
from registry.model import Verdict

GPU = Gpu(name="RTX 3070", memory_gb=8)
HARDWARE = Hardware(cpu_cores=16, memory_gb=32, gpus=(GPU,))
ASR = Model(model_id="m", kind="asr", version="1", src_lang="zh")
NODE = Register(hardware=HARDWARE, installed_models=(ASR,))
BARE = Register(hardware=HARDWARE, installed_models=())
BAD, GOOD = GpuReport(healthy=False), GpuReport(healthy=True)


def worth(register: Register = NODE, **fields: Any) -> Verdict:
    return judge(Heartbeat(**fields), required_met(register, []))


def test_a_beat_that_reports_nothing_passes_on_what_was_registered() -> None:
    assert worth() is Verdict.PASS


@pytest.mark.parametrize(
    "fields",
    [
        {"hardware_gpus": ()},
        {"hardware_gpus": (Gpu(name="none", memory_gb=0),)},
        {"hardware": Hardware(cpu_cores=1, memory_gb=1, gpus=())},
        {"usage": Usage(gpus=())},
        {"usage": Usage(gpus=(BAD, BAD))},
        {"usage": Usage(gpu_percent=-0.1)},
        {"usage": Usage(gpu_percent=100.1)},
        {"usage": Usage(gpu_percent=float("nan"))},
    ],
)
def test_a_node_without_a_usable_gpu_fails(fields: dict[str, Any]) -> None:
    assert worth(**fields) is Verdict.GPU_UNAVAILABLE


@pytest.mark.parametrize(
    "usage",
    [
        Usage(gpu_percent=0),
        Usage(gpu_percent=100),
        Usage(gpus=(BAD, GOOD)),
        Usage(cpu_percent=900.0),
    ],
)
def test_one_usable_gpu_is_enough(usage: Usage) -> None:
    assert worth(usage=usage) is Verdict.PASS


def test_no_core_capability_is_a_missing_model() -> None:
    assert worth(BARE) is Verdict.MODEL_MISSING


def test_required_models_are_demanded_by_name() -> None:
    assert judge(Heartbeat(), required_met(NODE, ["asr", "m"])) is Verdict.PASS
    assert judge(Heartbeat(), required_met(NODE, ["tts"])) is Verdict.MODEL_MISSING


def test_a_node_may_say_that_it_is_unwell() -> None:
    assert worth(health_ok=False) is Verdict.SELF_REPORTED
    assert worth(health_ok=True) is Verdict.PASS


def test_the_gravest_failure_is_named_first() -> None:
    assert worth(BARE, health_ok=False, hardware_gpus=()) is Verdict.GPU_UNAVAILABLE
    assert worth(BARE, health_ok=False) is Verdict.MODEL_MISSING


@pytest.mark.parametrize(
    ("report", "verdict"),
    [
        ({}, Verdict.PASS),
        ({"resource_usage": {"gpu_percent": 0}}, Verdict.PASS),
        ({"resource_usage": {"gpu_percent": "idle", "gpus": "well"}}, Verdict.PASS),
        ({"resource_usage": {"gpu_percent": 101}}, Verdict.GPU_UNAVAILABLE),
        ({"resource_usage": {"gpu_percent": -1}}, Verdict.GPU_UNAVAILABLE),
        ({"resource_usage": {"gpus": []}}, Verdict.GPU_UNAVAILABLE),
        (
            {"resource_usage": {"gpus": [{"healthy": False}, {"healthy": True}]}},
            Verdict.PASS,
        ),
        ({"resource_usage": {"gpus": [{"healthy": False}]}}, Verdict.GPU_UNAVAILABLE),
        ({"hardware": {"gpus": []}}, Verdict.GPU_UNAVAILABLE),
        ({"hardware": {"gpus": [{"name": "x", "memory_gb": 0}]}}, Verdict.GPU_UNAVAILABLE),
        ({"hardware": {"cpu_cores": 4}}, Verdict.PASS),
        ({"installed_models": []}, Verdict.MODEL_MISSING),
        ({"installed_models": ["unreadable"]}, Verdict.PASS),
        ({"capability_state": {"m": "error"}}, Verdict.MODEL_MISSING),
        ({"capability_by_type": [{"type": "tts", "ready": True}]}, Verdict.PASS),
        ({"health": {"ok": False}}, Verdict.SELF_REPORTED),
        ({"health": {"ok": "no"}}, Verdict.PASS),
    ],
)
def test_a_frame_is_worth_what_it_reports(report: dict[str, Any], verdict: Verdict) -> None:
    heartbeat = read(json.dumps({"type": "node_heartbeat"} | report), JSON)
    assert isinstance(heartbeat, Heartbeat)
    assert judge(heartbeat, required_met(apply(NODE, heartbeat), [])) is verdict


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_gpu_percent_passes_exactly_within_its_range(percent: float) -> None:
    assert worth(usage=Usage(gpu_percent=percent)).passed == (0 <= percent <= 100)
