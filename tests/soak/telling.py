"""Everything a soak wrote and answered, for who searches it for secrets."""

from __future__ import annotations

import contextlib
from pathlib import Path

import httpx
import psutil

from bench.scale.machine import System
from tests.support.hiding import found

_PATHS = (
    *("/metrics", "/v1/nodes?limit=100", "/v1/fleet", "/v1/doctor", "/v1/events?since=0&until=now"),
    *("/openapi.json", "/readyz", "/", "/v1/nodes/none"),
)


async def everything(made: System) -> dict[str, bytes]:
    """Logs of all lives, what the store keeps on disk, process lists, answers. An answer that does
    not come tells nothing."""
    told: dict[str, bytes] = {}
    for file in _files(made.directory):
        with contextlib.suppress(FileNotFoundError):  # a store writes its file anew, then renames
            told[str(file)] = file.read_bytes()
    for kind, pids in made.processes().items():
        for pid in pids:
            told[f"process list, {kind} {pid}"] = " ".join(psutil.Process(pid).cmdline()).encode()
    ports: list[tuple[int, tuple[str, ...]]] = [(port, _PATHS) for port in made.gateway_ports]
    ports += [(port, ("/metrics",)) for port in made.sweeper_ports]
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        for port, paths in ports:
            for path in paths:
                with contextlib.suppress(httpx.HTTPError):
                    answer = await client.get(f"http://127.0.0.1:{port}{path}")
                    told[f"{port}{path}"] = answer.content
    return told


async def secrets_told(made: System, secrets: list[str]) -> list[str]:
    """Where any of them is told: files, answers, process lists."""
    return sorted({where for where, _ in found(await everything(made), secrets)})


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]
