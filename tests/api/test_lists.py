"""What a list shows: every filter, every order, and pages that hold while nodes come and go."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from gateway.api import terms
from gateway.api.questions import FilterBody, NodesQuery
from muster.wire.messages import Gpu, Hardware, Model
from registry.listing import SORTS
from registry.model import Reason, Status
from registry.registry import Registry
from tests.support.api import MODELS, Api, Machines

BIG = Hardware(cpu_cores=8, memory_gb=64, gpus=(Gpu(name="L40S", memory_gb=48),))
BUSY = {
    "cpu_percent": 90.0,
    "gpu_percent": 95.0,
    "mem_percent": 80.0,
    "gpu_queue_length": 5,
    "running_jobs": 2,
}
IDLE = {"cpu_percent": 5.0, "gpu_percent": 0.0, "mem_percent": 10.0, "gpu_queue_length": 0}

# query → the nodes of `fleet` it shows.
SHOWN: dict[str, list[tuple[str, set[str]]]] = {
    "kind": [
        ("kind=asr", {"asr", "busy", "new", "out"}),
        ("kind=nmt", {"nmt", "busy", "new", "out"}),
    ],
    "src_lang": [
        ("src_lang=en", {"nmt"}),
        ("kind=nmt&src_lang=zh&tgt_lang=en", {"busy", "new", "out"}),
        ("kind=asr&src_lang=zh&tgt_lang=fr", {"asr", "busy", "new", "out"}),
    ],
    "tgt_lang": [("tgt_lang=fr", {"nmt"}), ("tgt_lang=xx", set())],
    "asr": [("asr=zh", {"asr", "busy", "new", "out"}), ("asr=zh&asr=en", set())],
    "nmt": [("nmt=en:fr", {"nmt"}), ("nmt=zh:en&asr=zh", {"busy", "new", "out"})],
    "tts": [("tts=en", {"busy", "new", "out"})],
    "model": [("model=asr-zh", {"asr", "busy", "new", "out"}), ("model=none", set())],
    "feature": [("feature=emotion_detection", {"asr"})],
    "advanced_feature": [("advanced_feature=batched_inference", {"nmt"})],
    "label": [
        ("label=region=eu", {"asr"}),
        ("label=region=eu,us", {"asr", "nmt"}),
        ("label=region!=eu,us", {"busy", "new", "out"}),
        ("label=region=eu&label=region=us", set()),
        ("label=empty=", {"nmt"}),
        ("label=odd%2F%3D%26=a%0Ab", set()),
    ],
    "min_gpu_memory_gb": [("min_gpu_memory_gb=24.5", {"nmt"}), ("min_gpu_memory_gb=49", set())],
    "public": [("public=false", {"asr"}), ("public=true", {"nmt", "busy", "new", "out"})],
    "cpu_percent": [("cpu_percent=50", {"asr", "nmt", "new", "out"})],
    "gpu_percent": [("gpu_percent=50", {"asr", "nmt", "new", "out"})],
    "mem_percent": [("mem_percent=50", {"asr", "nmt", "new", "out"})],
    "gpu_queue_length": [
        ("gpu_queue_length=5", {"asr", "nmt", "busy", "new", "out"}),
        ("gpu_queue_length=4.5", {"asr", "nmt", "new", "out"}),
    ],
    "status": [
        ("status=ready", {"asr", "nmt", "busy", "out"}),
        ("status=registering", {"new"}),
        ("status=registering&status=ready", {"asr", "nmt", "busy", "new", "out"}),
        ("status=registering,ready", {"asr", "nmt", "busy", "new", "out"}),
        ("status=offline", set()),
    ],
    "live": [("live=true", {"asr", "nmt", "busy", "new"}), ("live=false", {"out"})],
    "available": [
        ("available=true", {"asr", "nmt"}),
        ("available=false", {"busy", "new", "out"}),
    ],
    "drained": [("drained=true", {"out"}), ("drained=false", {"asr", "nmt", "busy", "new"})],
    "gateway": [("gateway=gw2", {"new"})],
    "program_version": [("program_version=2.0.0", {"nmt"})],
    "platform": [("platform=windows", {"asr"})],
    "gpu": [("gpu=l40", {"nmt"}), ("gpu=RTX", {"asr", "busy", "new", "out"})],
    "q": [("q=NODE-A", {"asr"}), ("q=node", {"asr", "nmt", "busy", "new", "out"})],
    "ids": [("ids=node-asr,node-new,node-none", {"asr", "new"}), ("ids=node-nmt", {"nmt"})],
}
PAGING = {"sort", "limit", "cursor"}

# filter → the nodes of `fleet` it means.
MEANT: dict[str, list[tuple[Any, set[str]]]] = {
    "status": [(["registering"], {"new"})],
    "kind": [("asr", {"asr", "busy", "new", "out"})],
    "src_lang": [("en", {"nmt"})],
    "tgt_lang": [("fr", {"nmt"})],
    "asr": [(["zh"], {"asr", "busy", "new", "out"})],
    "nmt": [([{"src_lang": "en", "tgt_lang": "fr"}], {"nmt"})],
    "tts": [(["en"], {"busy", "new", "out"})],
    "models": [(["asr-zh"], {"asr", "busy", "new", "out"})],
    "features": [(["emotion_detection"], {"asr"})],
    "advanced_features": [(["batched_inference"], {"nmt"})],
    "labels": [
        ({"region": "eu"}, {"asr"}),
        ({"region": ["eu", "us"]}, {"asr", "nmt"}),
        ({"region": {"not": ["eu"]}}, {"nmt", "busy", "new", "out"}),
    ],
    "min_gpu_memory_gb": [(30, {"nmt"})],
    "ceilings": [({"cpu_percent": 50}, {"asr", "nmt", "new", "out"})],
    "public": [(False, {"asr"})],
    "live": [(False, {"out"})],
    "available": [(True, {"asr", "nmt"})],
    "drained": [(True, {"out"})],
    "gateway": [("gw2", {"new"})],
    "program_version": [("2.0.0", {"nmt"})],
    "platform": [("windows", {"asr"})],
    "gpu": [("L40S", {"nmt"})],
    "q": [("-asr", {"asr"})],
    "ids": [(["node-asr", "node-none"], {"asr"})],
}


@pytest.fixture
async def fleet(registry: Registry, machines: Machines) -> None:
    """Five nodes, each of which stands out by something."""
    await machines.ready(
        "node-asr",
        IDLE,
        installed_models=(MODELS["asr:zh"],),
        labels={"region": "eu"},
        platform="windows",
        accept_public_jobs=False,
        features_supported={"emotion_detection": True, "speaker_identification": False},
    )
    await machines.ready(
        "node-nmt",
        installed_models=(
            Model(model_id="m", kind="nmt", version="1", src_lang="en", tgt_lang="fr"),
        ),
        labels={"region": "us", "empty": ""},
        hardware=BIG,
        version="2.0.0",
        advanced_features=("batched_inference",),
    )
    await machines.ready("node-busy", BUSY)
    await machines.register("node-new", gateway="gw2")
    await machines.ready("node-out")
    await registry.drain("node-out", "tests", "stands out")
    await registry.store.client.delete(registry.keys.ttl("node-out"))


async def names(api: Api, query: str) -> set[str]:
    answer = await api.ask("GET", f"/v1/nodes?{query}")
    assert answer.status_code == 200, answer.text
    return {row["node_id"].removeprefix("node-") for row in answer.json()["nodes"]}


def test_every_filter_is_tested() -> None:
    assert {f.encode_name for f in msgspec.structs.fields(NodesQuery)} == set(SHOWN) | PAGING
    assert {f.encode_name for f in msgspec.structs.fields(FilterBody)} == set(MEANT)


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("parameter", SHOWN)
async def test_a_list_shows_what_its_filter_says(api: Api, parameter: str) -> None:
    assert len(await names(api, "")) == 5
    for query, shown in SHOWN[parameter]:
        assert await names(api, query) == shown, query
        assert await names(api, f"{query}&sort=-load") == shown, query


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("member", MEANT)
async def test_a_bulk_means_what_its_filter_says(api: Api, member: str) -> None:
    for value, meant in MEANT[member]:
        body = {"action": "resume", "filter": {member: value}, "dry_run": True, "reason": "r"}
        answer = (await api.ask("POST", "/v1/bulk", body)).json()
        found = {node_id.removeprefix("node-") for node_id in answer["nodes"]}
        assert found == meant, value
        assert (answer["matched"], answer["done"]) == (len(meant), 0)


@pytest.mark.usefixtures("fleet")
async def test_a_row_tells_what_it_always_told_and_more(api: Api) -> None:
    row = (await api.ask("GET", "/v1/nodes?ids=node-out")).json()["nodes"][0]
    at = row["operator"].pop("at")
    assert row.pop("since") > 0
    assert at >= row.pop("last_heartbeat") > 0
    assert row.pop("version") > 0
    assert row == {
        "node_id": "node-out",
        "status": "ready",
        "live": False,
        "reason": "healthy",
        "gateway": "gw1",
        "program_version": "1.0.0",
        "platform": "linux",
        "public": True,
        "capacity": 2,
        "running_jobs": 0,
        "holds": 0,
        "load": 0,
        "gpus": [{"name": "RTX 4090", "memory_gb": 24.0}],
        "labels": {},
        "operator_intent": True,
        "operator": {"who": "tests", "why": "stands out", "timeout_ms": 3_600_000},
    }


def test_everything_that_can_be_sorted_by_is_documented() -> None:
    literal = get_args(get_args(terms.Sort)[0])
    assert set(literal) == {sign + name for name in SORTS for sign in ("", "-")}


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("name", SORTS)
async def test_a_list_is_sorted_as_asked_for(api: Api, name: str) -> None:
    async def values(sort: str) -> list[Any]:
        found, cursor = [], ""
        while True:
            url = f"/v1/nodes?limit=2&sort={sort}{cursor}"
            answer = (await api.ask("GET", url)).json()
            found += [(row[name], row["node_id"]) for row in answer["nodes"]]
            if answer["cursor"] is None:
                return found
            cursor = f"&cursor={answer['cursor']}"

    up = await values(name)
    assert up == sorted(up)
    assert len(up) == 5
    assert await values(f"-{name}") == up[::-1]


@pytest.mark.parametrize("sort", ["", "&sort=node_id", "&sort=-node_id", "&sort=status"])
async def test_who_stays_is_shown_once_whoever_comes_and_goes(
    api: Api, registry: Registry, machines: Machines, sort: str
) -> None:
    stays = {f"node-{n:02d}" for n in range(12)}
    for node_id in stays:
        await machines.register(node_id)
    for n in range(12):
        await machines.register(f"goes-{n:02d}")
    seen: list[str] = []
    cursor, turn = "", 0
    while True:
        answer = (await api.ask("GET", f"/v1/nodes?limit=3{sort}{cursor}")).json()
        seen += [row["node_id"] for row in answer["nodes"]]
        if answer["cursor"] is None:
            break
        cursor = f"&cursor={answer['cursor']}"
        await machines.register(f"comes-{turn:02d}")
        await registry.remove(f"goes-{turn:02d}", "tests", "goes")
        turn += 1
    assert stays <= set(seen)
    assert len(seen) == len(set(seen))


@pytest.mark.usefixtures("fleet")
async def test_a_cursor_goes_with_its_own_list_only(api: Api) -> None:
    of = {
        sort: (await api.ask("GET", f"/v1/nodes?limit=1{sort}")).json()["cursor"]
        for sort in ("", "&sort=since", "&sort=-since", "&sort=load", "&sort=node_id")
    }
    for sort in of:
        for other, cursor in of.items():
            answer = await api.ask("GET", f"/v1/nodes?limit=1{sort}&cursor={cursor}")
            assert answer.status_code == (200 if sort == other else 400), (sort, other)
            assert sort == other or answer.json()["parameter"] == "cursor"


async def test_a_page_has_a_hundred_nodes_unless_asked_otherwise(
    api: Api, machines: Machines
) -> None:
    for n in range(101):
        await machines.register(f"node-{n:03d}")
    first = (await api.ask("GET", "/v1/nodes")).json()
    assert len(first["nodes"]) == 100
    last = (await api.ask("GET", f"/v1/nodes?cursor={first['cursor']}")).json()
    assert (len(last["nodes"]), last["cursor"]) == (1, None)
    assert len((await api.ask("GET", "/v1/nodes?limit=1000")).json()["nodes"]) == 101


async def test_an_old_node_shows_its_story(
    api: Api, registry: Registry, machines: Machines
) -> None:
    await machines.ready("node-A", {"cpu_percent": 7.0}, labels={"region": "eu", "tier": "tin"})
    await registry.label("node-A", {"tier": "gold"}, "tests", "polished")
    await machines.fleet.commit(
        Status.DEGRADED, Reason.GPU_UNAVAILABLE, "node-A", resets_window=True
    )
    node = (await api.ask("GET", "/v1/nodes/node-A")).json()
    assert node["labels"] == {"region": "eu", "tier": "gold"}
    assert node["node_labels"] == {"region": "eu", "tier": "tin"}
    assert node["operator_labels"] == {"tier": "gold"}
    assert node["report"] == {"resource_usage": {"cpu_percent": 7.0}}
    assert [v["verdict"] for v in node["verdicts"]] == ["P", "P", "P"]
    assert "asr:zh" in node["capabilities"]
    assert (node["events"][0]["to"], node["events"][0]["reason"]) == ("degraded", "gpu_unavailable")
    assert isinstance(node["events"][0]["evidence"], dict)


async def test_a_node_without_a_report_has_none(api: Api, machines: Machines) -> None:
    await machines.register("node-A")
    node = (await api.ask("GET", "/v1/nodes/node-A")).json()
    assert (node["report"], node["verdicts"], node["open_holds"]) == (None, [], [])


@pytest.mark.parametrize("node_id", ["none", "x" * 65, "a%2Fb", "%7Bx%7D", "a%0Ab", "%C3%A9"])
async def test_an_id_that_cannot_be_is_not_found(api: Api, node_id: str) -> None:
    for path in (f"/v1/nodes/{node_id}", f"/v1/nodes/{node_id}/explain"):
        assert (await api.ask("GET", path)).status_code == 404


async def test_a_node_that_was_removed_is_gone_from_everywhere(
    api: Api, registry: Registry, machines: Machines
) -> None:
    await machines.ready("node-A")
    assert (await api.ask("DELETE", "/v1/nodes/node-A?reason=sold")).status_code == 204
    assert await names(api, "") == set()
    for path in ("/v1/nodes/node-A", "/v1/nodes/node-A/explain"):
        assert (await api.ask("GET", path)).status_code == 404
    assert (await api.ask("DELETE", "/v1/nodes/node-A?reason=sold")).status_code == 404
    assert (await api.ask("GET", "/v1/fleet")).json()["examined"] == 0
    await machines.ready("node-A")
    assert await names(api, "") == {"A"}
