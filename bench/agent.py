"""What an idle agent costs its machine: processor time and resident memory.

A real agent, with all its processes, registered with a real gateway at true speed, its GPUs those
of the library that stands in for NVIDIA's; the floor is the least program that keeps a node
registered. Linux only: the kernel's own account of a thread's time is exact, where everything else
counts in hundredths of a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.figures import Row, step
from bench.gateway import NotMeasuredError, served
from muster.agent.config import variable_of
from muster.cli.children import Child
from registry.embedded import EmbeddedStore
from registry.ports import free_ports
from tests.fake_nvml import FakeNvml, build

_CPU_TARGET_US = 2000.0  # 0.2 % of a core
_MEMORY_TARGET_MIB = 60.0
_MODEL = {"model_id": "m", "kind": "nmt", "version": "1", "src_lang": "zh", "tgt_lang": "en"}


@dataclass
class _Samples:
    us_per_s: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)
    processes: int = 0


def _family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _used_us(family: list[psutil.Process]) -> float:
    """Time on a processor, by the kernel's account of every thread."""
    total = 0
    for process in family:
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1000


async def _watch(child: Child, *, warm_s: float, window_s: float, windows: int) -> _Samples:
    found = _Samples()
    await asyncio.sleep(warm_s)
    for _ in range(windows):
        if child.ended:
            raise NotMeasuredError(f"{child.name} ended: {child.log_tail(5)}")
        family = _family(child.process.pid)
        used, begun = _used_us(family), time.monotonic()
        await asyncio.sleep(window_s)
        found.us_per_s.append((_used_us(family) - used) / (time.monotonic() - begun))
        found.mib.append(sum(int(p.memory_info().rss) for p in family) / 1024**2)
        found.processes = len(family)
    return found


@contextmanager
def _agent(
    port: int, directory: Path, machine: FakeNvml, name: str = "agent", **more: str
) -> Iterator[Child]:
    directory = directory / name
    models = directory / "models"
    (models / "m").mkdir(parents=True)
    (models / "m" / "model.json").write_text(json.dumps(_MODEL))
    settings = {
        "servers": f"ws://127.0.0.1:{port}",
        "models_dir": str(models),
        "state_dir": str(directory / "state"),
        "log_format": "json",
        **more,
    }
    environ = {k: v for k, v in machine.environ.items() if not k.startswith("MUSTER_")}
    environ |= {variable_of(name): text for name, text in settings.items()}
    child = Child(name, ["muster", "agent", "run"], environ, directory / "agent.log")
    try:
        yield child
    finally:
        child.kill()


@contextmanager
def _floor(port: int, directory: Path) -> Iterator[Child]:
    command = ["bench.idle_node", str(port)]
    child = Child("idle node", command, dict(os.environ), directory / "idle.log")
    try:
        yield child
    finally:
        child.kill()


def _machine(directory: Path) -> FakeNvml:
    """Two idle cards."""
    try:
        library = build(directory)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotMeasuredError(f"the stand-in for NVIDIA's library: {error}") from error
    machine = FakeNvml(library, directory / "nvml.txt")
    machine.card("NVIDIA GeForce RTX 3070", 8192)
    machine.card("NVIDIA GeForce RTX 3090", 24576)
    return machine


async def agent_rows(directory: Path, *, quick: bool) -> list[Row]:
    """Rows (CPU of an idle agent, its memory, its memory with the local API)."""
    if sys.platform != "linux":
        raise NotMeasuredError("only on Linux")
    warm_s, window_s, windows = (5.0, 15.0, 2) if quick else (20.0, 30.0, 5)
    machine = _machine(directory)
    store = EmbeddedStore.start(directory / "store-agent")
    (port,) = free_ports(1)
    try:
        with (
            served("gateway", ["gateway"], port, directory / "gateway.log", store.url),
            _agent(port, directory, machine) as agent,
            _agent(port, directory, machine, "agent-with-api", status_port="0") as serving,
            _floor(port, directory) as floor,
            step(f"an idle agent for {warm_s + window_s * windows:g} s"),
        ):
            measured, served_too, least = await asyncio.gather(
                _watch(agent, warm_s=warm_s, window_s=window_s, windows=windows),
                _watch(serving, warm_s=warm_s, window_s=window_s, windows=windows),
                _watch(floor, warm_s=warm_s, window_s=window_s, windows=windows),
            )
            for child in (agent, serving):
                if '"registered"' not in child.log_path.read_text():
                    raise NotMeasuredError(f"{child.name} did not register: {child.log_tail(5)}")
    finally:
        store.kill()
    plain = "one websockets client that registers and sends a fixed heartbeat every 13.5 s"
    what = f"{measured.processes} processes, 2 GPUs looked at every 5 s, 1 model watched"
    return [
        Row(
            "idle agent CPU", "µs a second", measured.us_per_s, least.us_per_s, plain,
            _CPU_TARGET_US, f"{windows} x {window_s:g} s; {what}; 2000 µs are 0.2 % of a core",
        ),
        Row(
            "idle agent resident memory", "MiB", measured.mib, least.mib, plain,
            _MEMORY_TARGET_MIB, f"the sum over its {what}; what they share is counted twice",
        ),
        Row(
            "idle agent memory with --status-port", "MiB", served_too.mib, least.mib, plain,
            _MEMORY_TARGET_MIB, "the same with the local API: a web server, run only if asked for",
        ),
    ]  # fmt: skip
