"""Gateway processor time per heartbeat and per registration, and memory per idle socket.

One gateway, one embedded store, and a separate process of node sockets; the floor takes the same
load with the same sockets. No sweeper runs: the nodes are made ready from here.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Processor, Row, step
from bench.nodes import node_name
from bench.store import connected, make_ready
from muster.cli.children import Child
from registry.embedded import EmbeddedStore
from registry.ports import free_ports
from registry.registry import Registry

_WARM = 200
_BEHIND_S = 30.0
"""On a busy machine a server may be so far behind the load."""
_HEARTBEATS = re.compile(r'^muster_heartbeats_total\{outcome="(\w+)"\} ([0-9.e+]+)$', re.MULTILINE)
_FRAMES = re.compile(r"^frames (\d+)$", re.MULTILINE)


class NotMeasuredError(Exception):
    """Something stood in the way; the text says what."""


@dataclass
class Samples:
    """What one server was measured to take."""

    bytes_per_socket: float = 0.0
    us_per_registration: float = 0.0
    us_per_beat: list[float] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """How much is done: sockets that stay idle, those of them that beat, how often, how fast."""

    sockets: int
    clients: int
    rounds: int
    repeats: int
    per_s: float


class Sockets:
    """The process that holds the machines' connections; `command` takes a port and does as
    `bench/load.py` says."""

    def __init__(
        self, port: int, command: Sequence[str] = (sys.executable, "-m", "bench.load")
    ) -> None:
        self._process = subprocess.Popen(
            [*command, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, words: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if answer != "done":
            raise NotMeasuredError(f"{words.split()[0]}: {answer or 'the load process ended'}")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def _page(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return str(answer.read().decode())


@contextmanager
def served(
    name: str, module: list[str], port: int, log: Path, url: str, more: Mapping[str, str] = {}
) -> Iterator[Child]:
    """A server that is ready, on the bench's part of a store; `more` are further variables."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    environ |= {
        "MUSTER_REDIS_URL": url, "MUSTER_REDIS_PREFIX": "bench", "MUSTER_HOST": "127.0.0.1",
        "MUSTER_PORT": str(port), "MUSTER_MESSAGES_PER_S": "100000",
        "MUSTER_MESSAGES_BURST": "100000", "MUSTER_LOG_LEVEL": "warning",
    } | dict(more)  # fmt: skip
    child = Child(name, module, environ, log)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                _page(port, "/readyz")
                break
            except OSError:
                if child.ended or time.monotonic() > deadline:
                    raise NotMeasuredError(
                        f"{name} did not become ready: {child.log_tail(5)}"
                    ) from None
                time.sleep(0.05)
        yield child
    finally:
        child.kill()


def counted(port: int) -> dict[str, int]:
    """Heartbeats that a gateway has taken, by outcome."""
    return {o: int(float(n)) for o, n in _HEARTBEATS.findall(_page(port, "/metrics"))}


def _frames(port: int) -> dict[str, int]:
    found = _FRAMES.search(_page(port, "/"))
    return {"fine": int(found[1])} if found else {}


async def _measure(
    name: str,
    module: list[str],
    port: int,
    directory: Path,
    url: str,
    registry: Registry,
    load: Load,
    more: Mapping[str, str] = {},
) -> Samples:
    found = Samples()
    with served(name, module, port, directory / f"{name}.log", url, more) as child:
        sockets = Sockets(port)
        try:
            processor = Processor(child.process.pid)
            with step(f"{name}: {load.sockets} sockets connect and register"):
                sockets.do(f"open 0 {_WARM}")
                sockets.do(f"beat {_WARM} 2 2000")
                memory, used = processor.resident(), processor.used_us()
                new = load.sockets - _WARM
                sockets.do(f"open {_WARM} {new}")
                found.us_per_registration = (processor.used_us() - used) / new
                await asyncio.sleep(1)
                found.bytes_per_socket = (processor.resident() - memory) / new
            if name == "gateway":
                sockets.do(f"beat {load.clients} 3 {load.per_s}")
                await asyncio.sleep(0.3)
                await make_ready(registry, [node_name(n) for n in range(load.clients)])
                await asyncio.sleep(0.3)
            expected = load.clients * load.rounds
            with step(f"{name}: {load.repeats} times {expected} heartbeats at {load.per_s:g} a s"):
                for _ in range(load.repeats):
                    _beats(sockets, port, name, processor, load, found)
        finally:
            sockets.end()
    return found


def _beats(
    sockets: Sockets, port: int, name: str, processor: Processor, load: Load, found: Samples
) -> None:
    count = _frames if name == "floor" else counted
    before, used = count(port), processor.used_us()
    expected = load.clients * load.rounds
    sockets.do(f"beat {load.clients} {load.rounds} {load.per_s}")
    deadline = time.monotonic() + _BEHIND_S
    while True:
        time.sleep(0.3)
        spent, after = processor.used_us() - used, count(port)
        taken = sum(after.values()) - sum(before.values())
        if taken == expected:
            break
        if taken > expected or time.monotonic() > deadline:
            raise NotMeasuredError(f"{name} counted {taken} heartbeats of {expected}")
    for outcome, number in after.items():
        found.outcomes[outcome] = found.outcomes.get(outcome, 0) + number - before.get(outcome, 0)
    found.us_per_beat.append(spent / expected)


async def gateway_rows(
    directory: Path, *, quick: bool, clients: int, more: Mapping[str, str] = {}
) -> list[Row]:
    """Rows (CPU per heartbeat, CPU per registration, memory per idle socket); `more` are further
    variables of the gateway."""
    load = Load(
        sockets=max(clients, 600 if quick else 2000) + _WARM,
        clients=clients,
        rounds=8 if quick else 24,
        repeats=3 if quick else 5,
        per_s=4000.0,
    )
    server = EmbeddedStore.start(directory / "store-gateway")
    try:
        registry = await connected(server.url)
        ports = free_ports(2)
        measured = await _measure(
            "gateway", ["gateway"], ports[0], directory, server.url, registry, load, more
        )
        floor = await _measure(
            "floor", ["bench.floor", str(ports[1])], ports[1], directory, server.url, registry, load
        )
        await registry.store.close()
    finally:
        server.kill()
    plain = "uvicorn websockets-sansio, frames decoded and dropped, same load"
    beats = load.clients * load.rounds
    outcomes = ", ".join(f"{n} {o}" for o, n in sorted(measured.outcomes.items()) if n)
    return [
        Row(
            "gateway CPU per heartbeat", "µs", measured.us_per_beat, floor.us_per_beat, plain, 25.0,
            f"{load.repeats} x {beats} heartbeats of {load.clients} ready nodes at "
            f"{load.per_s:g} a second; the store said: {outcomes}",
        ),
        Row(
            "gateway CPU per connect and registration", "µs", [measured.us_per_registration],
            [floor.us_per_registration], plain, 600.0, f"{load.sockets - _WARM} sockets",
        ),
        Row(
            "gateway memory per idle registered socket", "bytes", [measured.bytes_per_socket],
            [floor.bytes_per_socket], plain, 20 * 1024.0,
            f"resident, {load.sockets - _WARM} sockets after {_WARM} to warm up",
        ),
    ]  # fmt: skip
