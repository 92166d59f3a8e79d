"""What is refused, and that the error names the field, what was expected, and the nearest name."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import arguments
from gateway.api.questions import BulkBody, NodesQuery, ReasonQuery, SelectBody
from gateway.problem import BadParameterError


def refusal(read: Any, *given: Any) -> dict[str, Any]:
    with pytest.raises(BadParameterError) as caught:
        read(*given)
    return caught.value.more


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("status", "redy", "one of degraded, draining, offline, ready, registering"),
        ("status", "", "one of degraded, draining, offline, ready, registering"),
        ("status", "ready,", "one of degraded, draining, offline, ready, registering"),
        ("kind", "vad", "one of asr, nmt, tts"),
        ("nmt", "zh", "two languages, as zh:en"),
        ("nmt", "zh:en:fr", "two languages, as zh:en"),
        ("nmt", "zh:en\n", "two languages, as zh:en"),
        ("asr", "zh:en", "a language of 1 to 64 characters without a colon"),
        ("label", "=x", "name=value, name=value,value or name!=value"),
        ("label", "!=x", "name=value, name=value,value or name!=value"),
        ("label", "region", "name=value, name=value,value or name!=value"),
        ("limit", "0", "a whole number from 1 to 1000"),
        ("limit", "1001", "a whole number from 1 to 1000"),
        ("limit", "1.0", "a whole number from 1 to 1000"),
        ("limit", "²", "a whole number from 1 to 1000"),
        ("limit", "9" * 5000, "a whole number from 1 to 1000"),
        ("live", "1", "true or false"),
        ("live", "null", "true or false"),
        ("live", "True", "true or false"),
        ("cpu_percent", "100.1", "a number from 0 to 100"),
        ("cpu_percent", "nan", "a number from 0 to 100"),
        ("cpu_percent", "1_0", "a number from 0 to 100"),
        ("gpu_queue_length", "-1", "a number of at least 0"),
        ("gpu_queue_length", "1e999", "a number of at least 0"),
        ("ids", "node-A,{x}", "a node id: 1 to 64 of A-Z a-z 0-9 . _ -"),
        ("ids", "", "a node id: 1 to 64 of A-Z a-z 0-9 . _ -"),
        ("sort", "-age", "node_id, status, since, last_heartbeat or load; descending: -load"),
        ("q", "", "a text of 1 to 256 characters"),
        ("cursor", "x" * 513, "a text of 1 to 512 characters"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named_with_what_is_expected(
    name: str, text: str, expected: str
) -> None:
    said = refusal(arguments.query, NodesQuery, [(name, text)])
    assert said == {"parameter": name, "expected": expected}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("stauts", "status"),
        ("Status", "status"),
        ("lang", "src_lang"),
        ("min_gpu_memory", "min_gpu_memory_gb"),
        ("cpu", "cpu_percent"),
        ("page", None),
        ("zzz", None),
    ],
)
def test_an_unknown_parameter_is_refused_with_the_nearest_known_one(
    name: str, meant: str | None
) -> None:
    said = refusal(arguments.query, NodesQuery, [(name, "x")])
    assert said["parameter"] == name
    assert said.get("did_you_mean") == meant
    assert said["expected"].startswith("one of ")


def test_what_can_be_given_once_is_refused_twice() -> None:
    said = refusal(arguments.query, NodesQuery, [("limit", "1"), ("limit", "1")])
    assert said == {"parameter": "limit", "expected": "to be given once"}


def test_an_endpoint_without_a_query_takes_none() -> None:
    assert arguments.query(None, []) is None
    assert refusal(arguments.query, None, [("a", "b")])["parameter"] == "a"


def test_what_must_be_given_is_asked_for() -> None:
    said = refusal(arguments.query, ReasonQuery, [])
    assert said == {"parameter": "reason", "expected": "a text of 1 to 500 characters"}


def test_a_query_is_read_by_its_types() -> None:
    pairs = [
        ("status", "ready,offline"), ("status", "draining"), ("nmt", "zh:en"), ("nmt", "en:zh"),
        ("cpu_percent", "1e1"), ("limit", "5"), ("live", "false"), ("q", "5"), ("ids", "a,b"),
    ]  # fmt: skip
    query = arguments.query(NodesQuery, pairs)
    assert query == NodesQuery(
        status=("ready", "offline", "draining"),
        nmt=("zh:en", "en:zh"),
        cpu_percent=10.0,
        limit=5,
        live=False,
        q="5",
        ids=("a", "b"),
    )


@pytest.mark.parametrize(
    ("body", "parameter", "expected"),
    [
        ("", "body", "a JSON object, but it can't be read (Input data was truncated)"),
        ("[]", "body", "an object of kind, src_lang, tgt_lang, "),
        ("null", "body", "an object of kind, "),
        ('{"kind":"vad"}', "kind", "one of asr, nmt, tts"),
        ('{"kind":"nmt","src_lang":"zh"}', "tgt_lang", "a language, which nmt needs"),
        ('{"kind":"asr","src_lang":null}', "src_lang", "a language, which asr needs"),
        ('{"src_lang":"zh"}', "kind", "asr, nmt or tts, as a language is given"),
        ('{"asr":"zh"}', "asr", "an array of at most 100 elements, each a language"),
        ('{"asr":["zh",":"]}', "asr[1]", "a language of 1 to 64"),
        ('{"asr":["zh\\n"]}', "asr[0]", "a language of 1 to 64"),
        ('{"nmt":[{"src_lang":"zh"}]}', "nmt[0].tgt_lang", "a language of 1 to 64"),
        ('{"labels":{"a":5}}', "labels.a", "a value, a list of values, "),
        ('{"labels":{"a":{"not":[]}}}', "labels.a.not", "an array of 1 to 100 elements"),
        ('{"labels":{"":"x"}}', "labels.", "a name that is a text of 1 to 256 characters"),
        ('{"min_gpu_memory_gb":-1}', "min_gpu_memory_gb", "a number of at least 0"),
        ('{"min_gpu_memory_gb":1e400}', "min_gpu_memory_gb", "a number of at least 0"),
        ('{"ceilings":{"cpu_percent":101}}', "ceilings.cpu_percent", "a number from 0 to 100"),
        ('{"public":null}', "public", "true or false"),
        ('{"limit":0}', "limit", "a whole number from 1 to 100"),
        ('{"limit":1.5}', "limit", "a whole number from 1 to 100"),
        ('{"limit":true}', "limit", "a whole number from 1 to 100"),
        ('{"limit":100000000000000000000000000}', "limit", "a whole number from 1 to 100"),
        ('{"hold_ms":-1}', "hold_ms", "a whole number of at least 0"),
        ('{"request_id":""}', "request_id", "1 to 128 of A-Z a-z 0-9 . _ : -"),
        ('{"avoid":["é"]}', "avoid[0]", "a node id: 1 to 64"),
        ('{"avoid":["\\ud800"]}', "body", "a JSON object, but it can't be read"),
        ('{"a":' + "[" * 60_000, "a", "one of kind, "),
        ('{"asr":' + "[" * 60_000, "asr[0]", "a language of 1 to 64"),
        ("[" * 60_000, "body", "an object of kind, "),
    ],
)
def test_a_body_that_does_not_fit_is_refused_at_its_field(
    body: str, parameter: str, expected: str
) -> None:
    said = refusal(arguments.body, SelectBody, body.encode())
    assert said["parameter"] == parameter
    assert said["expected"].startswith(expected), said["expected"]


@pytest.mark.parametrize(
    ("body", "parameter", "meant"),
    [
        ({"feture": []}, "feture", "features"),
        ({"model": []}, "model", "models"),
        ({"ceilings": {"cpu": 5}}, "ceilings.cpu", "cpu_percent"),
        ({"nmt": [{"src": "zh", "tgt_lang": "en"}]}, "nmt[0].src", "src_lang"),
        ({"labels": {"a": {"nt": ["x"]}}}, "labels.a.nt", "not"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_known_one(
    body: Any, parameter: str, meant: str
) -> None:
    said = refusal(arguments.body, SelectBody, msgspec.json.encode(body))
    assert (said["parameter"], said["did_you_mean"]) == (parameter, meant)


@pytest.mark.parametrize(
    ("body", "parameter", "expected"),
    [
        ({}, "action", "one of drain, resume, remove, label"),
        ({"action": "drian"}, "action", "one of drain, resume, remove, label"),
        ({"action": "drain", "all": True}, "reason", "a text of 1 to 500 characters"),
        (
            {"action": "remove", "all": True, "reason": "r", "timeout_s": 5},
            "timeout_s",
            "one of action, filter, all, dry_run, reason",
        ),
        ({"action": "label", "all": True, "reason": "r"}, "labels", "an object of 1 to 32 members"),
        (
            {"action": "label", "labels": {"a": 1}, "all": True, "reason": "r"},
            "labels.a",
            "a text of at most 256 characters",
        ),
        (
            {"action": "label", "labels": {"": "x"}, "all": True, "reason": "r"},
            "labels.",
            "a name that is a text of 1 to 256 characters",
        ),
        (
            {"action": "drain", "filter": {"labels": {"a": "x", "b": 5}}, "reason": "r"},
            "filter.labels.b",
            'a value, a list of values, {"in": [...]} or {"not": [...]}',
        ),
    ],
)
def test_a_bulk_is_judged_by_its_action(body: Any, parameter: str, expected: str) -> None:
    said = refusal(arguments.body, BulkBody, msgspec.json.encode(body))
    assert said["parameter"] == parameter
    assert said["expected"].startswith(expected)


@pytest.mark.parametrize(
    "wrong", [5, None, {}, [], {"in": ["x"], "not": ["y"]}, "x" * 257, [[]], [{"in": ["x"]}]]
)
def test_a_condition_that_is_none_is_refused_with_the_labels_name(wrong: Any) -> None:
    body = {"labels": {"region": "eu", "tier": {"not": ["x"]}, "rack": wrong, "after": 7}}
    said = refusal(arguments.body, SelectBody, msgspec.json.encode(body))
    assert said["parameter"].partition("[")[0] == "labels.rack"
    if not isinstance(wrong, list) or not wrong:
        assert said["expected"] == 'a value, a list of values, {"in": [...]} or {"not": [...]}'


def test_bytes_that_are_no_text_are_refused() -> None:
    said = refusal(arguments.body, SelectBody, b'{"kind":"\xff"}')
    assert said["parameter"] == "body"


def test_a_whole_number_may_be_written_with_a_point() -> None:
    body = arguments.body(SelectBody, b'{"hold_ms": 3e4, "limit": 2.0, "avoid": []}')
    assert (body.hold_ms, body.limit) == (30_000, 2)


@given(st.binary(max_size=200) | st.from_regex(r'\{("[a-z_]{1,9}":[\[\]{}0-9"a-z:,.-]{0,9},?)*\}'))
def test_nothing_but_a_refusal_ever_comes_of_bytes(data: bytes | str) -> None:
    encoded = data.encode() if isinstance(data, str) else data
    for type_ in (SelectBody, BulkBody):
        with contextlib.suppress(BadParameterError):
            arguments.body(type_, encoded)


@given(
    st.lists(
        st.tuples(st.sampled_from([*NodesQuery.__struct_fields__, "x"]), st.text()), max_size=5
    )
)
def test_nothing_but_a_refusal_ever_comes_of_a_query(pairs: list[tuple[str, str]]) -> None:
    with contextlib.suppress(BadParameterError):
        arguments.query(NodesQuery, pairs)
