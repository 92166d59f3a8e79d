"""What a client asks is written as the API reads it, in bodies and in queries alike."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.access import Principal
from gateway.api import arguments, asking
from gateway.api.questions import BulkBody, BulkDrain, NodesQuery, SelectBody
from gateway.settings import GatewaySettings
from muster.client import Not, calls
from muster.client.asking import Filter, Requirement, Wanted
from muster.wire.bearer import Role

REQUIREMENT: Requirement = {
    "kind": "nmt",
    "src_lang": "zh",
    "tgt_lang": "en",
    "asr": ["zh", "en"],
    "nmt": [("zh", "en"), ("en", "zh")],
    "tts": ["en"],
    "models": ["mdl-1"],
    "features": ["emotion_detection"],
    "advanced_features": ["batched_inference"],
    "labels": {"region": "eu", "tier": ["gold", "silver"], "owner": Not(["lab", "x"])},
    "min_gpu_memory_gb": 16,
    "public": False,
    "ceilings": {"cpu_percent": 80, "gpu_queue_length": 0},
}
WHICH: Filter = {
    "status": ["ready", "degraded"],
    "live": True,
    "available": False,
    "drained": False,
    "gateway": "gw-1",
    "program_version": "1.0.0",
    "platform": "linux",
    "gpu": "RTX 4090",
    "q": "node-",
    "ids": ["node-A", "node-B"],
}
WHO = Principal("me", Role.ADMIN)


def as_read(call: calls.Call[Any], type_: Any) -> Any:
    """What the gateway understands."""
    if call.body is None:
        return arguments.query(type_, call.query)
    return arguments.body(type_, msgspec.json.encode(call.body))


def test_a_selection_asks_for_everything_that_was_asked() -> None:
    wanted: Wanted = {**REQUIREMENT, "avoid": ["node-A"], "prefer": ["node-B"]}
    body = as_read(calls.select(wanted, 3, 30_000, "call-1"), SelectBody)
    understood = asking.wanted(body, GatewaySettings(), WHO)
    assert set(understood.capabilities) == {
        *("nmt:zh:en", "nmt:en:zh", "asr:zh", "asr:en", "tts:en", "model:mdl-1"),
        *("feature:emotion_detection", "advanced:batched_inference"),
    }
    assert {(t.name, t.test, tuple(t.values)) for t in understood.labels} == {
        ("region", "in", ("eu",)),
        ("tier", "in", ("gold", "silver")),
        ("owner", "not", ("lab", "x")),
    }
    assert (understood.min_gpu_memory_gb, understood.public) == (16, False)
    assert (understood.ceilings.cpu_percent, understood.ceilings.gpu_queue_length) == (80, 0)
    assert understood.avoid == {"node-A"}
    assert understood.prefer == ("node-B",)
    assert (body.limit, body.hold_ms, body.request_id) == (3, 30_000, "call-1")


def test_a_list_and_a_bulk_mean_the_same_nodes_by_the_same_filter() -> None:
    which: Filter = {**REQUIREMENT, **WHICH}
    query = as_read(calls.nodes(which, "-load", 7, "cursor-1"), NodesQuery)
    bulk = as_read(
        calls.bulk("drain", which, "why", every=False, dry_run=True, timeout_s=60, labels=None),
        BulkBody,
    )
    assert isinstance(bulk, BulkDrain)
    assert (bulk.reason, bulk.timeout_s, bulk.dry_run) == ("why", 60, True)
    shown, meant = asking.shown(query, WHO), asking.meant(bulk.filter, WHO)
    assert set(shown.suited.capabilities) == set(meant.suited.capabilities)
    assert set(shown.suited.labels) == set(meant.suited.labels)
    for name in ("skills", "min_gpu_memory_gb", "public", "ceilings"):
        assert getattr(shown.suited, name) == getattr(meant.suited, name)
    for name in ("statuses", "public", "live", "available", "intent", "gateway", "ids", "gpu"):
        assert getattr(shown, name) == getattr(meant, name)
    assert shown.statuses == {"ready", "degraded"}
    assert sorted(shown.ids or ()) == ["node-A", "node-B"]
    assert (query.sort, query.limit, query.cursor) == ("-load", 7, "cursor-1")


def test_one_text_stands_for_a_list_of_one() -> None:
    body = as_read(calls.select({"asr": "zh", "labels": {"a": Not("b")}}, 1, 0, "x"), SelectBody)
    assert body.asr == ("zh",)
    assert body.labels["a"].none_of == ("b",)
    query = as_read(calls.nodes({"status": "ready", "tts": "en"}, None, 1, None), NodesQuery)
    assert (query.status, query.tts) == (("ready",), ("en",))


@pytest.mark.parametrize("labels", [{"a": "x,y"}, {"a=b": "x"}, {"a!": "x"}])
def test_a_label_that_a_query_cannot_say_is_refused_where_it_is_asked(
    labels: dict[str, str],
) -> None:
    with pytest.raises(ValueError, match="label"):
        calls.nodes({"labels": labels}, None, 1, None)
    calls.select({"labels": labels}, 1, 0, "x")


def test_ids_are_written_so_that_they_stay_one_part_of_the_path() -> None:
    assert calls.node("a/b?c").path == "/v1/nodes/a%2Fb%3Fc"
    assert calls.release("h~node/1").path == "/v1/holds/h~node%2F1"
