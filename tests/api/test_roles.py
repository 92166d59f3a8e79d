"""Who may do what: every endpoint, asked by everybody, about their own machine and another's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.access import role_needed
from gateway.api.endpoint import Endpoint
from gateway.api.table import TABLE
from registry.holding import hold_of
from registry.registry import Registry
from tests.support.api import Api, Machines

# What each asker is answered, asking about a machine of owner x, and about one of owner y.
NOBODY, STRANGER = None, "stranger"
ASKERS: tuple[tuple[str | None, str], ...] = (
    (NOBODY, "x"),
    (STRANGER, "x"),
    ("reader", "x"),
    ("admin", "y"),
    ("reader of x", "x"),
    ("reader of x", "y"),
    ("admin of x", "x"),
    ("admin of x", "y"),
)
LOOKS = (401, 401, 200, 200, 200, 404, 200, 404)
ACTS = (401, 401, 403, 200, 403, 403, 200, 404)
MATRIX: dict[str, tuple[int, ...]] = {
    "POST /v1/select": LOOKS,
    "POST /v1/select/explain": (401, 401, 200, 200, 200, 200, 200, 200),
    "DELETE /v1/holds/{hold_id}": (401, 401, 204, 204, 204, 404, 204, 404),
    "GET /v1/nodes": (401, 401, 200, 200, 200, 200, 200, 200),
    "GET /v1/events": (401, 401, 200, 200, 200, 200, 200, 200),
    "GET /v1/nodes/{node_id}": LOOKS,
    "GET /v1/nodes/{node_id}/explain": LOOKS,
    "GET /v1/fleet": (401, 401, 200, 200, 200, 200, 200, 200),
    "GET /v1/me": (401, 401, 200, 200, 200, 200, 200, 200),
    "GET /v1/doctor": (401, 401, 200, 200, 403, 403, 403, 403),
    "POST /v1/fleet/release-brake": (401, 401, 403, 200, 403, 403, 403, 403),
    "POST /v1/nodes/{node_id}/drain": ACTS,
    "POST /v1/nodes/{node_id}/resume": ACTS,
    "PATCH /v1/nodes/{node_id}/labels": ACTS,
    "POST /v1/bulk": (401, 401, 403, 200, 403, 403, 200, 200),
    "DELETE /v1/nodes/{node_id}": (401, 401, 403, 204, 403, 403, 204, 404),
}
# Asked so that the answer is about the machine of that owner. "-" is the machine's owner.
QUESTIONS: dict[str, tuple[str, Any]] = {
    "POST /v1/select": ("", {"labels": {"owner": "-"}}),
    "POST /v1/select/explain": ("", {"labels": {"owner": "-"}}),
    "GET /v1/nodes": ("?label=owner=-", None),
    "POST /v1/fleet/release-brake": ("", {"reason": "test"}),
    "POST /v1/nodes/{node_id}/drain": ("", {"reason": "test"}),
    "POST /v1/nodes/{node_id}/resume": ("", {"reason": "test"}),
    "PATCH /v1/nodes/{node_id}/labels": ("", {"labels": {"tier": "gold"}, "reason": "test"}),
    "POST /v1/bulk": (
        "",
        {"action": "drain", "filter": {"labels": {"owner": "-"}}, "reason": "test"},
    ),
    "DELETE /v1/nodes/{node_id}": ("?reason=test", None),
}


def of_row(endpoint: Endpoint) -> str:
    return endpoint.title


async def ask(
    api: Api, registry: Registry, endpoint: Endpoint, who: str | None, owner: str
) -> tuple[int, str]:
    """The status and text of one endpoint, asked about the machine of an owner."""
    node_id = f"node-{owner}"
    hold_id = hold_of(f"request-{who}-{owner}".replace(" ", "-"), node_id)
    if "hold_id" in endpoint.parameters:
        subject = (await registry.subjects([node_id]))[0]
        assert subject is not None
        assert not isinstance(await registry.hold(subject, hold_id, 60_000), str)
    query, body = QUESTIONS.get(endpoint.title, ("", None))
    url = endpoint.path.format(node_id=node_id, hold_id=hold_id) + query.replace("-", owner)
    answer = await api.ask(endpoint.method, url, _about(body, owner), who=who)
    return answer.status_code, answer.text


def _about(body: Any, owner: str) -> Any:
    """The body with the owner in place of every "-"."""
    if isinstance(body, dict):
        return {name: _about(part, owner) for name, part in body.items()}
    return owner if body == "-" else body


def test_every_endpoint_has_its_row_in_the_matrix() -> None:
    assert set(MATRIX) == {endpoint.title for endpoint in TABLE}


@pytest.mark.parametrize("endpoint", TABLE, ids=of_row)
async def test_an_endpoint_answers_everybody_as_they_may(
    endpoint: Endpoint, api: Api, registry: Registry, machines: Machines
) -> None:
    for (who, owner), expected in zip(ASKERS, MATRIX[endpoint.title], strict=True):
        # Whatever the one before did to them: the machines are as new.
        await registry.store.client.flushall()
        for name in ("x", "y"):
            await machines.ready(f"node-{name}", labels={"owner": name})
        status, text = await ask(api, registry, endpoint, who, owner)
        assert status == expected, f"{who} about {owner}'s: {text}"


@pytest.mark.parametrize("endpoint", TABLE, ids=of_row)
def test_the_guard_and_the_table_ask_for_the_same_role(endpoint: Endpoint) -> None:
    path = endpoint.path.format(node_id="node-x", hold_id="h~node-x")
    assert role_needed(endpoint.method, path) is endpoint.role


@pytest.mark.parametrize("who", ["reader of x", "admin of x"])
async def test_an_owner_sees_nothing_of_others(api: Api, machines: Machines, who: str) -> None:
    for name in ("x", "y"):
        await machines.ready(f"node-{name}", labels={"owner": name}, gateway=f"gw-of-{name}")
    await machines.ready("node-nobodys")
    for url in ("/v1/nodes", "/v1/nodes?sort=load", "/v1/nodes?label=owner!=x", "/v1/fleet"):
        text = (await api.ask("GET", url, who=who)).text
        assert "node-y" not in text
        assert "nobodys" not in text
    fleet = (await api.ask("GET", "/v1/fleet", who=who)).json()
    assert (fleet["total"], fleet["status"]["ready"], fleet["examined"]) == (1, 1, 1)
    miss = (await api.ask("POST", "/v1/select", {"tts": ["fr"]}, who=who)).json()
    assert (miss["code"], miss["examined"], miss["total"]) == ("NO_AVAILABLE_NODE", 1, 1)
    assert [near["node_id"] for near in miss["nearest"]] == ["node-x"]
    tried = (
        await api.ask("POST", "/v1/select/explain", {"labels": {"owner": "y"}}, who=who)
    ).json()
    assert (tried["matching"], tried["examined"], tried["total"]) == (0, 1, 1)
    assert [near["node_id"] for near in tried["nearest"]] == ["node-x"]
    for _ in range(20):
        found = (await api.ask("POST", "/v1/select", {"limit": 3}, who=who)).json()
        assert [node["node_id"] for node in found["nodes"]] == ["node-x"]
    preferred = {"prefer": ["node-y"], "limit": 3}
    found = (await api.ask("POST", "/v1/select", preferred, who=who)).json()
    assert [node["node_id"] for node in found["nodes"]] == ["node-x"]


async def test_an_owner_is_not_told_how_many_others_there_are(
    registry: Registry, machines: Machines
) -> None:
    settings = replace(registry.settings, explain_most=4, overview_most=4)
    small = Registry(registry.store, settings)
    for n in range(40):
        await machines.ready(f"node-{n}", labels={"owner": "xy"[n % 2]})
    await small.note_mass_expiry(lost=30, living=10, keep_s=60)
    api = Api(small)
    miss = (await api.ask("POST", "/v1/select", {"tts": ["fr"]}, who="reader of x")).json()
    assert (miss["sampled"], miss["total"], miss["examined"]) == (False, 20, 20)
    tried = (await api.ask("POST", "/v1/select/explain", {}, who="reader of x")).json()
    assert (tried["sampled"], tried["total"], tried["matching"]) == (False, 20, 20)
    fleet = (await api.ask("GET", "/v1/fleet", who="reader of x")).json()
    assert (fleet["sampled"], fleet["mass_expiry"], fleet["total"]) == (False, None, 20)
    assert (await api.ask("GET", "/v1/fleet")).json()["mass_expiry"]["lost"] == 30


async def test_an_owner_changes_nothing_of_others_in_bulk(
    api: Api, registry: Registry, machines: Machines
) -> None:
    for name in ("x", "y"):
        await machines.ready(f"node-{name}", labels={"owner": name})
    for filter_ in ({"labels": {"owner": "y"}}, {"ids": ["node-x", "node-y"]}, None):
        body = {"action": "drain", "reason": "test", "all": True} | (
            {"filter": filter_} if filter_ else {}
        )
        await api.ask("POST", "/v1/bulk", body, who="admin of x")
    y = (await registry.subjects(["node-y"]))[0]
    assert y is not None
    assert y.intent is None


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("PATCH", "/v1/nodes/node-x/labels", {"labels": {"owner": "z"}, "reason": "r"}),
        ("PATCH", "/v1/nodes/node-x/labels", {"labels": {"owner": None}, "reason": "r"}),
        (
            "POST",
            "/v1/bulk",
            {"action": "label", "labels": {"owner": "z"}, "all": True, "reason": "r"},
        ),
    ],
)
async def test_an_owner_neither_gives_machines_away_nor_takes_any(
    api: Api, machines: Machines, method: str, url: str, body: Any
) -> None:
    await machines.ready("node-x", labels={"owner": "x"})
    answer = await api.ask(method, url, body, who="admin of x")
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    assert answer.json()["parameter"] == "labels.owner"
    assert (await api.ask(method, url, body)).status_code == 200


async def test_two_askers_do_not_share_an_answer(api: Api, machines: Machines) -> None:
    await machines.ready("node-x", labels={"owner": "x"})
    body = {"request_id": "r", "hold_ms": 1000}
    assert (await api.ask("POST", "/v1/select", body, who="reader")).status_code == 200
    other = await api.ask("POST", "/v1/select", body, who="admin")
    assert (other.status_code, other.json()["code"]) == (409, "REQUEST_ID_REUSED")


@pytest.mark.parametrize("who", ["reader", "admin"])
async def test_addresses_and_ids_of_holds_are_for_admins(
    api: Api, machines: Machines, who: str
) -> None:
    await machines.ready("node-x")
    held = (await api.ask("POST", "/v1/select", {"hold_ms": 60_000})).json()["nodes"][0]["hold"]
    answer = await api.ask("GET", "/v1/nodes/node-x", who=who)
    assert ("192.0.2.7" in answer.text, held["id"] in answer.text) == (who == "admin",) * 2
    assert [hold["expires"] for hold in answer.json()["open_holds"]] == [held["expires"]]
