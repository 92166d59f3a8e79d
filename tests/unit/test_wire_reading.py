"""Frames of nodes: what is accepted, what is refused, and where the finger points."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.wire.beating import heartbeat, quick_heartbeat
from muster.wire.codec import JSON, MSGPACK
from muster.wire.errors import ErrorCode
from muster.wire.messages import (
    Gpu,
    Heartbeat,
    JobResult,
    LanguageCapabilities,
    Model,
    Register,
    Service,
    Unknown,
    Unregister,
)
from muster.wire.reading import InvalidMessage, NoGpu, WireError, read

CARD = {"name": "RTX 3070", "memory_gb": 8}
MODEL = {
    "model_id": "m1", "kind": "nmt", "src_lang": "zh", "tgt_lang": "en", "version": "1.0.0",
}  # fmt: skip
REGISTER: dict[str, Any] = {
    "type": "node_register",
    "node_id": None,
    "version": "1.0.0",
    "platform": "windows",
    "hardware": {"cpu_cores": 16, "memory_gb": 32, "gpus": [CARD]},
    "installed_models": [MODEL],
}
ABSENT = object()


def registering(path: str = "", value: Any = ABSENT, **changes: Any) -> dict[str, Any]:
    """A good registration with one place changed; without a value the place is taken out."""
    message = copy.deepcopy(REGISTER) | changes
    if path:
        *way, last = path.split(".")
        place: Any = message
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]
        if value is ABSENT:
            del place[last]
        else:
            place[int(last) if isinstance(place, list) else last] = value
    return message


def registered(message: dict[str, Any]) -> Register:
    read_back = read(json.dumps(message), JSON)
    assert isinstance(read_back, Register)
    assert read(MSGPACK.encode(message), MSGPACK) == read_back
    return read_back


def beaten(**fields: Any) -> Heartbeat:
    read_back = read(json.dumps({"type": "node_heartbeat", **fields}), JSON)
    assert isinstance(read_back, Heartbeat)
    return read_back


def refusal(data: str | bytes | dict[str, Any]) -> WireError:
    with pytest.raises(WireError) as caught:
        read(json.dumps(data) if isinstance(data, dict) else data, JSON)
    return caught.value


# Registrations


def test_a_registration_is_understood_with_its_defaults() -> None:
    message = registered(REGISTER)
    assert message.node_id is None
    assert message.hardware.gpus == (Gpu(name="RTX 3070", memory_gb=8.0),)
    assert message.installed_models[0].enabled
    assert message.installed_models[0].status == "ready"
    assert message.accept_public_jobs
    assert message.capability_schema_version == "1.0"
    assert message.capability_by_type is None
    assert message.warnings == ()


@pytest.mark.parametrize(
    "message",
    [
        registering("hardware"),
        registering("hardware", None),
        registering("hardware", {}),
        registering("hardware.gpus", None),
        registering("hardware.gpus", []),
        registering("hardware.gpus", [{"name": "x", "memory_gb": 0}]),
        registering("hardware.gpus", [{"name": "x", "memory_gb": -8}]),
        {"type": "node_register"},
        {"type": "node_register", "hardware": {"gpus": []}, "installed_models": [{}]},
    ],
)
def test_without_a_usable_gpu_the_answer_is_no_gpu(message: dict[str, Any]) -> None:
    error = refusal(message)
    assert isinstance(error, NoGpu)
    assert error.code is ErrorCode.NO_GPU_AVAILABLE
    assert error.details is None
    assert error.type == "node_register"
    assert not error.unreadable


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (registering("hardware", "big"), "hardware"),
        (registering("hardware.gpus", {}), "hardware.gpus"),
        (registering("hardware.gpus.0", "RTX"), "hardware.gpus[0]"),
        (registering("hardware.gpus.0", {"memory_gb": 8}), "hardware.gpus[0].name"),
        (registering("hardware.gpus.0", {"name": "x"}), "hardware.gpus[0].memory_gb"),
        (registering("hardware.gpus.0.memory_gb", "8"), "hardware.gpus[0].memory_gb"),
        (registering("hardware.gpus.0.uuid", 7), "hardware.gpus[0].uuid"),
        (registering("hardware.cpu_cores"), "hardware.cpu_cores"),
        (registering("hardware.cpu_cores", 0.5), "hardware.cpu_cores"),
        (registering("hardware.cpu_cores", True), "hardware.cpu_cores"),
        (registering("hardware.memory_gb", 0), "hardware.memory_gb"),
        (registering("hardware.memory_gb", 10**400), "hardware.memory_gb"),
        (registering("installed_models"), "installed_models"),
        (registering("installed_models", None), "installed_models"),
        (registering("installed_models", {}), "installed_models"),
        (registering("installed_models.0", 3), "installed_models[0]"),
        (registering("installed_models.0.kind"), "installed_models[0].kind"),
        (registering("installed_models.0.kind", 3), "installed_models[0].kind"),
        (registering("installed_models.0.kind", "ocr"), "installed_models[0].kind"),
        (registering("installed_models.0.version", 1.0), "installed_models[0].version"),
        (registering("installed_models.0.model_id", None), "installed_models[0].model_id"),
        (registering("installed_models.0.enabled", "yes"), "installed_models[0].enabled"),
        (registering(version=1), "version"),
        (registering(platform=[]), "platform"),
        (registering(node_id=5), "node_id"),
        (registering(node_id="a b"), "node_id"),
        (registering(node_id="x" * 65), "node_id"),
        (registering(node_id="node\n"), "node_id"),
        (registering(features_supported=[]), "features_supported"),
        (registering(features_supported={"f": "yes"}), "features_supported.f"),
        (registering(accept_public_jobs="no"), "accept_public_jobs"),
        (registering(capability_schema_version=2.0), "capability_schema_version"),
        (registering(advanced_features=["a", 1]), "advanced_features[1]"),
        (registering(max_concurrent_jobs=0), "max_concurrent_jobs"),
        (registering(max_concurrent_jobs=1.5), "max_concurrent_jobs"),
        (registering(max_concurrent_jobs=True), "max_concurrent_jobs"),
        (registering(labels={"a": 1}), "labels.a"),
        (registering(labels={"a": "é" * 129}), "labels.a"),
        (registering(labels={"a": "x\ny"}), "labels.a"),
        (registering(labels={"a": "x\n"}), "labels.a"),
        (registering(labels={"a": "\x1b[2J"}), "labels.a"),
        (registering(labels={"a": "\x85"}), "labels.a"),
        (registering(labels={"a": "\u2028"}), "labels.a"),
        (registering(labels={"a\nb": "x"}), "labels.a\nb"),
        (registering(labels={str(n): "" for n in range(33)}), "labels"),
        (registering(node_token=1), "node_token"),
        (registering(attempt=-1), "attempt"),
        (registering(heartbeat_ack=1), "heartbeat_ack"),
    ],
)
def test_a_misfit_is_named_by_its_path(message: dict[str, Any], path: str) -> None:
    error = refusal(message)
    assert isinstance(error, InvalidMessage)
    assert error.path == path
    assert error.details is not None
    assert error.details["path"] == path
    assert error.details["expected"]
    assert not error.unreadable


def test_the_order_of_checks_is_top_level_then_gpus_then_hardware_then_the_rest() -> None:
    message = registering(version=1)
    message["hardware"] = {"gpus": []}
    message["installed_models"] = [3]
    assert refusal(message).path == "version"
    message["version"] = "1"
    assert isinstance(refusal(message), NoGpu)
    message["hardware"]["gpus"] = [CARD]
    assert refusal(message).path == "hardware.cpu_cores"
    message["hardware"] |= {"cpu_cores": 1, "memory_gb": 1}
    assert refusal(message).path == "installed_models[0]"


def test_null_means_missing_for_every_optional_field() -> None:
    optional = set(Register.__struct_fields__) - {"hardware", "installed_models", "warnings"}
    message = registered(REGISTER | dict.fromkeys(optional))
    plain = {key: REGISTER[key] for key in ("type", "hardware", "installed_models")}
    assert message == registered(plain)


def test_an_empty_id_is_no_id() -> None:
    assert registered(registering(node_id="")).node_id is None


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("win32", "windows"), ("Darwin", "macos"), ("LINUX", "linux"), ("FreeBSD", "FreeBSD")],
)
def test_platforms_are_mapped_and_others_kept(sent: str, kept: str) -> None:
    assert registered(registering(platform=sent)).platform == kept


def test_a_missing_version_and_platform_are_unknown_with_a_warning() -> None:
    message = registering("version")
    del message["platform"]
    read_back = registered(message)
    assert (read_back.version, read_back.platform) == ("unknown", "unknown")
    assert read_back.warnings == ("version: missing", "platform: missing")


def test_a_model_without_the_language_its_kind_needs_is_a_warning() -> None:
    read_back = registered(registering("installed_models.0.tgt_lang", None))
    assert read_back.warnings == ("installed_models[0].tgt_lang: missing, needed by nmt",)


def test_no_model_is_a_warning_under_schema_1_only() -> None:
    assert len(registered(registering(installed_models=[])).warnings) == 1
    assert not registered(
        registering(installed_models=[], capability_schema_version="2.0")
    ).warnings


@pytest.mark.parametrize("schema", ["2.0", "9.9"])
def test_other_kinds_are_kept_beyond_schema_1(schema: str) -> None:
    message = registering("installed_models.0.kind", "ocr", capability_schema_version=schema)
    assert registered(message).installed_models[0].kind == "ocr"


def test_whole_numbers_may_be_written_as_floats() -> None:
    message = registered(registering(max_concurrent_jobs=2.0, attempt=1.0))
    assert (message.max_concurrent_jobs, message.attempt) == (2, 1)


def test_a_card_without_memory_beside_a_good_one_is_accepted() -> None:
    message = registering("hardware.gpus", [CARD, {"name": "iGPU", "memory_gb": 0}])
    assert len(registered(message).hardware.gpus) == 2


def test_schema_2_lists_are_read_leniently_inside() -> None:
    message = registered(
        registering(
            capability_schema_version="2.0",
            installed_services=[{"service_id": "s", "type": "new", "size": 3}, 7],
            capability_by_type=[{"type": "asr", "ready": True}, {"type": "tts"}],
            language_capabilities={"asr_languages": ["zh", 4], "other": [], "tts_languages": None},
            capability_state={"m1": "ready", "m2": 4},
        )
    )
    assert message.installed_services == (Service(service_id="s", type="new"),)
    assert [entry.type for entry in message.capability_by_type or ()] == ["asr"]
    assert message.language_capabilities == LanguageCapabilities(asr_languages=("zh",))
    assert message.capability_state == {"m1": "ready"}
    assert len(message.warnings) == 4


def test_unknown_flags_and_fields_are_no_matter() -> None:
    message = registered(registering(features_supported={"new": True, "x": None}, extra=[1]))
    assert message.features_supported == {"new": True, "x": None}


def test_a_registration_above_the_limit_is_refused() -> None:
    data = json.dumps(registering(filler="x" * 300_000))
    error = refusal(data)
    assert isinstance(error, InvalidMessage)
    assert not error.unreadable
    assert isinstance(read(data, JSON, max_report_bytes=400_000), Register)


# Heartbeats


def test_a_heartbeat_says_what_it_says() -> None:
    beat = beaten(
        node_id="node-1",
        timestamp=1735689600000,
        resource_usage={"cpu_percent": 12.5, "gpu_percent": 40, "running_jobs": 1, "new": "x"},
    )
    assert beat.node_id == "node-1"
    assert beat.timestamp == 1735689600000
    assert (beat.usage.cpu_percent, beat.usage.running_jobs) == (12.5, 1)
    assert (beat.usage.gpus, beat.hardware_gpus, beat.installed_models) == (None, None, None)
    assert beat.raw == {"cpu_percent": 12.5, "gpu_percent": 40, "running_jobs": 1, "new": "x"}
    assert beat.warnings == ()


def test_a_bare_heartbeat_is_a_heartbeat() -> None:
    assert beaten() == Heartbeat()
    assert beaten(resource_usage=None, hardware=None, node_id="") == Heartbeat()


def test_a_wrongly_typed_value_counts_as_missing_and_is_told() -> None:
    beat = beaten(resource_usage={"cpu_percent": "high", "mem_percent": 3, "running_jobs": -1})
    assert beat.usage.cpu_percent is None
    assert beat.usage.mem_percent == 3
    assert beat.warnings == (
        "resource_usage.cpu_percent: expected number, got string",
        "resource_usage.running_jobs: expected integer >= 0, got number",
    )


def test_a_wrongly_typed_model_is_left_out_and_the_others_stay() -> None:
    beat = beaten(installed_models=[MODEL, {"model_id": "m2"}, 4])
    assert [model.model_id for model in beat.installed_models or ()] == ["m1"]
    assert beat.warnings == (
        "installed_models[1].kind: expected string, got nothing",
        "installed_models[2]: expected object, got number",
    )


def test_a_list_of_nothing_but_misfits_is_no_report_of_nothing() -> None:
    beat = beaten(installed_models=[4], hardware={"gpus": [{}]}, resource_usage={"gpus": [1]})
    assert (beat.installed_models, beat.hardware_gpus, beat.usage.gpus) == (None, None, None)
    assert len(beat.warnings) == 3


def test_a_card_whose_health_is_not_told_is_not_called_ill() -> None:
    beat = beaten(resource_usage={"gpus": [{"index": 0}, {"index": 1, "healthy": "no"}]})
    assert [card.healthy for card in beat.usage.gpus or ()] == [True, True]
    assert beat.warnings == ("resource_usage.gpus[1].healthy: expected boolean, got string",)
    assert beat.raw["gpus"][0] == {"index": 0, "healthy": True}


def test_empty_lists_are_reports() -> None:
    beat = beaten(installed_models=[], hardware={"gpus": []}, resource_usage={"gpus": []})
    assert (beat.installed_models, beat.hardware_gpus, beat.usage.gpus) == ((), (), ())
    assert beat.hardware is None


def test_whole_hardware_is_reported_whole() -> None:
    beat = beaten(hardware=REGISTER["hardware"])
    assert beat.hardware is not None
    assert beat.hardware.gpus == beat.hardware_gpus == (Gpu(name="RTX 3070", memory_gb=8.0),)


def test_the_node_s_own_word_on_its_health_is_heard() -> None:
    beat = beaten(health={"ok": False, "reason": "disk"})
    assert (beat.health_ok, beat.health_reason) == (False, "disk")
    assert beaten(health="bad").warnings == ("health: expected object, got string",)


def test_a_node_id_that_is_no_string_is_foreign() -> None:
    error = refusal({"type": "node_heartbeat", "node_id": 5})
    assert (error.path, error.type, error.unreadable) == ("node_id", "node_heartbeat", False)


def test_warnings_and_raw_are_bounded() -> None:
    beat = beaten(
        installed_models=[MODEL, *range(100)],
        resource_usage={f"k{n}": "x" * 1000 for n in range(100)} | {"running_jobs": 3},
        timestamp={"a": 10**300},
    )
    assert len(beat.warnings) == 33
    assert len(json.dumps(beat.raw)) < 10_000
    assert len(beat.timestamp) <= 256


def test_a_heartbeat_above_the_limit_is_refused_also_in_wide_characters() -> None:
    text = json.dumps({"type": "node_heartbeat", "x": "字" * 100_000}, ensure_ascii=False)
    assert len(text) < 262_144
    assert refusal(text).code is ErrorCode.INVALID_MESSAGE


def test_a_wrongly_typed_list_of_schema_2_refuses_nobody() -> None:
    message = registered(registering(installed_services="asr", language_capabilities=[]))
    assert (message.installed_services, message.language_capabilities) == (None, None)
    assert len(message.warnings) == 2


# Other messages


def test_a_job_result_is_read_with_either_kind_of_error() -> None:
    base = {"type": "job_result", "job_id": "j", "success": False}
    assert read(json.dumps(base | {"error": "boom"}), JSON) == JobResult(
        job_id="j", success=False, error_message="boom"
    )
    error = {"code": "OOM", "message": "m"}
    assert read(json.dumps(base | {"error": error, "running_jobs": 2}), JSON) == JobResult(
        job_id="j", success=False, error_code="OOM", error_message="m", running_jobs=2
    )


def test_a_job_result_with_an_empty_id_names_nobody() -> None:
    message = {"type": "job_result", "node_id": "", "job_id": "j", "success": True}
    assert read(json.dumps(message), JSON).node_id is None  # type: ignore[union-attr]


def test_a_large_job_result_with_audio_is_no_report() -> None:
    message = {"type": "job_result", "job_id": "j", "success": True, "audio": b"x" * 500_000}
    assert isinstance(read(MSGPACK.encode(message), MSGPACK), JobResult)


@pytest.mark.parametrize("field", ["job_id", "success"])
def test_a_job_result_without_what_it_is_about_is_refused(field: str) -> None:
    message: dict[str, Any] = {"type": "job_result", "job_id": "j", "success": True}
    del message[field]
    assert refusal(message).path == field


def test_an_unregister_drains_unless_told_not_to() -> None:
    assert read('{"type":"node_unregister"}', JSON) == Unregister(drain=True)
    assert read('{"type":"node_unregister","drain":false,"reason":"r"}', JSON) == Unregister(
        reason="r", drain=False
    )


def test_an_unknown_type_is_named() -> None:
    assert read('{"type":"hello","x":1}', JSON) == Unknown(type="hello")


# Unreadable frames


@pytest.mark.parametrize(
    "data",
    [
        "",
        "hello",
        "[]",
        "null",
        "{}",
        '{"type":3}',
        '{"type":null}',
        '{"type":"node_heartbeat","x":NaN}',
        '{"type":"node_heartbeat","timestamp":1e400}',
        '{"type":"node_heartbeat","timestamp":Infinity}',
        '{"type":"node_heartbeat","x":' + "[" * 100_000 + "}",
        '{"type":"node_heartbeat","timestamp":"\\ud800"}',
        '{"type":"node_heartbeat","timestamp":"\ud800"}',
        b'{"type":"node_heartbeat","node_id":"\xff"}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_no_message_is_unreadable(data: str | bytes) -> None:
    error = refusal(data)
    assert error.unreadable
    assert error.code is ErrorCode.INVALID_MESSAGE
    assert error.type is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000,
        msgspec.msgpack.encode({"type": "node_heartbeat", "x": [float("nan")]}),
        msgspec.msgpack.encode({"type": "node_heartbeat", "x": {"y": float("inf")}}),
        msgspec.msgpack.encode({"type": "node_heartbeat", "x": {1: 2}}),
        msgspec.msgpack.encode({"type": "x"})[:-1] + b"\xff",
        b"\xdd\xff\xff\xff\xff",
        "text",
    ],
)
def test_what_is_no_message_is_unreadable_as_messagepack_too(data: bytes | str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(data, MSGPACK)
    assert caught.value.unreadable


# For all inputs

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([0, 1, 1.0, -1, 10**400, "", "asr", "nmt", "2.0", "node-1"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = sorted(
    {
        name
        for kind in (Register, Heartbeat, JobResult, Unregister, Model, Gpu, Service)
        for name in kind.__struct_fields__
    }
    | {"resource_usage", "health", "gpus", "cpu_cores", "memory_gb", "ok", "error"}
)
TYPES = ["node_register", "node_heartbeat", "job_result", "node_unregister", "x"]
OBJECTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    ),
    max_leaves=20,
)
MESSAGES = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(NAMES), OBJECTS, max_size=10),
)
USAGE = st.fixed_dictionaries(
    {},
    optional={
        "cpu_percent": st.one_of(st.floats(0, 100), st.integers(0, 100), SCALARS),
        "running_jobs": st.one_of(st.integers(0, 9), SCALARS),
        "gpu_percent": SCALARS,
        "gpus": st.lists(
            st.fixed_dictionaries(
                {}, optional={"healthy": st.one_of(st.booleans(), SCALARS), "index": SCALARS}
            ),
            max_size=2,
        ),
    },
)
BEATS = st.fixed_dictionaries(
    {"type": st.just("node_heartbeat")},
    optional={
        "node_id": st.one_of(st.none(), st.text(max_size=4)),
        "timestamp": VALUES,
        "resource_usage": USAGE,
        "health": st.fixed_dictionaries({}, optional={"ok": SCALARS, "reason": SCALARS}),
        "hardware": st.fixed_dictionaries(
            {},
            optional={
                "cpu_cores": SCALARS,
                "memory_gb": SCALARS,
                "gpus": st.lists(st.sampled_from([CARD, {"name": 1}, {}]), max_size=2),
            },
        ),
        "installed_models": st.lists(
            st.sampled_from([MODEL, MODEL | {"src_lang": None}, MODEL | {"enabled": None}, 4]),
            max_size=3,
        ),
        "capability_state": st.dictionaries(st.text(max_size=3), SCALARS, max_size=2),
    },
)


def read_or_refused(data: str | bytes, *, msgpack: bool = False) -> Any:
    """What became of a frame; whatever is accepted can be written again."""
    codec = MSGPACK if msgpack else JSON
    try:
        message = read(data, codec)
    except WireError as error:
        JSON.encode(error.details)
        return error.code, error.path
    JSON.decode(JSON.encode(message))
    MSGPACK.decode(MSGPACK.encode(message))
    return message


@given(MESSAGES)
def test_nothing_but_a_wire_error_is_raised_on_any_json_message(message: dict[str, Any]) -> None:
    read_or_refused(json.dumps(message))


@given(VALUES)
def test_nothing_but_a_wire_error_is_raised_on_any_json(value: Any) -> None:
    read_or_refused(json.dumps(value))


@given(st.one_of(st.binary(), st.text()))
def test_nothing_but_a_wire_error_is_raised_on_any_frame(data: bytes | str) -> None:
    read_or_refused(data)
    read_or_refused(data, msgpack=True)


@given(MESSAGES, st.binary(max_size=3), st.integers(0, 200))
def test_nothing_but_a_wire_error_is_raised_on_any_messagepack(
    message: dict[str, Any], noise: bytes, at: int
) -> None:
    try:
        data = msgspec.msgpack.encode(message)
    except OverflowError:
        return
    read_or_refused(data, msgpack=True)
    read_or_refused(data[:at] + noise + data[at + len(noise) :], msgpack=True)


@given(BEATS)
def test_the_quick_way_and_the_slow_way_read_the_same(beat: dict[str, Any]) -> None:

    data = json.dumps(beat)
    quick = quick_heartbeat(data, JSON)
    if quick is not None:
        plain = JSON.decode(data)
        assert isinstance(plain, dict)
        assert quick == heartbeat(plain)
