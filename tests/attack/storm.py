"""`python -m tests.attack.storm --nodes 20000`: all gateways die, and the whole fleet comes back.

Gateways and sweepers run with the settings people get. When all nodes are ready, every gateway is
killed in the same moment and started again on its port. Nobody may be called offline or turned
away, and all must be back within 30 s of the gateways being there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.scale.machine import System, header, system

ROOT = Path(__file__).resolve().parents[2]
LAST = ROOT / "docs" / "storm.txt"
WITHIN_S = 30.0
_TELL_EVERY_S = 5.0
_OF_ONE = 5000
"""Nodes of one process of ours: it may have about 20 000 descriptors."""


class Herder:
    """The processes the nodes are in, and what these said last."""

    def __init__(self, nodes: int, ports: list[int], tell: Callable[[str], None]) -> None:
        self._tell = tell
        full, rest = divmod(nodes, _OF_ONE)
        self._sizes = [_OF_ONE] * full + ([rest] if rest else [])
        self._ports = ports
        self._last: dict[int, dict[str, Any]] = {}

    async def __aenter__(self) -> Herder:
        self._ending = AsyncExitStack()
        for place, size in enumerate(self._sizes):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.attack.flock", str(size), *map(str, self._ports)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                cwd=ROOT,
            )
            reading = asyncio.create_task(self._read(place, process))
            self._ending.push_async_callback(_end, process, reading)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._ending.aclose()

    async def _read(self, place: int, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._last[place] = json.loads(line)

    def total(self, what: str) -> int:
        """Over all processes: `acked` or `ready`."""
        return sum(int(said[what]) for said in self._last.values())

    def counts(self) -> Counter[str]:
        """What happened to nodes, by name."""
        found: Counter[str] = Counter()
        for said in self._last.values():
            found.update(said["counts"])
        return found

    async def until(self, what: str, nodes: int, timeout_s: float) -> float:
        """Seconds until so many nodes are so. Raises TimeoutError."""
        begun = told = time.monotonic()
        async with asyncio.timeout(timeout_s):
            while (now := self.total(what)) != nodes:
                await asyncio.sleep(0.05)
                if time.monotonic() - told > _TELL_EVERY_S:
                    told = time.monotonic()
                    self._tell(f"{told - begun:.0f} s: {now} {what}, waiting for {nodes}")
        return time.monotonic() - begun


async def _end(process: asyncio.subprocess.Process, reading: asyncio.Task[None]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()
    await reading


async def storm(
    made: System, nodes: int, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Makes one; what was found. Raises TimeoutError if not everybody gathers or comes back."""
    async with Herder(nodes, made.gateway_ports, tell) as herder:
        gathered_s = await herder.until("ready", nodes, 60 + nodes / 50)
        tell(f"all are ready after {gathered_s:.1f} s; now every gateway dies")
        before = herder.counts()
        for child in made.gateways:
            child.kill()
        await herder.until("acked", 0, 60)  # what the nodes said before must not count as back
        for place in range(len(made.gateway_ports)):
            made.start_gateway(place)
        await asyncio.to_thread(made.wait_ready)
        gateways = [psutil.Process(pid) for pid in made.processes()["gateway"]]
        back_s = await herder.until("acked", nodes, 120)
        peak = max(process.memory_info().rss for process in gateways)
        ready_s = back_s + await herder.until("ready", nodes, 120)
        await asyncio.sleep(1.0)  # whatever else is said of them is said by now
        happened = herder.counts() - before
        statuses = await _statuses(made.gateway_ports[0])
    refused = sum(n for what, n in happened.items() if what.startswith("answered "))
    offline = happened["told offline"] + statuses.get("offline", 0)
    unharmed = not offline and not refused and statuses["ready"] == nodes
    return {
        "nodes": nodes,
        "gateways": len(made.gateway_ports),
        "gathered_s": round(gathered_s, 1),
        "back_s": round(back_s, 1),
        "ready_s": round(ready_s, 1),
        "offline": offline,
        "refused": refused,
        "resumed": happened["resumed"],
        "happened": dict(sorted(happened.items())),
        "statuses": statuses,
        "largest_gateway_mib": round(peak / 2**20),
        "unharmed": unharmed,
        "kept": unharmed and back_s <= WITHIN_S,
    }


async def _statuses(port: int) -> dict[str, int]:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        fleet = (await client.get(f"http://127.0.0.1:{port}/v1/fleet")).json()
        found: dict[str, int] = fleet["status"]
        return found


def said(about: dict[str, Any], found: dict[str, Any]) -> str:
    """What was found, for people; the verdict last."""
    lines = [f"{name:<24} {value}" for name, value in (about | found).items()]
    if found["kept"]:
        verdict = (
            f"kept: {found['nodes']} nodes whose gateways all died at once were back after "
            f"{found['back_s']} s (at most {WITHIN_S:g}), nobody called offline or turned away"
        )
    else:
        verdict = f"BROKEN: {found.get('why', 'see back_s, offline, refused, statuses')}"
    return "\n".join([*lines, "", verdict])


def main(arguments: list[str] | None = None) -> int:
    """0: all were back in time, and nobody was called offline or turned away."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.storm", description=__doc__)
    parser.add_argument("--nodes", type=int, default=20_000)
    parser.add_argument("--gateways", type=int, default=4)
    parser.add_argument("--out", type=Path, default=LAST, metavar="FILE")
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="muster-storm-") as name,
        system(Path(name), gateways=options.gateways, sweepers=2) as made,
    ):
        try:
            found = asyncio.run(storm(made, options.nodes, _tell))
        except TimeoutError:
            found = {"nodes": options.nodes, "kept": False, "why": "not all gathered or came back"}
    text = said(header(begun), found)
    options.out.write_text(text + "\n")
    print(text)
    return 0 if found["kept"] else 1


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
