"""A run from its beginning to its verdict: processes, phases, what is asked of the deployment.

    join     all connect and become ready, or the patience for that is over
    hold     they beat; the scenario's fault begins and ends meanwhile
    leave    they unregister and close

Stopping early (`stop`) goes to `leave` from wherever it is, and what was seen until then is summed
up all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from muster.simulate import usage
from muster.simulate.books import Book, summed
from muster.simulate.order import Order, OrderError, Server
from muster.simulate.scenarios import SCENARIOS, Timeline, timeline
from muster.simulate.usage import Reading
from muster.simulate.verdict import Outcome

SOCKETS_A_PROCESS = 10_000
_LINE_MOST = 4 * 1024 * 1024
_LOOK_S = 0.1
_SOURCE_SOCKETS = 5_000
_LEAVE_S = 60.0


@dataclass(frozen=True)
class Plan:
    """What was asked for. Durations in seconds."""

    servers: tuple[Server, ...]
    scenario: str
    nodes: int
    duration_s: float = 120.0
    join_s: float = 600.0
    per_s: float = 200.0
    processes: int = 0
    seed: int = 1
    interval_s: float | None = None
    labels: dict[str, str] = field(default_factory=dict)
    join_token: str | None = None
    acks: float = 0.1
    share: float | None = None
    metrics: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    slowest_beat_s: float = 0.1
    unregister: bool = True

    @property
    def number_of_processes(self) -> int:
        """Those asked for, or as many as the sockets need."""
        return self.processes or math.ceil(self.nodes / SOCKETS_A_PROCESS)

    def order(self, process: int) -> Order:
        """What one process has to do."""
        local = all(server.host.startswith("127.") for server in self.servers)
        scenario = SCENARIOS[self.scenario]
        return Order(
            servers=self.servers,
            scenario=self.scenario,
            nodes=self.nodes,
            process=process,
            processes=self.number_of_processes,
            seed=self.seed,
            per_s=0.0 if scenario.storm else self.per_s / self.number_of_processes,
            labels=self.labels,
            interval_s=self.interval_s,
            join_token=self.join_token,
            acks=self.acks,
            share=self.share,
            sources=min(200, math.ceil(self.nodes / _SOURCE_SOCKETS)) if local else 1,
        )


class Worker:
    """One process and the last book it sent."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.book = Book()
        self.last = False
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, order: Order) -> Worker:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "muster.simulate.worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE_MOST,
            # Ctrl-C is for whoever runs the run, which lets them leave in order.
            start_new_session=True,
        )  # fmt: skip
        made = cls(process)
        # On the standard input, as a join token has no place where others can read it.
        made.say(json.dumps(order.as_dict()))
        return made

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.process.stdin.write(word.encode() + b"\n")

    async def ended(self) -> None:
        await self._reading
        await self.process.wait()

    async def kill(self) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self.ended()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            told = json.loads(line)
            self.last = bool(told.pop("last", False))
            self.book = Book.of(told)


class Run:
    """One run. `tell(line)` hears how it goes, several times a second."""

    def __init__(self, plan: Plan, tell: Callable[[str], None] = lambda _: None) -> None:
        self.plan = plan
        self._tell = tell
        self.workers: list[Worker] = []
        self._stopping = asyncio.Event()
        self._begun = self._held_from = 0.0
        self._registered_after: float | None = None
        self._ready_after: float | None = None
        self._stage = "joining"

    @property
    def held_s(self) -> float:
        """Seconds since all were ready; 0 before."""
        return asyncio.get_running_loop().time() - self._held_from if self._held_from else 0.0

    def stop(self) -> None:
        """Ends it early, in order."""
        self._stopping.set()

    @property
    def book(self) -> Book:
        """What was seen until now."""
        return summed(worker.book for worker in self.workers)

    async def outcome(self) -> Outcome:
        """Runs. Raises OrderError if a process of the run died."""
        loop = asyncio.get_running_loop()
        self._begun = loop.time()
        try:
            before = await self._usage()
            for process in range(self.plan.number_of_processes):
                self.workers.append(await Worker.start(self.plan.order(process)))
            await self._join()
            joined = await self._usage()
            held_from = self._held_from = loop.time()
            if self._ready_after is not None:
                await self._hold()
            held_s = loop.time() - held_from
            after = await self._usage()
            interrupted = self._stopping.is_set()
            await self._leave()
        finally:
            for worker in self.workers:
                await worker.kill()
        return Outcome(
            scenario=self.plan.scenario,
            nodes=self.plan.nodes,
            book=self.book,
            ready_after_s=self._ready_after,
            registered_after_s=self._registered_after,
            held_s=held_s,
            interval_s=self._interval_s(),
            slowest_beat_s=self.plan.slowest_beat_s,
            joining=usage.spent(before, joined),
            holding=usage.spent(joined, after),
            interrupted=interrupted,
        )

    async def _join(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            book = await self._look()
            after = loop.time() - self._begun
            if self._registered_after is None and book.now["registered"] == self.plan.nodes:
                self._registered_after = after
            if book.now["ready"] == self.plan.nodes:
                self._ready_after = after
                return
            if after > self.plan.join_s:
                return

    async def _hold(self) -> None:
        loop = asyncio.get_running_loop()
        begun, plan = loop.time(), self.timeline()
        scenario = SCENARIOS[self.plan.scenario]
        waits: list[tuple[float, str]] = [(plan.ends_s, "")]
        if plan.fault_ends_s > plan.fault_at_s:
            waits = [(plan.fault_at_s, "strike"), (plan.fault_ends_s, "heal"), *waits]
        self._stage = "holding"
        for until, word in waits:
            while loop.time() - begun < until and not self._stopping.is_set():
                await self._look(f"{plan.ends_s - (loop.time() - begun):.0f} s left")
            if word and not self._stopping.is_set():
                self._say(word)
                self._stage = scenario.fault.value if word == "strike" else "recovering"

    async def _leave(self) -> None:
        self._stage = "leaving"
        self._tell("leaving …")
        self._say("leave" if self.plan.unregister else "abandon")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await asyncio.gather(*(worker.ended() for worker in self.workers))

    def timeline(self) -> Timeline:
        """When the fault begins and ends, in `held_s`; known once all are ready."""
        return timeline(
            SCENARIOS[self.plan.scenario],
            self.plan.duration_s,
            self._interval_s(),
            self.book.timeout_ms / 1000.0,
        )

    def _interval_s(self) -> float:
        return self.plan.interval_s or self.book.interval_ms / 1000.0

    async def _look(self, more: str = "") -> Book:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), _LOOK_S)
        dead = [w for w in self.workers if w.process.returncode is not None and not w.last]
        if dead:
            raise OrderError(
                f"a process of the simulator ended with {dead[0].process.returncode}; "
                "fewer --nodes, or more --processes"
            )
        book = self.book
        self._tell(told(self._stage, self.plan.nodes, book, more))
        return book

    def _say(self, word: str) -> None:
        for worker in self.workers:
            worker.say(word)

    async def _usage(self) -> dict[str, Reading]:
        pages: Sequence[str] = self.plan.metrics or tuple(s.http for s in self.plan.servers)
        return await asyncio.to_thread(usage.taken, pages, self.plan.stores)


def told(stage: str, nodes: int, book: Book, more: str = "") -> str:
    """How it goes, in one line."""
    now, counts = book.now, book.counts
    parts = [
        f"{stage}: {now['registered']}/{nodes} registered, {now['ready']} ready",
        f"{counts['beats']} beats",
    ]
    ack = book.spread("beat to its ack").quantile(0.99)
    if ack is not None:
        parts.append(f"ack p99 {ack * 1000:.0f} ms")
    closed = sum(number for what, number in counts.items() if what.startswith("closed "))
    errors = sum(number for what, number in counts.items() if what.startswith("error "))
    parts += [f"{closed} closed, {errors} errors", *([more] if more else [])]
    return ", ".join(parts)
