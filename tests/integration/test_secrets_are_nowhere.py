"""Everything a system wrote and answered while all its secrets were in use, searched for them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import psutil
from redis.asyncio import Redis

from muster.wire.bearer import Entry, Role, digest, new_token
from tests.integration.conftest import System
from tests.support.hiding import forms, found
from tests.support.node import Node

FLEET = "fleet-word-7c1f0a"
FORMER = "former-word-91bb2e"
JOIN = "join-word-5d20c3"
PASSWORD = "store-word-e48a17"
WRONG = "wrong-word-a90d4f"
ADMIN = new_token()
PATHS = (
    *("/v1/nodes", "/v1/fleet", "/v1/doctor", "/v1/events?since=0&until=now", "/openapi.json"),
    *("/asyncapi.json", "/docs", "/healthz", "/readyz", "/metrics", f"/{JOIN}", "/v1/none"),
)


async def test_no_secret_is_in_a_log_an_answer_a_metric_the_store_or_a_process_list(
    system: System,
) -> None:
    admin_line = Entry("ops", Role.ADMIN, digest(ADMIN)).line()
    (server,) = system.backend.servers
    server.command("ACL", "SETUSER", "gateway", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    url = f"redis://gateway:{PASSWORD}@127.0.0.1:{server.port}/0"
    secret: dict[str, object] = {
        "secret": [FLEET, FORMER],
        "join_tokens": [JOIN],
        "api_tokens": [admin_line],
        "redis_url": url,
        "log_level": "debug",
    }
    await system.start(1, 1, **secret)
    (gateway,) = system.gateways
    bearer = {"Authorization": f"Bearer {JOIN}"}
    told: dict[str, bytes] = {}
    tokens = []
    async with (
        Node(system.ws, additional_headers=bearer) as node,
        Node(f"{system.ws}?token={JOIN}") as other,
        Node(f"{system.ws}?token={WRONG}") as stranger,
    ):
        await node.become_ready()
        await other.register()
        tokens += [node.token, other.token]
        await stranger.register(node_token=WRONG)
        thief = await other.register(node_id=node.node_id, node_token=WRONG)
        told["frames"] = json.dumps([n.told[1:] for n in (node, other, stranger)]).encode()
        told["thief"] = json.dumps(thief).encode()
        headers = {"Authorization": f"Bearer {ADMIN}"}
        async with httpx.AsyncClient(base_url=system.http, trust_env=False) as asking:
            for path in (*PATHS, f"/v1/nodes/{node.node_id}", f"/v1/nodes/{node.node_id}/explain"):
                answer = await asking.get(path, headers=headers)
                told[path] = answer.content
                wrong = {"Authorization": f"Bearer {WRONG}"}
                told[f"{path} refused"] = (await asking.get(path, headers=wrong)).content
            bad = await asking.post("/v1/select", headers=headers, json={"knid": "nmt"})
            told["bad request"] = bad.content
    system.backend.servers[0].pause()
    try:  # while the store is away, its address is in what is logged
        async with Node(system.ws, additional_headers=bearer) as late:
            await late.register()
    finally:
        system.backend.servers[0].resume()
    for process in (gateway, *system.sweepers):
        shown = psutil.Process(process.pid).cmdline()
        told[f"process list, {process.name}"] = " ".join(shown).encode()
        process.stop()
        told[f"log of {process.name}"] = process.child.log_path.read_bytes()
    # Strings are not pressed together, so that what a value holds stands in it as it is.
    async with Redis.from_url(url) as client:
        await client.config_set("rdbcompression", "no")
        async for key in client.scan_iter(count=1000):
            told[f"key {key!r}"] = await client.dump(key) or b""
    assert any(b"RTX 3070" in content for where, content in told.items() if "key" in where)
    assert len(told) > 30
    searched = [FLEET, FORMER, JOIN, PASSWORD, WRONG, ADMIN, *filter(None, tokens)]
    assert len(searched) == 8
    assert found(told, searched) == []


def test_the_search_finds_what_is_there() -> None:
    said = b"x " + base64.b64encode(JOIN.encode()) + b" y"
    assert any(form in said for form in forms(JOIN))
    assert found({"a log": said, "another": b""}, [FLEET, JOIN]) == [("a log", JOIN)]
    assert not any(form in said for form in forms(FLEET))
    assert Path(__file__).read_bytes().count(next(forms(JOIN))) == 1
