"""What the chart starts, started here: the same settings, secrets, store and test, without pods.

Names of the cluster become ports of loopback and mounted files become files of the test; nothing
else is changed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest_asyncio

from registry.embedded import find_server
from registry.ports import free_ports
from tests.deploy.chart import Document, Workload, environment, find, rendered, workloads
from tests.deploy.meaning import asked
from tests.support.processes import Process, ProcessesFactory

QUICK = {"settings": {"MUSTER_HEARTBEAT_INTERVAL_S": 1}}


@dataclass
class Release:
    """The dev example, running."""

    objects: list[Document]
    secrets: dict[str, str]
    gateway: Process
    sweeper: Process

    def environment(self, part: str) -> dict[str, str]:
        """What the pod of a part finds in its environment."""
        return environment(_part(self.objects, part), self.objects, self.secrets)

    def url(self, part: str) -> str:
        """Where a part is reached."""
        return {"gateway": self.gateway, "sweeper": self.sweeper}[part].url


def _part(objects: list[Document], part: str) -> Workload:
    return next(w for w in workloads(objects) if w.part == part)


@contextmanager
def _store(objects: list[Document], secrets: dict[str, str], directory: Path) -> Iterator[int]:
    """The bundled store on a port of loopback, with the file and the users that are rendered."""
    (port,) = free_ports(1)
    users, config, log = (directory / name for name in ("users.acl", "valkey.conf", "valkey.log"))
    users.write_text(secrets["users.acl"], "utf-8")
    told = find(objects, "ConfigMap", "-store")["data"]["valkey.conf"]
    told = told.replace("/etc/valkey/users/users.acl", str(users)).replace("/data", str(directory))
    config.write_text(f"{told}\nport {port}\nbind 127.0.0.1\n", "utf-8")
    with log.open("wb") as out:
        process = subprocess.Popen([find_server(), config], stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 20
        while b"Ready to accept" not in log.read_bytes():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest_asyncio.fixture
async def release(processes: ProcessesFactory, tmp_path: Path) -> AsyncIterator[Release]:
    objects = rendered("dev", QUICK)
    secrets: dict[str, str] = {}
    for found in objects:
        if found["kind"] == "Secret":
            secrets |= found["stringData"]
    tokens = tmp_path / "api-tokens"
    tokens.write_text(secrets["api-tokens"], "utf-8")
    with _store(objects, secrets, tmp_path) as store:
        here = {
            "fleet-muster-store.gpus.svc:6379": f"127.0.0.1:{store}",
            "/etc/muster/tokens/api-tokens": str(tokens),
        }
        made = processes(f"redis://127.0.0.1:{store}")
        started = []
        for part, port in (("gateway", "MUSTER_PORT"), ("sweeper", "MUSTER_SWEEPER_PORT")):
            own = environment(_part(objects, part), objects, secrets)
            own = {name: _replaced(value, here) for name, value in own.items()}
            started.append(made.start(part, port, {"host": "127.0.0.1"}, own))
        for process in started:
            await process.wait_ready()
        yield Release(objects, secrets, *started)
        made.stop()


def _replaced(text: str, words: dict[str, str]) -> str:
    for old, new in words.items():
        text = text.replace(old, new)
    return text


async def _answers(release: Release, paths: set[tuple[str, str]]) -> dict[tuple[str, str], int]:
    async with httpx.AsyncClient(trust_env=False) as client:
        return {
            (part, path): (await client.get(release.url(part) + path)).status_code
            for part, path in paths
        }


def _probe(objects: list[Document]) -> None:
    pod = find(objects, "Deployment", "-gateway")["spec"]["template"]["spec"]
    pod["containers"][0]["livenessProbe"]["httpGet"]["path"] = "/health"


def _check(objects: list[Document]) -> None:
    notes = find(objects, "Ingress", "-gateway")["metadata"]["annotations"]
    notes["alb.ingress.kubernetes.io/healthcheck-path"] = "/ready"


def _scraped(objects: list[Document]) -> None:
    monitor = find(objects, "ServiceMonitor", "-sweeper")
    monitor["spec"]["endpoints"][0]["path"] = "/prometheus"


async def test_what_the_chart_asks_of_running_processes_is_answered(release: Release) -> None:
    controllers = ("haproxy", "haproxy-ingress", "alb", "gce")
    every = [rendered(example) for example in ("dev", "ha", "gke")]
    every += [rendered("ha", {"ingress": {"controller": name}}) for name in controllers]
    paths = set().union(*(asked(objects) for objects in every))
    assert {("gateway", "/readyz"), ("sweeper", "/readyz"), ("sweeper", "/metrics")} <= paths
    assert set((await _answers(release, paths)).values()) == {200}

    breaks: tuple[Callable[[list[Document]], None], ...] = (_probe, _check, _scraped)
    for broken in breaks:
        objects = rendered("ha", {"ingress": {"controller": "alb"}})
        broken(objects)
        assert 404 in (await _answers(release, asked(objects))).values(), broken


async def test_the_made_token_and_nobody_else_is_let_in(release: Release) -> None:
    async with httpx.AsyncClient(base_url=release.gateway.url, trust_env=False) as client:
        assert (await client.get("/v1/fleet")).status_code == 401
        token = {"Authorization": f"Bearer {release.secrets['admin-token']}"}
        who = (await client.get("/v1/me", headers=token)).json()
    assert who["role"] == "admin"


async def _helm_test(release: Release, directory: Path, **others: str) -> tuple[int, str]:
    """The test pod's own command, and what it said."""
    container = _part(release.objects, "test").spec["containers"][0]
    here = {
        "fleet-muster-gateway.gpus.svc:8080": f"127.0.0.1:{release.gateway.port}",
        "/scratch": str(directory),
    }
    given = release.environment("test")
    own = {name: _replaced(value, here) for name, value in given.items()}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *container["command"],
        *container["args"],
        env={"PATH": path, "HOME": str(directory)} | own | others,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_the_releases_own_test_sees_a_machine_become_ready(
    release: Release, tmp_path: Path
) -> None:
    status, said = await _helm_test(release, tmp_path)
    assert status == 0, said
    assert "a machine with a simulated card is ready" in said


async def test_the_releases_own_test_fails_where_no_machine_gets_in(
    release: Release, tmp_path: Path
) -> None:
    status, said = await _helm_test(release, tmp_path, MUSTER_AGENT_SIMULATE="")
    assert status == 1, said
    assert "no machine became ready" in said
