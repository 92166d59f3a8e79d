"""Selection over HTTP: what may be asked, what is held, what is said when nobody fits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from muster.wire.messages import Gpu, Hardware
from registry.registry import Registry
from tests.support.api import MODELS, Api, Machines

BUSY = {"cpu_percent": 90.0, "gpu_percent": 91.0, "mem_percent": 92.0, "gpu_queue_length": 3}


async def select(api: Api, **body: Any) -> list[str]:
    """The ids answered; none for NO_AVAILABLE_NODE."""
    answer = await api.ask("POST", "/v1/select", body)
    if answer.status_code == 404:
        assert answer.json()["code"] == "NO_AVAILABLE_NODE"
        return []
    assert answer.status_code == 200, answer.text
    return sorted(node["node_id"] for node in answer.json()["nodes"])


@pytest.mark.parametrize(
    ("met", "unmet"),
    [
        ({"kind": "asr", "src_lang": "zh"}, {"kind": "asr", "src_lang": "en"}),
        (
            {"kind": "nmt", "src_lang": "zh", "tgt_lang": "en"},
            {"kind": "nmt", "src_lang": "en", "tgt_lang": "zh"},
        ),
        ({"kind": "tts", "tgt_lang": "en", "src_lang": None}, {"kind": "tts", "tgt_lang": "zh"}),
        ({"asr": ["zh"], "tts": ["en"]}, {"asr": ["zh"], "tts": ["fr"]}),
        (
            {"nmt": [{"src_lang": "zh", "tgt_lang": "en"}]},
            {"nmt": [{"src_lang": "zh", "tgt_lang": "en"}, {"src_lang": "a", "tgt_lang": "b"}]},
        ),
        ({"models": ["asr-zh", "tts-en"]}, {"models": ["asr-zh", "other"]}),
        ({"features": ["emotion_detection"]}, {"features": ["speaker_identification"]}),
        ({"advanced_features": ["batched_inference"]}, {"advanced_features": ["x"]}),
        ({"min_gpu_memory_gb": 24}, {"min_gpu_memory_gb": 24.5}),
        ({"labels": {"region": "eu"}}, {"labels": {"region": "us"}}),
        ({"labels": {"region": ["us", "eu"]}}, {"labels": {"region": ["us", "cn"]}}),
        ({"labels": {"region": {"not": ["us"]}}}, {"labels": {"region": {"not": ["eu"]}}}),
        ({"ceilings": {"cpu_percent": 90}}, {"ceilings": {"cpu_percent": 89.5}}),
        ({"ceilings": {"gpu_percent": 91}}, {"ceilings": {"gpu_percent": 90}}),
        ({"ceilings": {"mem_percent": 92}}, {"ceilings": {"mem_percent": 91}}),
        ({"ceilings": {"gpu_queue_length": 3}}, {"ceilings": {"gpu_queue_length": 2}}),
        ({"avoid": ["node-B"]}, {"avoid": ["node-A"]}),
        ({"public": True, "kind": None, "request_id": None}, {"labels": {"none": "x"}}),
    ],
    ids=str,
)
async def test_a_machine_is_selected_exactly_if_it_meets_what_is_asked(
    api: Api, machines: Machines, met: dict[str, Any], unmet: dict[str, Any]
) -> None:
    await machines.ready(
        "node-A",
        BUSY,
        labels={"region": "eu"},
        features_supported={"emotion_detection": True, "speaker_identification": False},
        advanced_features=("batched_inference",),
    )
    assert await select(api, **met) == ["node-A"]
    assert await select(api, **unmet) == []


async def test_the_private_are_selected_only_for_who_asks_for_them_too(
    api: Api, machines: Machines
) -> None:
    await machines.ready("node-A", accept_public_jobs=False)
    assert await select(api) == []
    assert await select(api, public=False) == ["node-A"]


@pytest.mark.parametrize("name", ["cpu_percent", "gpu_percent", "mem_percent", "gpu_queue_length"])
async def test_ceilings_not_asked_for_are_as_the_settings_say(
    registry: Registry, machines: Machines, name: str
) -> None:
    await machines.ready("node-A", BUSY)
    strict = Api(registry, **{f"select_max_{name}": 1.0})
    assert await select(strict) == []
    assert await select(strict, ceilings={name: 99}) == ["node-A"]
    assert await select(Api(registry)) == ["node-A"]
    explained = (await strict.ask("GET", "/v1/nodes/node-A/explain?asr=zh")).json()
    assert explained["lacks"][0]["reason"] == "resource_threshold_exceeded"


async def test_an_answer_tells_load_capacity_age_and_gateway(api: Api, machines: Machines) -> None:
    await machines.ready("node-A", {"running_jobs": 1})
    (node,) = (await api.ask("POST", "/v1/select", {})).json()["nodes"]
    assert 0 <= node.pop("age_ms") < 10_000
    assert node == {"node_id": "node-A", "load": 1, "capacity": 2, "gateway": "gw1"}


async def test_no_more_machines_than_asked_for_and_all_of_them_different(
    api: Api, machines: Machines
) -> None:
    for n in range(5):
        await machines.ready(f"node-{n}")
    assert len(await select(api)) == 1
    assert len(set(await select(api, limit=3))) == 3
    assert len(await select(api, limit=100)) == 5
    first = (await api.ask("POST", "/v1/select", {"prefer": ["node-3"], "limit": 2})).json()
    assert first["nodes"][0]["node_id"] == "node-3"


async def test_a_hold_takes_a_place_and_gives_it_back(
    api: Api, registry: Registry, machines: Machines
) -> None:
    await machines.ready("node-A")
    now = await registry.synchronise()
    holds = []
    for _ in range(2):
        (node,) = (await api.ask("POST", "/v1/select", {"hold_ms": 60_000})).json()["nodes"]
        assert now + 59_000 < node["hold"]["expires"] < now + 70_000
        holds.append(node["hold"]["id"])
    full = await api.ask("POST", "/v1/select", {"hold_ms": 60_000})
    assert full.json()["reasons"] == {"capacity_exceeded": 1}
    row = (await api.ask("GET", "/v1/nodes/node-A")).json()
    assert (row["holds"], row["load"], row["running_jobs"]) == (2, 2, 0)
    assert {hold["id"] for hold in row["open_holds"]} == set(holds)
    assert (await api.ask("DELETE", f"/v1/holds/{holds[0]}")).status_code == 204
    again = await api.ask("DELETE", f"/v1/holds/{holds[0]}")
    assert (again.status_code, again.json()["code"]) == (404, "HOLD_NOT_FOUND")
    assert await select(api, hold_ms=1) == ["node-A"]


@pytest.mark.parametrize("hold_id", ["x", "0" * 24, f"{'0' * 24}~node-A", f"{'0' * 24}~%C3%A9"])
async def test_a_hold_that_never_was_is_not_found(api: Api, hold_id: str) -> None:
    for who in ("admin", "admin of x"):
        answer = await api.ask("DELETE", f"/v1/holds/{hold_id}", who=who)
        assert (answer.status_code, answer.json()["code"]) == (404, "HOLD_NOT_FOUND")


async def test_no_hold_is_longer_than_the_settings_allow(
    registry: Registry, machines: Machines
) -> None:
    await machines.ready("node-A")
    api = Api(registry, hold_most_s=1.5)
    assert await select(api, hold_ms=1500) == ["node-A"]
    refused = await api.ask("POST", "/v1/select", {"hold_ms": 1501})
    assert refused.status_code == 400
    assert refused.json()["expected"] == "a whole number from 0 to 1500"
    described = (await api.ask("GET", "/openapi.json")).json()
    hold_ms = described["components"]["schemas"]["SelectBody"]["properties"]["hold_ms"]
    assert hold_ms["maximum"] == 1500


async def test_asked_again_with_its_id_a_request_gets_the_same_answer(
    api: Api, machines: Machines
) -> None:
    for n in range(8):
        await machines.ready(f"node-{n}")
    body = {"hold_ms": 60_000, "request_id": "call-1", "kind": "asr", "src_lang": "zh"}
    answers = await asyncio.gather(*(api.ask("POST", "/v1/select", body) for _ in range(8)))
    assert len({answer.text for answer in answers}) == 1
    rows = (await api.ask("GET", "/v1/nodes")).json()["nodes"]
    assert sum(row["holds"] for row in rows) == 1


async def test_that_nobody_fits_is_not_kept(api: Api, machines: Machines) -> None:
    assert await select(api, request_id="r") == []
    await machines.ready("node-A")
    assert await select(api, request_id="r") == ["node-A"]


async def test_a_miss_counts_reasons_and_names_who_nearly_fits(
    api: Api, registry: Registry, machines: Machines
) -> None:
    small = Hardware(cpu_cores=1, memory_gb=8, gpus=(Gpu(name="T4", memory_gb=16),))
    await machines.ready("node-fits-but-full", {"running_jobs": 2})
    await machines.ready("node-small", hardware=small)
    await machines.ready("node-mute", installed_models=(MODELS["asr:zh"],), hardware=small)
    await machines.ready("node-drained")
    await registry.drain("node-drained", "tests", "test")
    body = {"tts": ["en"], "min_gpu_memory_gb": 20}
    miss = (await api.ask("POST", "/v1/select", body)).json()
    assert miss["reasons"] == {
        "capacity_exceeded": 1,
        "memory_too_small": 1,
        "model_not_available": 1,
        "status_not_ready": 1,
    }
    assert (miss["examined"], miss["total"], miss["sampled"]) == (4, 4, False)
    near = {n["node_id"]: [lack["reason"] for lack in n["lacks"]] for n in miss["nearest"]}
    assert near == {
        "node-fits-but-full": ["capacity_exceeded"],
        "node-small": ["memory_too_small"],
        "node-drained": ["status_not_ready"],
        "node-mute": ["model_not_available", "memory_too_small"],
    }
    assert list(near)[-1] == "node-mute"


async def test_a_trial_tells_who_matches_and_why_the_others_do_not(
    api: Api, registry: Registry, machines: Machines
) -> None:
    small = Hardware(cpu_cores=1, memory_gb=8, gpus=(Gpu(name="T4", memory_gb=16),))
    await machines.ready("node-busy", {"running_jobs": 1})
    await machines.ready("node-idle")
    await machines.ready("node-small", hardware=small)
    await machines.ready("node-full", {"running_jobs": 2})
    body = {"tts": ["en"], "min_gpu_memory_gb": 20}
    tried = (await api.ask("POST", "/v1/select/explain", body)).json()
    assert [node["node_id"] for node in tried["nodes"]] == ["node-idle", "node-busy"]
    assert tried["matching"] == 2
    assert tried["reasons"] == {"memory_too_small": 1, "capacity_exceeded": 1}
    assert {near["node_id"] for near in tried["nearest"]} == {"node-small", "node-full"}
    assert (tried["examined"], tried["total"], tried["sampled"]) == (4, 4, False)
    first = {**body, "prefer": ["node-busy"], "avoid": ["node-idle"]}
    tried = (await api.ask("POST", "/v1/select/explain", first)).json()
    assert [node["node_id"] for node in tried["nodes"]] == ["node-busy"]
    assert tried["reasons"]["avoided"] == 1


async def test_a_trial_names_no_more_than_the_best_and_holds_nothing(
    api: Api, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.surveying.BEST", 2)
    for n in range(5):
        await machines.ready(f"node-{n}", {"running_jobs": n % 2})
    tried = (await api.ask("POST", "/v1/select/explain", {})).json()
    assert (tried["matching"], len(tried["nodes"])) == (5, 2)
    assert {node["load"] for node in tried["nodes"]} == {0}
    rows = (await api.ask("GET", "/v1/nodes")).json()["nodes"]
    assert sum(row["holds"] for row in rows) == 0
    refused = await api.ask("POST", "/v1/select/explain", {"hold_ms": 1000})
    assert (refused.status_code, refused.json()["parameter"]) == (400, "hold_ms")


async def test_the_same_miss_is_looked_into_once_a_second(
    registry: Registry, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    await machines.ready("node-A")
    api, looks = Api(registry), 0
    shortfall = registry.shortfall

    async def counted(*arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return await shortfall(*arguments)

    monkeypatch.setattr(registry, "shortfall", counted)
    asks = [api.ask("POST", "/v1/select", {"tts": ["fr"]}) for _ in range(20)]
    answers = {answer.text for answer in await asyncio.gather(*asks)}
    assert (len(answers), looks) == (1, 1)
    await select(api, tts=["de"])
    await api.ask("POST", "/v1/select", {"tts": ["fr"]}, who="admin of x")
    assert looks == 3


async def test_an_explanation_compares_a_node_with_what_is_asked(
    api: Api, machines: Machines
) -> None:
    await machines.ready("node-A")
    plain = (await api.ask("GET", "/v1/nodes/node-A/explain")).json()
    assert plain["selectable"] is True
    assert "matches" not in plain
    met = (await api.ask("GET", "/v1/nodes/node-A/explain?kind=nmt&tgt_lang=en")).json()
    assert met["matches"] is True
    unmet = (await api.ask("GET", "/v1/nodes/node-A/explain?kind=nmt&tgt_lang=fr")).json()
    assert unmet["matches"] is False
    assert unmet["lacks"] == [
        {
            "reason": "model_not_available",
            "wanted": {"kind": "nmt", "tgt_lang": "fr"},
            "has": ["asr:zh", "nmt:zh:en", "tts:en"],
        }
    ]


async def test_an_explanation_takes_the_private_for_unfit_as_a_selection_does(
    api: Api, machines: Machines
) -> None:
    await machines.ready("node-A", accept_public_jobs=False)
    for query, matches in (("asr=zh", False), ("public=true", False), ("public=false", True)):
        found = (await api.ask("GET", f"/v1/nodes/node-A/explain?{query}")).json()
        assert found["matches"] is matches, query


async def test_an_explanation_speaks_the_language_asked_for(api: Api, machines: Machines) -> None:
    await machines.register("node-A")
    url = "/v1/nodes/node-A/explain"
    english = await api.ask("GET", url, headers={"Accept-Language": "en"})
    assert english.json()["waits_for"]["text"].startswith("3 good heartbeats")
    chinese = await api.ask("GET", url, headers={"Accept-Language": "zh-CN"})
    assert "心跳" in chinese.json()["waits_for"]["text"]


@pytest.mark.parametrize(
    "wanted", ["gold", ["gold", "silver"], {"in": ["gold"]}, {"not": ["tin", "lead"]}]
)
async def test_what_a_near_miss_lacks_of_labels_can_be_asked_for_as_it_is_told(
    api: Api, machines: Machines, wanted: Any
) -> None:
    await machines.ready("node-A", labels={"tier": "tin"})
    miss = (await api.ask("POST", "/v1/select", {"labels": {"tier": wanted}})).json()
    ((lack,),) = (near["lacks"] for near in miss["nearest"])
    assert lack["reason"] == "label_mismatch"
    again = (await api.ask("POST", "/v1/select", {"labels": lack["wanted"]})).json()
    assert again["code"] == "NO_AVAILABLE_NODE"
    assert again["nearest"][0]["lacks"] == [lack]
    await machines.ready("node-B", labels={"tier": "gold"})
    found = (await api.ask("POST", "/v1/select", {"labels": lack["wanted"]})).json()
    assert [node["node_id"] for node in found["nodes"]] == ["node-B"]
