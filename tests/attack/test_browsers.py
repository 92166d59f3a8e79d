"""Pages in a browser that stands where attackers do not: what they may not do with its reach."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from gateway.app import make_app
from gateway.settings import GatewaySettings
from tests.integration.conftest import System
from tests.support.api import Api, token
from tests.support.node import Node, metrics

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = (
    "http://evil.example",
    "https://evil.example",
    "null",
    "",
    "file://",
    "https://fleet.example.evil.example",
    "http://fleet.example",
    "https://fleet.example:444",
    "https://evil.example https://fleet.example",
)


async def status_of(url: str, *origins: str, host: str | None = None) -> int:
    """How an upgrade by a page of this origin is answered."""
    headers = [("Origin", origin) for origin in origins]
    if host:
        headers.append(("Host", host))
    try:
        async with Node(url, additional_headers=headers) as node:
            assert (await node.register())["type"] == "node_register_ack"
            return 101
    except InvalidStatus as refused:
        body = json.loads(refused.response.body or b"{}")
        assert (body["code"], body["header"]) == ("FORBIDDEN", "Origin")
        assert "MUSTER_NODE_ORIGINS" in body["detail"]
        return refused.response.status_code


async def test_no_page_opens_a_node_socket_unless_its_origin_was_named(system: System) -> None:
    await system.start(sweepers=0)
    await system.start(sweepers=0, node_origins=["https://fleet.example"])
    closed, named = (gateway.ws_url for gateway in system.gateways)
    assert await status_of(closed) == 101  # programs send none
    for origin in (*FOREIGN, "https://fleet.example", system.http):
        assert await status_of(closed, origin) == 403, origin
    for origin in FOREIGN:
        assert await status_of(named, origin) == 403, origin
    assert await status_of(named, "https://FLEET.example") == 101
    assert await status_of(named, "https://fleet.example", "http://evil.example") == 403
    assert 'state="unregistered"} 0.0' in await metrics(system.http)


async def test_a_name_made_to_point_here_is_no_way_around_it(system: System) -> None:
    """The page's origin then equals `Host`, as in an honest request to a gateway of its own."""
    await system.start(sweepers=0)
    port = system.gateways[0].port
    url = f"ws://127.0.0.1:{port}/ws/node"
    rebound = f"rebound.example:{port}"
    assert await status_of(url, f"http://{rebound}") == 403


SIMPLE = {
    "a form": ("application/x-www-form-urlencoded", b"reason=x"),
    "a form's text": ("text/plain", b'{"reason":"x"}'),
    "a form with files": ("multipart/form-data; boundary=b", b"--b--"),
}
"""What a page may send anywhere without asking first."""


@pytest.mark.parametrize("how", SIMPLE)
async def test_a_page_of_another_site_drains_nothing(system: System, how: str) -> None:
    await system.start()
    kind, body = SIMPLE[how]
    async with Node(system.ws) as node, httpx.AsyncClient(trust_env=False) as client:
        await node.register()
        url = f"{system.http}/v1/nodes/{node.node_id}/drain"
        headers = {"Content-Type": kind, "Origin": "http://evil.example"}
        answer = await client.post(url, content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "NOT_LOCAL")
        shown = (await client.get(f"{system.http}/v1/nodes/{node.node_id}")).json()
        assert shown["status"] == "registering"


async def test_no_answer_sets_a_cookie_or_lets_other_sites_read_it_or_frame_it(
    system: System,
) -> None:
    await system.start(sweepers=0)
    async with httpx.AsyncClient(base_url=system.http, trust_env=False) as client:
        paths = ("/", "/events", "/nodes/x", "/docs", "/openapi.json", "/v1/nodes", "/readyz", "/x")
        for path in paths:
            for method in ("GET", "OPTIONS"):
                answer = await client.request(method, path)
                for header in answer.headers:
                    assert header != "set-cookie", path
                    assert not header.startswith("access-control-"), path
            if "text/html" in (await client.get(path)).headers.get("content-type", ""):
                policy = (await client.get(path)).headers["content-security-policy"]
                assert "frame-ancestors 'none'" in policy, path
                assert "unsafe-eval" not in policy


async def test_a_token_in_a_cookie_is_no_token() -> None:
    api = Api(registry=None)
    for headers in ({"Cookie": f"token={token('admin')}"}, {"Cookie": f"Authorization=Bearer {0}"}):
        answer = await api.ask("GET", "/v1/nodes", who=None, headers=headers)
        assert answer.status_code == 401
    answer = await api.ask("GET", f"/v1/nodes?token={token('admin')}", who=None)
    assert answer.status_code == 401


FETCHING = ("httpx", "urllib.request", "http.client", "requests", "aiohttp", "ftplib", "smtplib")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{node.module}"


def test_there_is_no_url_a_caller_could_make_a_server_fetch_for_nothing_there_fetches_any() -> None:
    files = [f for room in ("gateway", "registry", "sweeper") for f in (ROOT / room).rglob("*.py")]
    assert len(files) > 100
    found = [
        (str(path), name)
        for path in files
        for name in imported(path)
        if any(name == each or name.startswith(f"{each}.") for each in FETCHING)
    ]
    assert found == []
    assert make_app(GatewaySettings())
