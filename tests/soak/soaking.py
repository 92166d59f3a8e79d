"""A soak from its beginning to its end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.gateway import NotMeasuredError
from bench.scale.machine import System, system
from registry.keys import PARTITIONS
from tests.faults.pace import QUICK
from tests.soak.asking import Scheduler
from tests.soak.chaos import Chaos, plan
from tests.soak.fleet import Fleet
from tests.soak.sample import Sample
from tests.soak.sampler import Sampler
from tests.soak.telling import secrets_told
from tests.soak.verdict import Counts
from tests.soak.visiting import Visitors
from tests.soak.watching import StoreReader, Watcher

EVENTS_PER_PARTITION = 256
"""Of so few the bound is reached before it is judged; 10 000 would not be in an hour."""

WATCH_BUFFER_BYTES = 8 * 2**20
"""The same for the events that a gateway with a watcher keeps in memory."""

_STREAM_BLOCK = 100
"""A stream is shortened by whole blocks of so many entries."""

VISITORS_MOST = 60
"""What a socket leaves in circles is collected after some 300 of them, and memory stands at that
height from then on: so many come before anything is judged."""

_SETTLES_S = 20.0
_TOKENS = 5


@dataclass(frozen=True)
class Soak:
    """What was asked for. `minutes` at true speed; `speed` 10 makes a minute of ten."""

    nodes: int = 10_000
    minutes: float = 30.0
    gateways: int = 4
    sweepers: int = 2
    speed: float = 1.0
    every_s: float = 10.0
    per_s: float = 400.0
    gateway: tuple[str, ...] = ("gateway",)

    @property
    def staying(self) -> int:
        """The gateways that nothing is done to; with two others each has a place to go to."""
        return self.gateways - 2

    @property
    def lasts_s(self) -> float:
        """Seconds after all are ready."""
        return self.minutes * 60 / self.speed


async def soaked(
    made: System, asked: Soak, tell: Callable[[str], None]
) -> tuple[list[Sample], Counts]:
    """Runs it. Raises NotMeasuredError if not all become ready."""
    ports = made.gateway_ports
    fleet = Fleet.of(asked.nodes, ports, asked.staying, asked.per_s)
    chaos = Chaos(made, fleet, asked.speed, asked.staying)
    store = StoreReader(made.store.url)
    scheduler = Scheduler(ports)
    visitors = Visitors(
        max(2, min(VISITORS_MOST, asked.nodes // 100)), ports[: asked.staying], asked.speed
    )
    sampler = Sampler(made, fleet, scheduler, chaos, store, tell)
    load: list[asyncio.Task[None]] = []
    try:
        async with Watcher(ports) as watcher:
            load.append(asyncio.create_task(store.run()))
            await fleet.start()
            await _gathered(fleet, asked, tell)
            load.append(asyncio.create_task(visitors.run()))
            load.append(asyncio.create_task(scheduler.run()))
            acting = asyncio.create_task(chaos.run(plan(asked.minutes)))
            load.append(acting)
            wrong = []
            for step in (
                sampler.run(asked.every_s, asked.lasts_s),
                _done(acting),
                _ended(load[1:], watcher),
                _settled(fleet, store, watcher),
            ):
                try:
                    await step
                except Exception as error:  # noqa: BLE001 - half an hour is not thrown away for it
                    wrong.append(_said(error))
                    tell(f"went wrong: {wrong[-1]}")
            counts = _counted(fleet, chaos, scheduler, visitors, watcher, store)
            hidden = [made.environ["MUSTER_SECRET"], *visitors.tokens[:_TOKENS]]
            try:
                counts.secrets_told = await secrets_told(made, hidden)
                counts.secrets = len(hidden)
            except Exception as error:  # noqa: BLE001 - as above
                wrong.append(_said(error))
            counts.wrong = wrong
    finally:
        with contextlib.suppress(Exception):  # it was told above
            await _ended(load)
        await store.close()
        await fleet.end()
    counts.speed = asked.speed
    return sampler.samples, counts


async def _gathered(fleet: Fleet, asked: Soak, tell: Callable[[str], None]) -> None:
    begun = told = time.monotonic()
    within_s = 120 + asked.nodes / asked.per_s * 4
    while (ready := fleet.book.now["ready"]) < fleet.nodes:
        await asyncio.sleep(0.2)
        now = time.monotonic()
        if now - told > asked.every_s:
            told = now
            registered = fleet.book.now["registered"]
            tell(f"gathering: {registered} of {fleet.nodes} registered, {ready} ready")
        if now - begun > within_s:
            raise NotMeasuredError(f"{ready} of {fleet.nodes} ready; {fleet.book.first_error}")


def _said(error: Exception) -> str:
    """An error in a line; of a group, its first."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


async def _done(acting: asyncio.Task[None]) -> None:
    await acting


async def _ended(tasks: list[asyncio.Task[None]], watcher: Watcher | None = None) -> None:
    """Ends them; what one of them died of is raised. From then on visitors are away for good."""
    if watcher is not None:
        watcher.visits_are_over = True
    left = set(tasks)
    while left:
        # Again and again: a library may take a cancellation for the end of its own wait.
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=1.0)
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            task.result()


async def _settled(fleet: Fleet, store: StoreReader, watcher: Watcher) -> None:
    """Waits until both readers know the same and all are ready, or the patience for it is over."""
    deadline = time.monotonic() + _SETTLES_S
    while time.monotonic() < deadline:
        await store.read()
        if fleet.book.now["ready"] == fleet.nodes and not _about_nodes(store, watcher)[0]:
            return
        await asyncio.sleep(0.5)


def _about_nodes(store: StoreReader, watcher: Watcher) -> tuple[int, int, int]:
    """Events about nodes that the watcher lacks, that it has too often, and all there were."""
    there = {mark: n for mark, n in store.marks.items() if mark[1]}
    lost = sum(max(0, n - watcher.marks[mark]) for mark, n in there.items())
    twice = sum(max(0, n - store.marks[mark]) for mark, n in list(watcher.marks.items()) if mark[1])
    return lost, twice, sum(there.values())


def _counted(
    fleet: Fleet,
    chaos: Chaos,
    scheduler: Scheduler,
    visitors: Visitors,
    watcher: Watcher,
    store: StoreReader,
) -> Counts:
    book, asked = fleet.seen, scheduler.counts
    lost, twice, events = _about_nodes(store, watcher)
    offline = book.spread("offline after the time-out")
    logs = [child.log_path for child in (*chaos.made.gateways, *chaos.made.sweepers)]
    return Counts(
        nodes=fleet.nodes,
        ready_at_the_end=book.now["ready"],
        falsely_offline=book.counts["falsely offline"],
        falsely_degraded=book.counts["falsely degraded"],
        falsely_offline_events=watcher.falsely_offline,
        silenced=fleet.struck("silenced") * chaos.done.get("machines silent", 0),
        called_offline=offline.count,
        called_offline_p99_s=offline.quantile(0.99),
        lost_gpu=fleet.struck("ill") * chaos.done.get("GPUs lost", 0),
        called_degraded=book.spread("third bad beat to degraded").count,
        events=events,
        events_lost=lost,
        events_twice=twice,
        events_out_of_order=watcher.out_of_order,
        gaps=len(watcher.gaps),
        selections=asked["found"] + asked["nobody"] + asked["unanswered"],
        selections_again=asked["asked again"],
        selections_nobody=asked["nobody"],
        selections_unanswered=asked["unanswered"],
        visits=visitors.counts["visits"],
        tracebacks=sum(_tracebacks(path) for path in logs),
        stopped_late=chaos.stopped_late,
        own_lateness_p999_s=book.spread("beat sent late").quantile(0.999),
        events_bound=PARTITIONS * (EVENTS_PER_PARTITION + _STREAM_BLOCK),
        done=chaos.done,
        more={
            "nodes saw": dict(sorted(book.counts.items())),
            "first error": book.first_error,
            "visitors": dict(visitors.counts),
            "streams of events": watcher.connections,
            "waits": {name: spread.shown() for name, spread in sorted(book.spreads.items())},
        },
    )


def _tracebacks(path: Path) -> int:
    return path.read_bytes().count(b"Traceback")


def settings(speed: float) -> Mapping[str, str]:
    """What processes are told beside what people get: how short times are, and of how many events
    the store's bound is."""
    more = {
        "MUSTER_EVENTS_PER_PARTITION": str(EVENTS_PER_PARTITION),
        "MUSTER_WATCH_BUFFER_BYTES": str(WATCH_BUFFER_BYTES),
        "MUSTER_LOG_LEVEL": "info",
        "MUSTER_SECRET": secrets.token_hex(16),
    }
    if speed != 1:
        more |= {
            f"MUSTER_{name.upper()}": str(value)
            for name, value in QUICK.settings.items()
            if isinstance(value, float) and name.endswith("_s")
        }
    return more


def run(asked: Soak, directory: Path, tell: Callable[[str], None]) -> tuple[list[Sample], Counts]:
    """Starts a system, soaks it and ends it."""
    with system(
        directory, gateways=asked.gateways, sweepers=asked.sweepers,
        more=settings(asked.speed), gateway=asked.gateway,
    ) as made:  # fmt: skip
        return asyncio.run(soaked(made, asked, tell))
