"""What a node can do: names from models, lists and flags, and what a report replaces."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.wire.messages import (
    CapabilityOfType,
    Gpu,
    GpuReport,
    Hardware,
    Heartbeat,
    LanguageCapabilities,
    Model,
    Register,
    Usage,
)
from registry import capabilities as can

GPU = Gpu(name="RTX 3070", memory_gb=8)
HARDWARE = Hardware(cpu_cores=16, memory_gb=32, gpus=(GPU,))


def model(kind: str = "asr", **fields: Any) -> Model:
    plain: dict[str, Any] = {"model_id": f"m-{kind}", "kind": kind, "version": "1"}
    return Model(**plain | fields)


def node(*models: Model, **fields: Any) -> Register:
    plain: dict[str, Any] = {"hardware": HARDWARE, "installed_models": models}
    return Register(**plain | fields)


def beat(**fields: Any) -> Heartbeat:
    return Heartbeat(**fields)


def test_a_node_without_anything_can_still_be_any_node() -> None:
    assert can.capabilities(node()) == ("any",)


def test_every_source_of_capabilities_adds_up() -> None:
    register = node(
        model("nmt", src_lang="zh", tgt_lang="en"),
        model("asr", src_lang="zh"),
        model("tts", tgt_lang="en"),
        model("vad"),
        features_supported={"emotion_detection": True, "voice_style_detection": False, "x": None},
        advanced_features=("batched_inference",),
        capability_by_type=(CapabilityOfType(type="asr", ready=True),),
        language_capabilities=LanguageCapabilities(asr_languages=("fr",)),
    )
    assert can.capabilities(register) == (
        "advanced:batched_inference", "any", "asr:fr", "asr:zh", "feature:emotion_detection",
        "model:m-asr", "model:m-nmt", "model:m-tts", "model:m-vad", "nmt:zh:en", "tts:en",
    )  # fmt: skip


@pytest.mark.parametrize(
    "unfit",
    [
        model(src_lang="zh", enabled=False),
        model(src_lang="zh", status="downloading"),
        model("nmt", src_lang="zh"),
        model("nmt", tgt_lang="zh"),
        model("tts", src_lang="zh"),
        model("tts", tgt_lang=""),
    ],
)
def test_a_model_that_is_not_usable_gives_nothing_and_meets_nothing(unfit: Model) -> None:
    register = node(unfit)
    assert can.capabilities(register) == ("any",)
    assert not can.required_met(register, [])
    assert not can.required_met(register, [unfit.model_id])


def test_asr_without_a_language_is_ready_but_matches_no_language() -> None:
    register = node(model("asr"))
    assert can.capabilities(register) == ("any", "model:m-asr")
    assert can.required_met(register, [])


def test_capability_state_overrides_a_models_status_both_ways() -> None:
    models = (model("asr", src_lang="zh"), model("tts", tgt_lang="en", status="error"))
    register = node(*models, capability_state={"m-asr": "error", "m-tts": "ready"})
    assert can.capabilities(register) == ("any", "model:m-tts", "tts:en")


def test_pairs_of_a_2_0_node_are_directed_and_never_equal() -> None:
    lists = LanguageCapabilities(
        asr_languages=("zh", "en"), semantic_languages=("en", "fr"), tts_languages=("en",)
    )
    assert can.capabilities(node(language_capabilities=lists)) == (
        "any", "asr:en", "asr:zh", "nmt:en:fr", "nmt:zh:en", "nmt:zh:fr", "tts:en",
    )  # fmt: skip


def test_lists_of_a_type_that_is_not_ready_do_not_count() -> None:
    lists = LanguageCapabilities(
        asr_languages=("zh",), semantic_languages=("en",), tts_languages=("en",)
    )
    types = (
        CapabilityOfType(type="asr", ready=False, reason="loading"),
        CapabilityOfType(type="tts", ready=True),
        CapabilityOfType(type="dance", ready=True),
    )
    register = node(language_capabilities=lists, capability_by_type=types)
    assert can.capabilities(register) == ("any", "tts:en")


def test_a_name_that_would_break_the_stored_list_is_left_out() -> None:
    assert can.capabilities(node(model("vad", model_id="a\nasr:zh"))) == ("any",)


def test_required_models_name_kinds_and_ids_and_all_must_be_ready() -> None:
    register = node(model("asr"), model("vad", model_id="silero"))
    assert can.required_met(register, ["asr", "silero", "vad"])
    assert not can.required_met(register, ["asr", "tts"])
    said = node(capability_by_type=(CapabilityOfType(type="tts", ready=True),))
    assert can.required_met(said, [])
    assert can.required_met(said, ["tts"])


def test_neither_vad_nor_an_unknown_type_is_a_core_capability() -> None:
    register = node(model("vad"), capability_by_type=(CapabilityOfType(type="x", ready=True),))
    assert not can.required_met(register, [])


def test_requirements_are_named_like_capabilities() -> None:
    assert can.requirement("asr", "zh") == "asr:zh"
    assert can.requirement("nmt", "zh", "en") == "nmt:zh:en"
    assert can.requirement("tts", None, "en") == "tts:en"
    with pytest.raises(ValueError, match="language"):
        can.requirement("nmt", "zh")
    with pytest.raises(ValueError, match="kind"):
        can.requirement("dance")


@pytest.mark.parametrize(
    ("registered", "limit", "healthy", "expected"),
    [
        (1, None, None, 1),
        (4, None, None, 4),
        (4, 8, None, 8),
        (4, 8, (True, True, True, False), 6),
        (4, None, (True, False, False, False), 1),
        (2, 1, (True, False), 1),
        (2, None, (True,), 1),
        (2, None, (False, False), 0),
        (2, None, (), 0),
    ],
)
def test_bad_gpus_lower_capacity(
    registered: int, limit: int | None, healthy: tuple[bool, ...] | None, expected: int
) -> None:
    hardware = Hardware(cpu_cores=1, memory_gb=1, gpus=(GPU,) * registered)
    register = node(hardware=hardware, max_concurrent_jobs=limit)
    reported = None if healthy is None else tuple(GpuReport(healthy=h) for h in healthy)
    assert can.capacity(register, beat(usage=Usage(gpus=reported))) == expected


def test_a_beat_that_says_nothing_new_leaves_the_very_same_registration() -> None:
    register = node(model("asr", src_lang="zh"))
    assert can.apply(register, beat()) is register
    same = beat(installed_models=register.installed_models, hardware=HARDWARE, hardware_gpus=(GPU,))
    assert can.apply(register, same) is register


def test_a_beat_replaces_what_it_names() -> None:
    register = node(model("asr", src_lang="zh"))
    other = Gpu(name="H200", memory_gb=141)
    changed = can.apply(
        register, beat(installed_models=(model("tts", tgt_lang="en"),), hardware_gpus=(other,))
    )
    memory = tuple(f"gpu_memory:{step}" for step in (12, 24, 40, 80))
    assert can.capabilities(changed) == ("any", *memory, "model:m-tts", "tts:en")
    assert changed.hardware == Hardware(cpu_cores=16, memory_gb=32, gpus=(other,))
    assert can.digest(changed) != can.digest(register)
    assert can.hardware_digest(changed) != can.hardware_digest(register)


def test_gpus_reported_empty_never_become_the_registration() -> None:
    bare = Hardware(cpu_cores=8, memory_gb=32, gpus=())
    changed = can.apply(node(), beat(hardware=bare, hardware_gpus=()))
    assert changed.hardware == Hardware(cpu_cores=8, memory_gb=32, gpus=(GPU,))


def test_gpus_without_memory_never_become_the_registration() -> None:
    empty = Gpu(name="none", memory_gb=0)
    whole = Hardware(cpu_cores=16, memory_gb=32, gpus=(empty,))
    register = node()
    assert can.apply(register, beat(hardware_gpus=(empty,))) is register
    assert can.apply(register, beat(hardware=whole, hardware_gpus=(empty,))) is register


def test_an_empty_language_in_a_list_is_no_language() -> None:
    lists = LanguageCapabilities(
        asr_languages=("", "zh"), semantic_languages=("", "en"), tts_languages=("",)
    )
    assert can.capabilities(node(language_capabilities=lists)) == ("any", "asr:zh", "nmt:zh:en")


@pytest.mark.parametrize(
    "fields",
    [
        {"node_id": "node-1"},
        {"version": "2", "platform": "linux"},
        {"boot_id": "b", "attempt": 3, "node_token": "t"},
        {"warnings": ("odd",)},
        {"max_concurrent_jobs": 1},
        {"features_supported": {"emotion_detection": False, "own": None}},
    ],
)
def test_the_digest_stays_while_selection_sees_the_same(fields: dict[str, Any]) -> None:
    asr = model("asr", src_lang="zh")
    assert can.digest(node(asr, **fields)) == can.digest(node(asr))


def test_labels_are_names_the_operators_over_the_nodes_own() -> None:
    own = node(labels={"region": "eu", "tier": "silver"})
    assert can.capabilities(own, {"tier": "gold", "owner": "x\ny"}) == (
        "any", "label:owner=x%0Ay", "label:region=eu", "label:tier=gold",
    )  # fmt: skip
    assert can.digest(own) != can.digest(own, {"tier": "gold"})
    assert can.digest(own) == can.digest(own, {"tier": "silver"})


@pytest.mark.parametrize(
    ("memory", "steps"), [(11.9, ()), (12, (12,)), (24, (12, 24)), (141, (12, 24, 40, 80))]
)
def test_the_largest_card_reaches_every_step_up_to_its_memory(
    memory: float, steps: tuple[int, ...]
) -> None:
    cards = (Gpu(name="small", memory_gb=4), Gpu(name="large", memory_gb=memory))
    large = node(hardware=Hardware(cpu_cores=1, memory_gb=1, gpus=cards))
    assert can.capabilities(large) == ("any", *(f"gpu_memory:{step}" for step in steps))
    assert can.largest_gpu_gb(large) == memory
    assert can.digest(large) != can.digest(node())


def test_a_packed_registration_comes_back_as_the_message_it_was() -> None:
    register = node(model("tts", tgt_lang="en"), labels={"a": "b"}, features_supported={"x": None})
    assert can.unpack_register(can.pack(register)) == register
    assert can.unpack_labels(can.pack_labels({"a": "b"})) == {"a": "b"}
    assert can.unpack_labels(None) == {} == can.unpack_labels(b"")


@pytest.mark.parametrize(
    "fields",
    [
        {"accept_public_jobs": False},
        {"max_concurrent_jobs": 2},
        {"features_supported": {"emotion_detection": True}},
        {"advanced_features": ("batched_inference",)},
        {"capability_state": {"m-asr": "error"}},
    ],
)
def test_the_digest_changes_with_what_selection_sees(fields: dict[str, Any]) -> None:
    asr = model("asr", src_lang="zh")
    assert can.digest(node(asr, **fields)) != can.digest(node(asr))


def test_the_digest_is_the_same_in_every_process() -> None:
    assert can.digest(node()) == can.digest(node())
    assert len(can.digest(node())) == 24


def test_the_same_machine_may_list_its_gpus_in_any_order_with_any_driver() -> None:
    one, two = Gpu(name="A", memory_gb=8, uuid="1"), Gpu(name="B", memory_gb=8, uuid="2")
    newer = msgspec.structs.replace(one, driver_version="551", index=1)
    there = Hardware(cpu_cores=16, memory_gb=32, gpus=(one, two))
    back = Hardware(cpu_cores=16, memory_gb=32, gpus=(two, newer))
    less = Hardware(cpu_cores=16, memory_gb=32, gpus=(one,))
    same = can.hardware_digest(node(hardware=there))
    assert can.hardware_digest(node(hardware=back)) == same
    assert can.hardware_digest(node(hardware=less)) != same


def test_what_is_stored_has_no_token_and_keeps_its_warnings() -> None:
    stored = can.unpack(can.pack(node(model(), node_token="secret"), ["odd"]))
    assert "node_token" not in stored
    assert stored["warnings"] == ["odd"]
    assert stored["hardware"]["gpus"][0]["name"] == "RTX 3070"


def test_a_report_is_stored_as_it_came() -> None:
    heartbeat = beat(raw={"gpu_percent": 1}, timestamp="now", health_ok=False, warnings=("w",))
    assert msgspec.msgpack.decode(can.pack_report(heartbeat)) == {
        "resource_usage": {"gpu_percent": 1},
        "timestamp": "now",
        "health_ok": False,
        "health_reason": None,
        "report_warnings": ["w"],
    }


def test_a_report_no_record_can_hold_is_stored_without_its_numbers() -> None:
    heartbeat = beat(raw={"cpu_percent": 2**70}, timestamp="t", warnings=("w",))
    stored = msgspec.msgpack.decode(can.pack_report(heartbeat))
    assert (stored["resource_usage"], stored["timestamp"]) == (None, None)
    assert stored["report_warnings"] == ["w"]


languages = st.sampled_from(["zh", "en", "fr", ""])
models = st.builds(
    Model,
    model_id=st.sampled_from(["a", "b", "c"]),
    kind=st.sampled_from(["asr", "nmt", "tts", "vad"]),
    version=st.just("1"),
    src_lang=st.none() | languages,
    tgt_lang=st.none() | languages,
    enabled=st.booleans(),
    status=st.sampled_from(["ready", "error"]),
)


@given(st.lists(models, max_size=6))
def test_capabilities_do_not_depend_on_the_order_of_models(found: list[Model]) -> None:
    there, back = node(*found), node(*reversed(found))
    assert can.capabilities(there) == can.capabilities(back)
    assert can.digest(there) == can.digest(back)
    assert "" not in {part for name in can.capabilities(there) for part in name.split(":")}
