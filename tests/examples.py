"""`python -m tests.examples`: asks a running system every example of the API's table and writes
down what it answers, for the documentation (`gateway/api/recorded.json`).

An answer whose shape is what it was keeps its old text, so that nothing changes without a reason.
With `--check` nothing is written and the exit status says whether anything would change.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from gateway.api import recorded
from gateway.api.endpoint import Endpoint, Example
from gateway.api.problems import CODES
from gateway.api.table import TABLE
from registry.embedded import EmbeddedStore
from tests.support.processes import Processes
from tests.support.showcase import showcase

FILE = Path(recorded.__file__).with_name(recorded.FILE)
GATEWAY = "gateway-1"
"""Stands for the gateway's id, which is new at every start."""


async def record(client: httpx.AsyncClient) -> dict[str, Any]:
    """Every example's answer, asked in the order of the table."""
    ready = (await client.get("/readyz")).json()
    answers: dict[str, Any] = {}
    for endpoint in TABLE:
        response = await ask(client, endpoint, endpoint.example)
        assert response.status_code == (204 if endpoint.answer is None else 200), response.text
        if endpoint.answer is not None:
            answers[endpoint.name] = response.json()
        if endpoint.problem is not None:
            code, example = endpoint.problem
            response = await ask(client, endpoint, example)
            assert response.status_code == CODES[code].status, response.text
            answers[f"{endpoint.name}:problem"] = response.json()
    text = json.dumps(answers).replace(ready["gateway"], GATEWAY)
    found: dict[str, Any] = json.loads(text)
    return found


async def ask(client: httpx.AsyncClient, endpoint: Endpoint, example: Example) -> httpx.Response:
    """Asks one example."""
    path = endpoint.path.format(**example.path)
    url = f"{path}?{example.query}" if example.query else path
    headers = dict(example.headers)
    return await client.request(endpoint.method, url, json=example.body, headers=headers)


def shape(value: Any) -> Any:
    """A value without its particulars: names and types. An array's is those of its elements."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in sorted(value.items())}
    if isinstance(value, list):
        parts = {json.dumps(shape(part)) for part in value}
        return [json.loads(part) for part in sorted(parts)]
    return "number" if type(value) in (int, float) else type(value).__name__


async def _run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        store = EmbeddedStore.start(Path(directory) / "store")
        processes = Processes(Path(directory), store.url, secret=["fleet-secret"])
        try:
            gateway = await processes.gateway()
            await processes.sweeper()
            async with showcase(gateway.ws_url, gateway.url) as client:
                return await record(client)
        finally:
            processes.stop()
            store.kill()


def main(argv: Sequence[str]) -> int:
    before: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    made = {
        name: before[name] if name in before and shape(before[name]) == shape(answer) else answer
        for name, answer in asyncio.run(_run()).items()
    }
    if "--check" in argv:
        return int(made != before)
    FILE.write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
