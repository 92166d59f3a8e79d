"""What a request asks for, and what a machine lacks of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.capabilities import GPU_MEMORY_STEPS, label_name
from registry.requirement import Ceilings, LabelTest, Requirement, Skill, Unfit
from registry.subject import Intent, Subject

TIMEOUT = 45_000
READY: dict[str, Any] = {
    "node_id": "node-A",
    "now": 1_000_000,
    "status": "ready",
    "reason": "healthy",
    "since": 1,
    "last_beat": 990_000,
    "gateway": "gw",
    "version": 1,
    "capacity": 2,
    "jobs": 0,
    "public": True,
    "leaving": "",
    "digest": "d",
    "gpu_memory_gb": 24.0,
    "ttl_ms": 30_000,
    "holds": 0,
    "intent": None,
    "label_stamp": "",
    "capabilities": frozenset(
        {"any", "asr:zh", "nmt:zh:en", "tts:en", "model:m1", "feature:emotion_detection"}
        | {"gpu_memory:12", "gpu_memory:24", label_name("region", "eu"), label_name("a\nb", "=%")}
    ),
}


def subject(**changes: Any) -> Subject:
    return Subject(**READY | changes)


def reporting(**usage: Any) -> Subject:
    return subject(packed_report=msgspec.msgpack.encode({"resource_usage": usage}))


def reasons(wanted: Requirement, s: Subject) -> list[str]:
    found = wanted.lacks(s, TIMEOUT)
    assert wanted.fits(s, TIMEOUT) == (not found)
    return [lack.reason.value for lack in found]


def test_a_ready_live_node_with_room_fits_who_asks_for_nothing() -> None:
    assert reasons(Requirement(), subject()) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "registering"}, "status_not_ready"),
        ({"status": "degraded"}, "status_not_ready"),
        ({"status": "draining"}, "status_not_ready"),
        ({"status": "offline"}, "status_not_ready"),
        ({"leaving": "unregister"}, "status_not_ready"),
        ({"intent": Intent("s", 1, "op", "why", 1)}, "status_not_ready"),
        ({"ttl_ms": -2}, "not_live"),
        ({"ttl_ms": 0}, "not_live"),
        ({"ttl_ms": -1}, "not_live"),
        ({"ttl_ms": TIMEOUT + 1}, "not_live"),
        ({"public": False}, "not_in_public_pool"),
        ({"capacity": 0}, "gpu_unavailable"),
        ({"jobs": 2}, "capacity_exceeded"),
        ({"holds": 2}, "capacity_exceeded"),
        ({"jobs": 1, "holds": 1}, "capacity_exceeded"),
    ],
)
def test_each_thing_that_makes_a_node_unavailable_is_named(
    changes: dict[str, Any], reason: str
) -> None:
    assert reasons(Requirement(), subject(**changes)) == [reason]


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (Requirement(("asr:en",)), "model_not_available"),
        (Requirement(("model:m2",)), "model_not_available"),
        (Requirement(("feature:x",)), "feature_not_available"),
        (Requirement(("advanced:x",)), "feature_not_available"),
        (Requirement(labels=(LabelTest("region", "in", ("us", "cn")),)), "label_mismatch"),
        (Requirement(labels=(LabelTest("region", "not", ("us", "eu")),)), "label_mismatch"),
        (Requirement(labels=(LabelTest("tier", "in", ("gold",)),)), "label_mismatch"),
        (Requirement(min_gpu_memory_gb=24.1), "memory_too_small"),
        (Requirement(avoid=frozenset({"node-A"})), "avoided"),
    ],
)
def test_each_thing_a_node_may_lack_is_named(wanted: Requirement, reason: str) -> None:
    assert reasons(wanted, subject()) == [reason]


@pytest.mark.parametrize(
    "wanted",
    [
        Requirement(("asr:zh", "nmt:zh:en", "tts:en", "model:m1", "feature:emotion_detection")),
        Requirement(labels=(LabelTest("region", "in", ("us", "eu")),)),
        Requirement(labels=(LabelTest("region", "not", ("us",)),)),
        Requirement(labels=(LabelTest("tier", "not", ("gold",)),)),
        Requirement(labels=(LabelTest("a\nb", "in", ("=%",)),)),
        Requirement(min_gpu_memory_gb=24),
    ],
)
def test_what_a_node_has_is_not_held_against_it(wanted: Requirement) -> None:
    assert reasons(wanted, subject()) == []


def test_a_private_node_fits_who_does_not_insist_on_the_public_pool() -> None:
    for public in (False, None):
        assert reasons(Requirement(public=public), subject(public=False)) == []


@pytest.mark.parametrize("name", ["cpu_percent", "gpu_percent", "mem_percent", "gpu_queue_length"])
def test_a_ceiling_excludes_busier_nodes_and_no_others(name: str) -> None:
    wanted = Requirement(ceilings=Ceilings(**{name: 50}))
    assert reasons(wanted, reporting(**{name: 50.1})) == ["resource_threshold_exceeded"]
    assert reasons(wanted, reporting(**{name: 50})) == []
    assert reasons(wanted, reporting(**{name: "busy"})) == []
    assert reasons(wanted, reporting(**{name: True})) == []
    assert reasons(wanted, reporting()) == []
    assert reasons(wanted, subject()) == []
    assert wanted.asks_reports and not Requirement().asks_reports


def test_everything_a_node_lacks_is_told_the_most_general_first() -> None:
    wanted = Requirement(("asr:en",), min_gpu_memory_gb=80)
    found = wanted.lacks(subject(status="offline", ttl_ms=-2), TIMEOUT)
    assert [lack.reason for lack in found] == [
        Unfit.STATUS_NOT_READY, Unfit.NOT_LIVE, Unfit.MODEL_NOT_AVAILABLE, Unfit.MEMORY_TOO_SMALL,
    ]  # fmt: skip
    assert (found[2].wanted, found[2].has) == ("asr:en", ["asr:zh"])
    assert (found[3].wanted, found[3].has) == (80, 24.0)


def test_a_label_that_a_node_has_is_shown_beside_the_one_it_should_have() -> None:
    (lack,) = Requirement(labels=(LabelTest("region", "in", ("us",)),)).lacks(subject(), TIMEOUT)
    assert (lack.wanted, lack.has) == ({"region": {"in": ["us"]}}, "eu")


# Indexes only say where to look, but they must not leave out a node that fits.

LABELS = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3)
TESTS = st.lists(
    st.builds(
        LabelTest,
        st.text(max_size=3),
        st.sampled_from(("in", "not")),
        st.lists(st.text(max_size=3), min_size=1, max_size=3).map(tuple),
    ),
    max_size=3,
).map(tuple)


@given(
    labels=LABELS,
    tests=TESTS,
    memory=st.floats(0, 200),
    wanted_memory=st.none() | st.floats(0, 200),
    capabilities=st.sets(st.sampled_from(["asr:zh", "tts:en", "model:x"])),
    wanted=st.sets(st.sampled_from(["asr:zh", "tts:en", "model:x"])),
)
def test_no_index_leaves_out_a_node_that_fits(
    labels: dict[str, str],
    tests: tuple[LabelTest, ...],
    memory: float,
    wanted_memory: float | None,
    capabilities: set[str],
    wanted: set[str],
) -> None:
    names = {"any", *capabilities, *(label_name(k, v) for k, v in labels.items())}
    names |= {f"gpu_memory:{step}" for step in GPU_MEMORY_STEPS if memory >= step}
    node = subject(capabilities=frozenset(names), gpu_memory_gb=memory)
    request = Requirement(tuple(wanted), tests, wanted_memory)
    if request.fits(node, TIMEOUT):
        assert set(request.indexes()) <= names
        assert any(set(alternative) <= names for alternative in request.alternatives())


def test_a_request_with_absurdly_many_alternatives_asks_few_indexes() -> None:
    many = tuple(LabelTest(f"l{i}", "in", tuple("abcdefgh")) for i in range(5))
    assert len(Requirement(labels=many).alternatives()) <= 64


@given(LABELS)
def test_labels_come_back_from_their_index_names_as_they_were(labels: dict[str, str]) -> None:
    names = frozenset(label_name(k, v) for k, v in labels.items())
    node = subject(capabilities=names)
    assert node.labels == labels
    assert all(node.label(k) == v for k, v in labels.items())
    assert all(name.isprintable() for name in names)


SKILLED = frozenset({"any", "asr:zh", "nmt:zh:en", "nmt:en:fr", "tts:en", "label:a=asr"})


@pytest.mark.parametrize(
    ("skill", "met"),
    [
        (Skill(), True),
        (Skill("asr"), True),
        (Skill("asr", "zh"), True),
        (Skill("asr", "en"), False),
        (Skill("nmt", tgt_lang="fr"), True),
        (Skill("nmt", "zh", "fr"), False),
        (Skill("tts", tgt_lang="en"), True),
        (Skill("tts", src_lang="en"), False),
        (Skill(src_lang="en"), True),
        (Skill(src_lang="fr"), False),
        (Skill(tgt_lang="en"), True),
        (Skill(tgt_lang="zh"), False),
        (Skill(src_lang="zh", tgt_lang="en"), True),
    ],
)
def test_a_skill_leaves_open_what_it_does_not_name(skill: Skill, met: bool) -> None:
    assert skill.among(SKILLED) is met
    lacks = list(Requirement(skills=(skill,)).unsuited(subject(capabilities=SKILLED)))
    assert [lack.reason for lack in lacks] == ([] if met else [Unfit.MODEL_NOT_AVAILABLE])


def test_nothing_but_core_capabilities_is_a_skill() -> None:
    assert not Skill().among(frozenset({"any", "model:asr", "feature:nmt", "label:tts=x"}))
