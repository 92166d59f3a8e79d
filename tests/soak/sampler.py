"""Looks at all processes, the store and the load every so often."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.scale.machine import System
from muster.simulate import usage
from muster.simulate.usage import Reading
from tests.soak.asking import Scheduler
from tests.soak.chaos import Chaos
from tests.soak.fleet import Fleet
from tests.soak.sample import Part, Sample, Waits
from tests.soak.watching import StoreReader


@dataclass
class Sampler:
    """`samples` are those taken so far; `tell(line)` hears each in one line."""

    made: System
    fleet: Fleet
    scheduler: Scheduler
    chaos: Chaos
    store: StoreReader
    tell: Callable[[str], None]
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._readings: dict[str, Reading] = {}
        self._seen_at = time.monotonic()

    async def run(self, every_s: float, lasts_s: float) -> None:
        """Takes one every so often, for so long."""
        begun = time.monotonic()
        await self._look(0.0)
        self.samples.clear()  # what came before it was the gathering
        due = begun
        while due - begun + every_s <= lasts_s + 0.001:
            due += every_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._look(time.monotonic() - begun)
            self.tell(told(self.samples[-1], lasts_s, self.fleet))

    async def _look(self, at_s: float) -> None:
        pages = [f"http://127.0.0.1:{port}" for port in self.made.gateway_ports]
        readings = await asyncio.to_thread(usage.taken, pages, [])
        to_store = _to_store(self._readings, readings)
        self._readings = readings
        parts = self._parts(readings, pages, await self.store.clients())
        store_bytes, keys, events = await self.store.kept()
        ack, beats = self.fleet.waits()
        now = time.monotonic()
        self.samples.append(
            Sample(
                at_s=round(at_s, 2), parts=parts, store_bytes=store_bytes, keys=keys,
                events=events, beats=beats, ack=ack, to_store=to_store,
                select=self.scheduler.waits(), ready=self.fleet.book.now["ready"],
                load=round(os.getloadavg()[0], 2),
                during=self.chaos.during(self._seen_at, now),
            )
        )  # fmt: skip
        self._seen_at = now

    def _parts(
        self, readings: dict[str, Reading], pages: list[str], clients: int
    ) -> dict[str, Part]:
        parts = {}
        for place, child in enumerate(self.chaos.lives):
            reading = readings.get(pages[place])
            sockets = int(reading.sockets) if reading else 0
            parts[f"gateway {place + 1}"] = _part(child.process.pid, child.log_path, sockets)
        for place, child in enumerate(self.made.sweepers):
            parts[f"sweeper {place + 1}"] = _part(child.process.pid, child.log_path)
        store = self.made.store
        parts["store"] = _part(store.pid, store.log_path, clients)
        return {name: part for name, part in parts.items() if part is not None}


def _part(pid: int, log: Path, sockets: int = 0) -> Part | None:
    """None: it is dead just now."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return Part(
                pid, process.memory_info().rss, process.num_fds(),
                round(times.user + times.system, 2), sockets, log.stat().st_size,
            )  # fmt: skip
    except psutil.Error:
        return None


def _to_store(before: dict[str, Reading], after: dict[str, Reading]) -> Waits:
    waits: dict[float, float] = {}
    for spent in usage.spent(before, after):
        for edge, number in spent.waits.items():
            waits[edge] = waits.get(edge, 0.0) + number
    count = int(max(waits.values(), default=0))
    if not count:
        return Waits()
    return Waits(count, quantile_s(waits, 0.5), quantile_s(waits, 0.99))


def quantile_s(waits: Mapping[float, float], part: float) -> float:
    """What this part of all waits did not exceed, by a straight line through its bucket: its upper
    edge would jump from one to the next. Beyond the last bucket it is that one's edge.

    `waits` are cumulative by edge, with at least one wait."""
    wanted = part * max(waits.values())
    low = below = 0.0
    for edge in sorted(waits):
        if waits[edge] >= wanted:
            if not math.isfinite(edge):
                break
            share = (wanted - below) / (waits[edge] - below)
            return low + (edge - low) * share
        low, below = edge, waits[edge]
    return low


def told(sample: Sample, lasts_s: float, fleet: Fleet) -> str:
    """One sample, for who watches."""
    gateways = [part for name, part in sample.parts.items() if name.startswith("gateway")]
    counts = fleet.book.counts

    def ms(seconds: float | None) -> str:
        return "—" if seconds is None else f"{seconds * 1000:.0f}"

    return ", ".join(
        [
            f"{sample.at_s:5.0f} of {lasts_s:.0f} s",
            f"{sample.ready} of {fleet.nodes} ready",
            f"sockets {' '.join(str(part.sockets) for part in gateways)}",
            f"gateways {' '.join(str(part.rss >> 20) for part in gateways)} MiB",
            f"store {sample.store_bytes / 2**20:.1f} MiB",
            f"{sample.keys} keys",
            f"{sample.events} events",
            f"ack p50 {ms(sample.ack.p50)} p99 {ms(sample.ack.p99)} ms",
            f"select p50 {ms(sample.select.p50)} p99 {ms(sample.select.p99)} ms",
            f"{counts['falsely offline']} falsely offline",
            f"load {sample.load:.1f}",
            *sample.during,
        ]
    )
