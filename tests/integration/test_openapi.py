"""Requests generated from the OpenAPI document, against a running system; and its recorded answers.

Both ways: what the document allows must be served, what it forbids must be refused, and every
answer must be one that it describes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.api import recorded
from gateway.api.endpoint import Endpoint
from gateway.api.table import TABLE
from muster.wire.bearer import Entry, Role, digest
from tests.examples import record, shape
from tests.integration.conftest import System
from tests.support.node import Node
from tests.support.showcase import showcase

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "token-of-the-generator-0123456789abcdef"
READY_LEAST = 3
ENDLESS = [endpoint for endpoint in TABLE if endpoint.streams]
"""What is generated is read to its end: streams are asked in `tests/api/test_watching.py`."""
EXAMPLES = 10
"""Generated requests for each operation and phase."""


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_generated_requests_find_nothing_that_is_not_as_documented(
    system: System, tmp_path: Path
) -> None:
    entry = Entry("generator", Role.ADMIN, digest(TOKEN)).line()
    await system.start(
        api_tokens=[entry], api_rate_per_s=1_000_000, api_burst=1_000_000, heartbeat_timeout_s=30
    )
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        showcase(system.ws, system.http, headers) as client,
        replenished(client, system.ws),
    ):
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("st")),
            "run",
            f"{system.http}/openapi.json",
            *("--header", f"Authorization: Bearer {TOKEN}"),
            *("--checks", "all"),
            *(part for e in ENDLESS for part in ("--exclude-path", e.path)),
            *("--phases", "examples,coverage,fuzzing,stateful"),
            *("--mode", "all"),
            *("--max-examples", str(EXAMPLES)),
            *("--seed", "4711"),
            "--generation-deterministic",
            "--continue-on-failure",
            *("--request-timeout", "10"),
            "--no-color",
            cwd=tmp_path,
            env=os.environ
            | {"SCHEMATHESIS_HOOKS": "tests.support.openapi_hooks", "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    text = output.decode(errors="replace")
    assert process.returncode == 0, text[-20_000:]
    assert f"Tested: {len(TABLE) - len(ENDLESS)}" in text, text[-20_000:]
    assert "request_failed" not in system.gateways[0].log()


async def test_recorded_answers_are_what_a_running_system_answers(system: System) -> None:
    await system.start(heartbeat_interval_s=15, heartbeat_timeout_s=45, warmup_timeout_s=60)
    async with showcase(system.ws, system.http) as client:
        answers = await record(client)
    assert {endpoint.name for endpoint in TABLE if is_recorded(endpoint)} == {
        name for name in answers if ":" not in name
    }
    for name, answer in answers.items():
        known = recorded.answer(name)
        assert shape(known) == shape(answer), f"{name}: run `make docs`"


def is_recorded(endpoint: Endpoint) -> bool:
    return endpoint.answer is not None


@contextlib.asynccontextmanager
async def replenished(client: httpx.AsyncClient, ws_url: str) -> AsyncIterator[None]:
    """Generated requests take machines off; new ones, under new ids, take their places."""

    async def replenish() -> None:
        async with contextlib.AsyncExitStack() as stack:
            nodes: list[Node] = []
            while True:
                fleet = (await client.get("/v1/fleet")).json()
                if fleet["selectable"] < READY_LEAST:
                    node = await stack.enter_async_context(Node(ws_url))
                    await node.register()
                    nodes.append(node)
                    for _ in range(3):
                        await node.beat()
                await asyncio.sleep(0.2)

    task = asyncio.create_task(replenish())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
