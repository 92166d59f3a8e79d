"""Debian's Prometheus, for tests: the checker, and a real server."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.ports import free_ports
from tests.support.stores import in_ci

CONFIG = """\
global: {scrape_interval: 1s, evaluation_interval: 200ms}
rule_files: RULES
scrape_configs:
  - job_name: muster
    static_configs: [{targets: TARGETS}]
"""


def program(name: str, package: str) -> str:
    """A program of a Debian package. Without it the test is skipped, in CI it fails."""
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if found:
        return found
    why = f"{name} is not installed (Debian: apt-get install {package})"
    if in_ci():
        pytest.fail(f"{why}, and in CI nothing is skipped", pytrace=False)
    pytest.skip(why)


def promtool(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """One run of promtool."""
    return subprocess.run(
        [program("promtool", "prometheus"), *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class Prometheus:
    """A server that answers."""

    def __init__(self, port: int) -> None:
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def ready(self) -> bool:
        """Whether it serves."""
        try:
            return (await self._client.get("/-/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def ask(self, expression: str) -> list[dict[str, Any]]:
        """What an expression is now: samples with `metric` and `value`. Raises for a wrong one."""
        answer = await self._client.get("/api/v1/query", params={"query": expression})
        document = answer.json()
        assert document["status"] == "success", (expression, document)
        found: list[dict[str, Any]] = document["data"]["result"]
        return found

    async def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        document = (await self._client.get("/api/v1/alerts")).json()
        alerts = document["data"]["alerts"]
        return {a["labels"]["alertname"] for a in alerts if a["state"] == "firing"}


@asynccontextmanager
async def prometheus(
    directory: Path, targets: Sequence[str], rules: Sequence[Path] = ()
) -> AsyncIterator[Prometheus]:
    """A server that scrapes these addresses every second, which is also how long an answer may
    take; it may not be ready yet."""
    (port,) = free_ports(1)
    config = directory / "prometheus.yml"
    text = CONFIG.replace("TARGETS", json.dumps(list(targets)))
    config.write_text(text.replace("RULES", json.dumps([str(path) for path in rules])))
    command = [
        program("prometheus", "prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "prometheus.log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    made = Prometheus(port)
    try:
        yield made
    finally:
        await made.close()
        server.kill()
        await server.wait()
