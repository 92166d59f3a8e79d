"""What operators do over HTTP, to one node and to many."""

from __future__ import annotations

from typing import Any

import pytest

from registry.errors import Contended, StoreUnavailable
from registry.model import Reason, Status
from registry.registry import Registry
from tests.support.api import Api, Machines


async def row(api: Api, node_id: str = "node-A") -> dict[str, Any]:
    found: dict[str, Any] = (await api.ask("GET", f"/v1/nodes/{node_id}")).json()
    return found


async def test_a_drain_keeps_who_when_and_why(api: Api, machines: Machines) -> None:
    await machines.ready("node-A")
    body = {"reason": "new driver", "timeout_s": 1.5}
    answer = await api.ask("POST", "/v1/nodes/node-A/drain", body)
    assert answer.json() == {"node_id": "node-A", "changed": True}
    node = await row(api)
    operator = node["operator"]
    assert (operator["who"], operator["why"], operator["timeout_ms"]) == (
        "admin",
        "new driver",
        1500,
    )
    assert operator["at"] <= node["now"]
    assert (await api.ask("POST", "/v1/select", {})).status_code == 404
    event = node["events"][0]
    assert (event["who"], event["why"]) == ("admin", "new driver")


async def test_a_drain_without_a_time_has_the_settings(api: Api, machines: Machines) -> None:
    await machines.ready("node-A")
    for more in ({}, {"timeout_s": None}):
        await api.ask("POST", "/v1/nodes/node-A/drain", {"reason": "r"} | more)
        assert (await row(api))["operator"]["timeout_ms"] == 3_600_000


async def test_resuming_twice_is_no_mistake(api: Api, machines: Machines) -> None:
    await machines.ready("node-A")
    await api.ask("POST", "/v1/nodes/node-A/drain", {"reason": "r"})
    for changed in (True, False):
        answer = await api.ask("POST", "/v1/nodes/node-A/resume", {"reason": "r"})
        assert answer.json() == {"node_id": "node-A", "changed": changed}
    assert (await row(api))["operator"] is None


async def test_labels_are_changed_one_by_one(api: Api, machines: Machines) -> None:
    await machines.ready("node-A", labels={"region": "eu", "tier": "tin"})

    async def patch(**labels: str | None) -> dict[str, str]:
        body = {"labels": labels, "reason": "r"}
        answer = await api.ask("PATCH", "/v1/nodes/node-A/labels", body)
        assert answer.json()["node_id"] == "node-A"
        found: dict[str, str] = answer.json()["labels"]
        return found

    assert await patch(tier="gold", rack="b4") == {"region": "eu", "tier": "gold", "rack": "b4"}
    assert await patch(tier=None) == {"region": "eu", "tier": "tin", "rack": "b4"}
    found = await api.ask("POST", "/v1/select", {"labels": {"rack": "b4"}})
    assert found.status_code == 200


@pytest.mark.parametrize(
    ("labels", "named", "expected"),
    [
        ({"a": "x" * 256, "b" * 256: "y"}, None, None),
        ({"a": "x", "rack": "柜" * 86}, "labels.rack", "a value of at most 256 bytes"),
        ({"a": "x", "柜" * 86: "b"}, "labels." + "柜" * 64, "a name of at most 256 bytes"),
        ({"a": "x", "b": "x" * 257}, "labels.b", "a text of at most 256 characters"),
        (
            {"a": "x", "b" * 257: "x"},
            "labels." + "b" * 64,
            "a name that is a text of 1 to 256 characters",
        ),
        ({"a": "x", "rack": "b4\nok"}, "labels.rack", "a value without control characters"),
        ({"a": "x", "rack": "\x1b[2J"}, "labels.rack", "a value without control characters"),
        ({"a": "x", "rack": "b\u20284"}, "labels.rack", "a value without control characters"),
        ({"a": "x", "ra\rck": "b4"}, "labels.ra\rck", "a name without control characters"),
    ],
    ids=[
        *("longest", "value", "name", "value's text", "name's text"),
        *("line feed", "escape", "line of Unicode", "in a name"),
    ],
)
async def test_a_label_that_cannot_be_is_refused_by_name(
    api: Api, machines: Machines, labels: Any, named: str | None, expected: str | None
) -> None:
    await machines.ready("node-A")
    body = {"labels": labels, "reason": "r"}
    asked = [
        ("PATCH", "/v1/nodes/node-A/labels", body),
        ("POST", "/v1/bulk", body | {"action": "label", "all": True, "dry_run": True}),
    ]
    for method, url, sent in asked:
        answer = await api.ask(method, url, sent)
        if named is None:
            assert answer.status_code == 200
            continue
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_PARAMETER")
        assert (answer.json()["parameter"], answer.json()["expected"]) == (named, expected)
    assert (await row(api))["operator_labels"] == ({} if named else labels)


async def test_a_label_of_before_that_holds_a_line_feed_can_be_taken_away(
    api: Api, machines: Machines, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await machines.ready("node-A")
    with monkeypatch.context() as before:
        before.setattr("registry.operating.changed", lambda _, changes: changes)
        await registry.label("node-A", {"ra\nck": "b\n4"}, "tests", "when it could be set")
    assert (await row(api))["operator_labels"] == {"ra\nck": "b\n4"}
    body = {"labels": {"ra\nck": None}, "reason": "r"}
    answer = await api.ask("PATCH", "/v1/nodes/node-A/labels", body)
    assert (answer.status_code, answer.json()["labels"]) == (200, {})


async def test_a_bulk_does_to_all_it_means_and_to_no_other(
    api: Api, registry: Registry, machines: Machines
) -> None:
    for n in range(40):
        await machines.register(f"node-{n:02d}", labels={"half": "ab"[n % 2]})

    async def drained() -> int:
        return len((await api.ask("GET", "/v1/nodes?drained=true")).json()["nodes"])

    body = {"action": "drain", "filter": {"labels": {"half": "a"}}, "reason": "r", "timeout_s": 5}
    dry = (await api.ask("POST", "/v1/bulk", body | {"dry_run": True})).json()
    assert (dry["matched"], dry["done"], dry["dry_run"], await drained()) == (20, 0, True, 0)
    done = (await api.ask("POST", "/v1/bulk", body)).json()
    assert (done["matched"], done["done"], done["failed"], done["dry_run"]) == (20, 20, [], False)
    assert sorted(done["nodes"]) == [f"node-{n:02d}" for n in range(0, 40, 2)]
    assert await drained() == 20

    del body["timeout_s"]
    await api.ask("POST", "/v1/bulk", body | {"action": "resume", "filter": {"drained": True}})
    assert await drained() == 0
    label = {"action": "label", "labels": {"new": "x", "half": "c"}}
    await api.ask("POST", "/v1/bulk", body | label)
    assert len((await api.ask("GET", "/v1/nodes?label=half=c&label=new=x")).json()["nodes"]) == 20
    gone = (
        await api.ask("POST", "/v1/bulk", body | {"action": "remove", "filter": {"q": "0"}})
    ).json()
    assert gone["done"] == gone["matched"] == 13
    assert len((await api.ask("GET", "/v1/nodes")).json()["nodes"]) == 27


@pytest.mark.parametrize(
    "filter_",
    [
        None,
        {},
        {"ceilings": {}},
        {"ids": []},
        {"labels": {}},
        {"asr": []},
        {"q": ""},
        {"kind": None},
    ],
)
async def test_a_filter_that_asks_nothing_is_refused(
    api: Api, registry: Registry, machines: Machines, filter_: Any
) -> None:
    await machines.ready("node-A")
    body = {"action": "remove", "reason": "r"} | ({} if filter_ is None else {"filter": filter_})
    refused = await api.ask("POST", "/v1/bulk", body)
    assert refused.status_code == 400
    assert refused.json()["parameter"].startswith("filter")
    assert (await row(api))["status"] == "ready"


@pytest.mark.parametrize("filter_", [None, {}])
async def test_all_means_all(api: Api, machines: Machines, filter_: Any) -> None:
    for n in range(3):
        await machines.register(f"node-{n}")
    body = {"action": "remove", "reason": "r", "all": True}
    body |= {} if filter_ is None else {"filter": filter_}
    assert (await api.ask("POST", "/v1/bulk", body)).json()["done"] == 3
    assert (await api.ask("GET", "/v1/nodes")).json()["nodes"] == []


async def test_a_bulk_tells_to_whom_it_could_not_be_done(
    api: Api, registry: Registry, machines: Machines
) -> None:
    for n in range(3):
        await machines.register(f"node-{n}")
    many = {f"label-{n}": "x" for n in range(32)}
    await registry.label("node-1", many, "tests", "full")
    body = {"action": "label", "labels": {"one more": "x"}, "all": True, "reason": "r"}
    answer = (await api.ask("POST", "/v1/bulk", body)).json()
    assert (answer["matched"], answer["done"]) == (3, 2)
    assert answer["failed"] == [{"node_id": "node-1", "code": "TOO_MANY_LABELS"}]


async def test_a_bulk_resume_counts_only_those_that_were_drained(
    api: Api, registry: Registry, machines: Machines
) -> None:
    for n in range(5):
        await machines.register(f"node-{n}")
    for node_id in ("node-1", "node-3"):
        await registry.drain(node_id, "tests", "why")
    body = {"action": "resume", "all": True, "reason": "r"}
    answer = (await api.ask("POST", "/v1/bulk", body)).json()
    assert (answer["matched"], answer["done"], answer["failed"]) == (5, 2, [])


async def test_a_bulk_tells_who_left_meanwhile(
    api: Api, registry: Registry, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        await machines.register(f"node-{n}")
    drain = registry.drain

    async def leaves(node_id: str, *more: Any) -> bool:
        return node_id != "node-2" and await drain(node_id, *more)

    monkeypatch.setattr(registry, "drain", leaves)
    body = {"action": "drain", "all": True, "reason": "r"}
    answer = (await api.ask("POST", "/v1/bulk", body)).json()
    assert answer["failed"] == [{"node_id": "node-2", "code": "NODE_NOT_FOUND"}]


async def test_a_bulk_does_not_try_a_store_that_is_away_for_every_node(
    api: Api, registry: Registry, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(50):
        await machines.register(f"node-{n:02d}")
    tries = 0

    async def away(*_: Any) -> bool:
        nonlocal tries
        tries += 1
        raise StoreUnavailable("cut off")

    monkeypatch.setattr(registry, "drain", away)
    body = {"action": "drain", "all": True, "reason": "r"}
    answer = (await api.ask("POST", "/v1/bulk", body)).json()
    assert (answer["matched"], answer["done"]) == (50, 0)
    assert {failure["code"] for failure in answer["failed"]} == {"UNAVAILABLE"}
    assert tries < 20


async def test_a_bulk_goes_on_after_a_node_whose_record_changes_too_fast(
    api: Api, registry: Registry, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(40):
        await machines.register(f"node-{n:02d}")
    drain = registry.drain

    async def moves(node_id: str, *more: Any) -> bool:
        if node_id == "node-07":
            raise Contended("again and again")
        return await drain(node_id, *more)

    monkeypatch.setattr(registry, "drain", moves)
    body = {"action": "drain", "all": True, "reason": "r"}
    answer = (await api.ask("POST", "/v1/bulk", body)).json()
    assert answer["done"] == 39
    assert answer["failed"] == [{"node_id": "node-07", "code": "UNAVAILABLE"}]


async def test_lists_in_an_answer_are_bounded(
    api: Api, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.operating.BULK_SHOWN", 2)
    for n in range(5):
        await machines.register(f"node-{n}")
    body = {"action": "drain", "all": True, "reason": "r"}
    answer = (await api.ask("POST", "/v1/bulk", body)).json()
    assert (answer["matched"], answer["done"], len(answer["nodes"])) == (5, 5, 2)


async def test_who_took_a_node_off_is_told_until_it_registers_again(
    api: Api, machines: Machines
) -> None:
    await machines.ready("node-A", labels={"owner": "x"})
    assert (await api.ask("DELETE", "/v1/nodes/node-A?reason=sold")).status_code == 204
    asked: list[tuple[str, str, Any]] = [
        ("GET", "/v1/nodes/node-A", None),
        ("GET", "/v1/nodes/node-A/explain", None),
        ("POST", "/v1/nodes/node-A/drain", {"reason": "r"}),
        ("POST", "/v1/nodes/node-A/resume", {"reason": "r"}),
        ("PATCH", "/v1/nodes/node-A/labels", {"labels": {"a": "b"}, "reason": "r"}),
        ("DELETE", "/v1/nodes/node-A?reason=again", None),
    ]
    for method, url, body in asked:
        answer = await api.ask(method, url, body)
        assert answer.status_code == 404
        removed = answer.json()["removed"]
        assert (removed["who"], removed["why"]) == ("admin", "sold")
        assert removed["at"] > 0
        told_owner = (await api.ask(method, url, body, who="admin of x")).json()
        assert (told_owner["code"], "removed" in told_owner) == ("NODE_NOT_FOUND", False)
    assert "removed" not in (await api.ask("GET", "/v1/nodes/node-B")).json()
    await machines.register("node-A")
    assert (await api.ask("GET", "/v1/nodes/node-A")).status_code == 200


async def test_an_explanation_reads_events_only_of_a_node_that_is_offline(
    api: Api, registry: Registry, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    await machines.ready("node-A")
    read = registry._events
    reads: list[str] = []

    async def counted(node_id: str) -> Any:
        reads.append(node_id)
        return await read(node_id)

    monkeypatch.setattr(registry, "_events", counted)
    assert (await api.ask("GET", "/v1/nodes/node-A/explain")).status_code == 200
    assert reads == []
    await machines.fleet.commit(
        Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT, "node-A", evidence={"blame": "node"}
    )
    assert (await api.ask("GET", "/v1/nodes/node-A/explain")).json()["blame"] == "node"
    assert reads == ["node-A"]
    assert (await row(api))["events"]
