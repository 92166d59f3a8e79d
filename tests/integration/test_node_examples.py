"""The examples of nodes in other languages, run as they are: they register, become ready, are told,
come back after a break as who they were, and leave."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.foreign import EXAMPLES, Program, browser, node_js

PATIENT: dict[str, Any] = {"heartbeat_timeout_s": 30.0}
"""So that a gateway may take its time to be there again."""

FILES_MAY: dict[str, Any] = {**PATIENT, "node_origins": ["null"]}
"""So that a page that is a file may be a node."""

Start = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a program, which is ended with the test."""
    started: list[Program] = []

    def begin(command: list[str], directory: Path, **environ: str) -> Program:
        started.append(Program(command, directory, **environ))
        return started[-1]

    yield begin
    for program in started:
        program.kill()


async def nodes(system: System, query: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=system.http, trust_env=False) as client:
        found: list[dict[str, Any]] = (await client.get(f"/v1/nodes?{query}")).json()["nodes"]
        return found


async def one(system: System, query: str, what: str) -> dict[str, Any]:
    """The one node that a list shows, once it does."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        found[:] = await nodes(system, query)
        return len(found) == 1

    await until(there, what)
    return found[0]


async def replace_gateway(system: System) -> None:
    """The gateway stops in order, and another begins on its port."""
    port = system.gateways[0].port
    system.gateways.pop().stop()
    await system.start(gateways=1, sweepers=0, port=port, **FILES_MAY)


async def test_a_node_in_node_js_is_ready_told_comes_back_and_leaves(
    system: System, tmp_path: Path, start: Start
) -> None:
    await system.start(gateways=1, sweepers=1, **PATIENT)
    command = [*node_js(), str(EXAMPLES / "node.mjs"), system.ws]
    program = start(command, tmp_path / "node", GPU="RTX 4090,24")
    row = await one(system, "available=true&nmt=zh:en&gpu=4090", "it is ready for work")
    assert (row["platform"], row["labels"]) == ("linux", {"simulated": "true"})
    kept = json.loads((tmp_path / "node" / "node-identity.json").read_text())
    assert kept["node_id"] == row["node_id"]
    assert kept["node_token"]

    async def told() -> bool:
        return f"{row['node_id']} is ready (healthy)" in program.said

    await until(told, "it was told")

    async def resumed() -> bool:
        return f"{row['node_id']} goes on as ready" in program.said

    await replace_gateway(system)
    await until(resumed, "it has come back as who it was")
    program.signal(signal.SIGINT)
    await one(system, "status=offline&gpu=4090", "it has left")

    async def ended() -> bool:
        return program.ended == 0

    await until(ended, "its program has ended")


async def test_a_node_in_node_js_without_a_gpu_is_told_what_to_do(
    system: System, tmp_path: Path, start: Start
) -> None:
    await system.start(gateways=1, sweepers=0, locale="en")
    command = [*node_js(), str(EXAMPLES / "node.mjs"), system.ws]
    program = start(command, tmp_path / "node", GPU="RTX 4090,0")

    async def refused() -> bool:
        return "NO_GPU_AVAILABLE: Registration failed" in program.said

    await until(refused, "it is told")
    assert program.ended is None


async def title(profile: Path) -> str:
    """What the title of the browser's page says now."""
    port_file = profile / "DevToolsActivePort"
    if not port_file.exists() or not (text := port_file.read_text()):
        return ""
    async with httpx.AsyncClient(trust_env=False) as client:
        pages = (await client.get(f"http://127.0.0.1:{text.splitlines()[0]}/json/list")).json()
    return next((str(page["title"]) for page in pages if page["type"] == "page"), "")


async def test_a_node_in_a_browser_is_ready_shows_it_and_comes_back(
    system: System, tmp_path: Path, start: Start
) -> None:
    await system.start(gateways=1, sweepers=1, **FILES_MAY)
    page = (EXAMPLES / "node.html").as_uri()
    address = f"{page}?start&gpu=RTX%204080&memory=16&url={system.ws}"
    profile = tmp_path / "profile"
    start(browser(profile, address), tmp_path / "browser")
    row = await one(system, "available=true&asr=zh&gpu=4080", "it is ready for work")

    async def shown() -> bool:
        return await title(profile) == f"{row['node_id']} is ready"

    await until(shown, "the page shows it")
    await replace_gateway(system)

    async def back() -> bool:
        again = await one(system, "available=true&gpu=4080", "it is ready again")
        return bool(again["gateway"] != row["gateway"] and again["node_id"] == row["node_id"])

    await until(back, "it has come back as who it was")
