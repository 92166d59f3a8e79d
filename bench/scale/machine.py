"""A whole system as processes of their own, and what each kind of them spends."""

from __future__ import annotations

import json
import os
import platform
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from bench.gateway import NotMeasuredError
from muster.cli.children import Child
from muster.cli.up import ask_ready
from registry.embedded import EmbeddedStore
from registry.ports import free_ports

LAST = Path(__file__).resolve().parent / "last"


@dataclass
class System:
    """A store, gateways and sweepers, ready."""

    store: EmbeddedStore
    directory: Path
    environ: Mapping[str, str]
    gateways: list[Child] = field(default_factory=list)
    sweepers: list[Child] = field(default_factory=list)
    gateway_ports: list[int] = field(default_factory=list)
    sweeper_ports: list[int] = field(default_factory=list)
    gateway: Sequence[str] = ("gateway",)

    def start_gateway(self, place: int) -> Child:
        """Starts one on its port, in the place of one that was there before."""
        name = f"gateway-{place}-{len(self.gateways)}"
        environ = {**self.environ, "MUSTER_PORT": str(self.gateway_ports[place])}
        child = Child(name, self.gateway, environ, self.directory / f"{name}.log")
        self.gateways.append(child)
        return child

    def wait_ready(self) -> None:
        """Waits until every process that lives is ready. Raises NotMeasuredError."""
        living = [child for child in self.gateways if not child.ended]
        for child, port in zip(
            living + self.sweepers, self.gateway_ports + self.sweeper_ports, strict=True
        ):
            wait_ready(child, port)

    def kill(self) -> None:
        """Ends gateways and sweepers as a power cut would."""
        for child in self.gateways + self.sweepers:
            child.kill()

    def processes(self) -> dict[str, list[int]]:
        """Process ids by kind, of those that live."""
        return {
            "gateway": [c.process.pid for c in self.gateways if not c.ended],
            "sweeper": [c.process.pid for c in self.sweepers if not c.ended],
            "store": [self.store.pid],
        }


@contextmanager
def system(
    directory: Path,
    *,
    gateways: int,
    sweepers: int,
    more: Mapping[str, str] = {},
    gateway: Sequence[str] = ("gateway",),
) -> Iterator[System]:
    """Starts one with the settings people get, and ends it. `gateway` is the module that is run as
    a gateway, with its arguments."""
    with ExitStack() as ending:
        store = EmbeddedStore.start(directory / "store")
        ending.callback(store.kill)
        environ = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
        environ |= {
            "MUSTER_REDIS_URL": store.url, "MUSTER_HOST": "127.0.0.1", "MUSTER_SECRET": "bench",
            "MUSTER_LOG_LEVEL": "warning", **more,
        }  # fmt: skip
        made = System(
            store, directory, environ, gateway_ports=free_ports(gateways), gateway=gateway
        )
        made.sweeper_ports = free_ports(sweepers)
        ending.callback(made.kill)
        for place in range(gateways):
            made.start_gateway(place)
        for place, port in enumerate(made.sweeper_ports):
            name = f"sweeper-{place}"
            own = environ | {"MUSTER_SWEEPER_PORT": str(port)}
            made.sweepers.append(Child(name, ["sweeper"], own, directory / f"{name}.log"))
        made.wait_ready()
        yield made


def wait_ready(child: Child, port: int) -> None:
    """Waits until a process says that it is ready. Raises NotMeasuredError."""
    deadline = time.monotonic() + 60
    while not ask_ready("127.0.0.1", port)[0]:
        if child.ended or time.monotonic() > deadline:
            raise NotMeasuredError(f"{child.name} did not become ready: {child.log_tail(5)}")
        time.sleep(0.1)


@dataclass(frozen=True)
class Instant:
    """Processor seconds and resident bytes of each kind of process at one moment."""

    at: float
    cpu_s: dict[str, float]
    resident: dict[str, int]
    load: float

    @classmethod
    def of(cls, processes: Mapping[str, list[int]]) -> Instant:
        cpu: dict[str, float] = {}
        resident: dict[str, int] = {}
        for kind, pids in processes.items():
            for pid in pids:
                process = psutil.Process(pid)
                times = process.cpu_times()
                cpu[kind] = cpu.get(kind, 0.0) + times.user + times.system
                resident[kind] = resident.get(kind, 0) + process.memory_info().rss
        return cls(time.monotonic(), cpu, resident, os.getloadavg()[0])

    def cores_since(self, before: Instant) -> dict[str, float]:
        """Cores used by each kind since then."""
        return {
            kind: round((self.cpu_s[kind] - before.cpu_s[kind]) / (self.at - before.at), 3)
            for kind in self.cpu_s
        }


_SWEEPERS_SAY = {
    "called_silent": "muster_expiries_made_total",
    "held_back_by_the_brake": "muster_brake_waiting",
    "unobserved_s": "muster_unobserved_seconds",
    "most_overdue_s": "muster_sweep_overdue_seconds",
}


def sweepers_said(ports: Sequence[int]) -> dict[str, float]:
    """What sweepers say of themselves: how many they called silent and held back (sums), and the
    greatest time they could not observe or were late by, in seconds."""
    said = dict.fromkeys(_SWEEPERS_SAY, 0.0)
    for port in ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            text = page.read().decode()
        for what, name in _SWEEPERS_SAY.items():
            match = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
            value = float(match[1]) if match else 0.0
            said[what] = max(said[what], value) if what.endswith("_s") else said[what] + value
    return said


def header(begun: float) -> dict[str, Any]:
    """When, where and for how long it was measured."""
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": (
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, "
            f"{psutil.virtual_memory().total / 2**30:.0f} GiB, Python {platform.python_version()}"
        ),
        "duration_s": round(time.monotonic() - begun, 1),
        "load_average_at_the_end": round(os.getloadavg()[0], 1),
    }


def keep(name: str, found: dict[str, Any], directory: Path = LAST) -> None:
    """Writes the last output of a measurement, and prints it."""
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.json").write_text(text)
    print(text)
