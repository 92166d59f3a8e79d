"""Stores that former versions left behind, taken over by today's: docs/upgrades.md.

The store's clock is set to the instant at which the store was kept, so that what had time left has
as much again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from registry.embedded import EmbeddedStore
from registry.events import EventType
from sweeper.rules import replay
from tests.integration.conftest import QUICK
from tests.support import keeping
from tests.support.kept import Kept, all_kept, fill, load, shape
from tests.support.launching import launcher
from tests.support.node import Node
from tests.support.processes import Process, ProcessesFactory
from tests.support.users import BOTH, as_user, with_users
from tests.support.watcher import Reader

DAY_S = 86400
BEAT: dict[str, Any] = {}
IDLE = {"resource_usage": {"running_jobs": 0}}

Restore = Callable[[Kept, float], str]


@pytest.fixture(params=all_kept(), ids=lambda path: path.stem)
def kept(request: pytest.FixtureRequest) -> Kept:
    """Each kept store in turn."""
    return load(request.param)


@pytest.fixture(params=[False, True], ids=["as kept", "and what a later version may add"])
def added(request: pytest.FixtureRequest, kept: Kept) -> Kept:
    """A kept store as it is, and with fields and keys that today's code does not know."""
    if not request.param:
        return kept
    keys: list[list[Any]] = [["muster:{later}:key", "string", -1, "?"]]
    for name, kind, left, value in kept.keys:
        more = value
        if ":n:" in name:
            told = msgspec.msgpack.decode(value["reg"].encode("latin-1"))
            packed = msgspec.msgpack.encode(told | {"later": {"field": [1]}})
            more = value | {"later": "?", "reg": packed.decode("latin-1")}
        elif ":intent:" in name:
            more = value | {"later": "?"}
        elif kind == "stream":
            entries = [[i, [*pairs, ["later", "?"]]] for i, pairs in value["entries"]]
            more = value | {"entries": entries}
        keys.append([name, kind, left, more])
    return replace(kept, keys=keys)


@pytest.fixture
def restore(tmp_path: Path) -> Iterator[Restore]:
    """`restore(kept, later_s)`: the URL of a store that holds it, so long after it was kept."""
    made: list[EmbeddedStore] = []

    def start(kept: Kept, later_s: float) -> str:
        offset_s = kept.written_at / 1000 + later_s - time.time()
        binary = launcher(tmp_path / "launcher", clock_offset_s=offset_s)
        users = with_users(tmp_path / "store")
        made.append(EmbeddedStore.start(tmp_path / "store", extra=users, server=binary))
        fill(made[-1].url, kept)
        return as_user(made[-1].url, BOTH)

    yield start
    for store in made:
        store.kill()


async def ask(gateway: Process, method: str, path: str, **body: Any) -> Any:
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as client:
        answer = await client.request(method, path, **body)
        answer.raise_for_status()
        return answer.json() if answer.content else None


async def again(gateway: Process, kept: Kept, part: str, *beats: dict[str, Any]) -> Node:
    """A node of the kept store, on a new socket, with the token it was given then."""
    node = await Node(gateway.ws_url).__aenter__()
    shown = kept.cast[part] | {"boot_id": f"boot-{part}", "attempt": 9, "heartbeat_ack": True}
    answer = await node.register(**shown)
    assert answer["type"] == "node_register_ack", answer
    for fields in beats:
        await node.beat(**fields)
    return node


def happened(kept: Kept) -> dict[str, list[str]]:
    """What the kept streams say of each node: kinds of events in their order."""
    found: dict[str, list[str]] = {}
    for _, kind, _, value in kept.keys:
        if kind == "stream":
            for _, pairs in value["entries"]:
                event = dict(pairs)
                found.setdefault(event.get("id", ""), []).append(event["type"])
    return found


async def test_a_former_versions_store_is_read_judged_selected_and_resumed(
    added: Kept, restore: Restore, processes: ProcessesFactory
) -> None:
    kept, cast = added, added.cast
    ids = {part: said["node_id"] for part, said in cast.items() if "node_id" in said}
    ours = processes(restore(kept, 0), secret=[keeping.SECRET], log_format="text")
    gateway = await ours.gateway()
    listed = await ask(gateway, "GET", "/v1/nodes")
    status = {row["node_id"]: row["status"] for row in listed["nodes"]}
    expected = {
        "ready": "ready", "resumed": "ready", "gone": "ready", "degraded": "degraded",
        "warming": "registering", "unjudged": "registering", "drained": "draining",
        "leaving": "draining", "left": "offline",
    }  # fmt: skip
    assert status == {ids[part]: word for part, word in expected.items()}, "read as it was"

    once = await ask(gateway, "POST", "/v1/select", json=keeping.REQUEST)
    assert once == cast["selection"], "a request that was answered is answered the same"
    held = await ask(gateway, "GET", f"/v1/nodes/{ids['ready']}")
    assert held["holds"] == 1
    assert held["labels"] == {"region": "eu", "tier": "gold"}
    wanted = {"labels": {"tier": "gold"}}
    async with httpx.AsyncClient(trust_env=False) as client:
        refused = await client.post(f"{gateway.url}/v1/select", json=wanted)
    assert refused.status_code == 404, "its one place is held"
    named = {"kind": "nmt", "src_lang": "zh", "tgt_lang": "en", "limit": 9}
    chosen = await ask(gateway, "POST", "/v1/select", json=named)
    assert {n["node_id"] for n in chosen["nodes"]} == {ids["resumed"], ids["gone"]}

    gaps_and_events = Reader(lambda: [gateway.url], after=cast["cursor"])
    async with gaps_and_events as reader:
        later = {ids[p] for p in ("warming", "degraded", "drained", "leaving", "left", "removed")}
        true = happened(kept)
        await reader.until(
            lambda r: all([e["type"] for e in r.of(i)] == true[i] for i in later),
            "a cursor of then goes on with all that came after it",
        )
        assert not reader.gaps

    await ours.sweeper()
    nodes = {
        part: await again(gateway, kept, part, *beats)
        for part, beats in {
            "ready": (), "warming": (BEAT,), "unjudged": (), "degraded": (BEAT,) * 3,
            "drained": (IDLE,), "leaving": (), "left": (), "removed": (),
        }.items()
    }  # fmt: skip
    acks = {
        part: next(frame for frame in node.told if frame["type"] == "node_register_ack")
        for part, node in nodes.items()
    }
    resumed = {part for part, ack in acks.items() if ack.get("resumed")}
    assert resumed == {"ready", "warming", "unjudged", "degraded", "drained"}
    assert acks["ready"]["status"] == "ready"
    assert acks["left"]["status"] == "draining", "an operator's drain outlives a new life"
    assert acks["leaving"]["status"] == acks["removed"]["status"] == "registering"
    for part in ("warming", "unjudged", "degraded"):
        if acks[part]["status"] != "ready":
            await nodes[part].hear_status("ready")
    drained = await nodes["drained"].hear_type("node_status")
    assert (drained["status"], drained["reason"]) == ("draining", "drained")
    await ask(
        gateway, "POST", f"/v1/nodes/{ids['drained']}/resume", json={"reason": "it has its driver"}
    )
    await nodes["drained"].hear_status("ready")
    await ask(gateway, "DELETE", f"/v1/holds/{cast['selection']['nodes'][0]['hold']['id']}")
    (free,) = (await ask(gateway, "POST", "/v1/select", json=wanted))["nodes"]
    assert free["node_id"] == ids["ready"]
    for node in nodes.values():
        await node.ws.close()


async def test_a_former_versions_nodes_fall_silent_and_expire(
    kept: Kept, restore: Restore, processes: ProcessesFactory
) -> None:
    cast = kept.cast
    url = restore(kept, DAY_S + 3600)
    hasty = QUICK | {"heartbeat_timeout_s": 1.5, "gateway_grace_s": 1.5}
    ours = processes(url, **(hasty | {"secret": [keeping.SECRET]}))
    gateway = await ours.gateway()
    await ours.sweeper()
    gone = {cast[part]["node_id"] for part in ("left", "removed")}
    silent = {said["node_id"] for said in cast.values() if "node_id" in said} - gone

    def told(reader: Reader, kind: str) -> dict[str, dict[str, Any]]:
        return {e["node_id"]: e for e in reader.told if e["type"] == kind}

    async with Reader(lambda: [gateway.url], after=cast["cursor"]) as reader:
        await reader.until(
            lambda r: gone <= set(told(r, EventType.EXPIRED)), "their retention is over"
        )
        await reader.until(
            lambda r: all(
                (told(r, EventType.TRANSITION).get(i) or {}).get("to") == "offline" for i in silent
            ),
            "who is silent is called offline",
        )
        reasons = {told(reader, EventType.TRANSITION)[i]["reason"] for i in silent}
    assert reasons == {"heartbeat_timeout"}
    listed = await ask(gateway, "GET", "/v1/nodes")
    assert {row["node_id"] for row in listed["nodes"]} == silent


def test_every_transition_of_a_former_version_follows_from_its_evidence_today(kept: Kept) -> None:
    told = [dict(e) for _, kind, _, v in kept.keys if kind == "stream" for _, e in v["entries"]]
    moves = [event for event in told if event["type"] == EventType.TRANSITION]
    assert len(moves) > 15
    for event in moves:
        decision = replay(json.loads(event["evidence"]))
        assert decision is not None
        assert (decision.to, decision.reason) == (event["to"], event["reason"])


def test_a_kept_store_says_which_commit_wrote_it_and_has_every_kind_of_key() -> None:
    for path in all_kept():
        kept = load(path)
        assert re.match(r"[0-9a-f]{7,} of ", kept.written_by), path
        kinds = {kind.split(" ")[0] for kind in shape(kept)}
        assert kinds >= {"n", "intent", "h", "ttl", "holds", "req", "due", "todo", "ready", "ev"}


async def test_what_is_written_today_has_the_shape_of_the_newest_kept_store(tmp_path: Path) -> None:
    newest = all_kept()[-1]
    today, then = shape(await keeping.made(tmp_path)), shape(load(newest))
    moved = {
        kind: f"{sorted(set(then.get(kind, [])) ^ set(today.get(kind, []))) or 'the key itself'}"
        for kind in sorted({*today, *then})
        if today.get(kind) != then.get(kind)
    }
    assert not moved, (
        f"the format has moved since {newest.name}: {json.dumps(moved, indent=1)}\n"
        "docs/upgrades.md says what may move; if this may, keep a store of today's beside the "
        "former ones: .venv/bin/python -m tests.support.keeping NAME"
    )
