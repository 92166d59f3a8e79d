"""Everything one run needs: a store, gateways behind doors, sweepers, a fleet, a prober, a book.

A world goes on living while a fault lasts: drawn from the run's seed, machines die, come, fall ill
and get well again. `suffer` puts a fault on it and measures; `outcome` is what the checker says.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from registry.errors import StoreError
from registry.registry import Registry
from registry.settings import RegistrySettings
from tests.faults.book import Answer, Book, Page, Span, now_ms
from tests.faults.checker import Breach, Checker
from tests.faults.ending import end
from tests.faults.eye import Eye, Follower, Record, StoreEye, Unseen
from tests.faults.machine import Machine
from tests.faults.pace import Pace
from tests.faults.prober import Ask, Prober, over_http
from tests.faults.proxy import Proxy
from tests.faults.stores import BehindSentinel, StoreUnderTest
from tests.faults.succession import Succession
from tests.support.launching import another_clock
from tests.support.processes import Process, Processes
from tests.support.users import BOTH, as_process, as_user
from tests.support.versions import environment

_STALE_MS = 2000  # an answer as old as this says nothing about now
_GRID_MS = 50


class Part:
    """One process of ours, with a way of its own to the store. Another may take its place."""

    module, port_variable = "", ""

    def __init__(self, world: World) -> None:
        self.store = Proxy(world.store.port)
        self.environment: dict[str, str] = {}
        self.process: Process
        self._world = world

    def launch(self) -> None:
        """Starts the process, and does not wait until it is ready."""
        url = self._world.store.url
        if self.store.port:
            scheme = urlsplit(url).scheme
            url = as_user(f"{scheme}://127.0.0.1:{self.store.port}/0", BOTH)
        self.process = self._world.processes.start(
            self.module,
            self.port_variable,
            {"redis_url": as_process(url, self.module)},
            self.environment,
        )


class Gateway(Part):
    """A gateway behind a door for machines."""

    module, port_variable = "gateway", "MUSTER_PORT"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.proxy = Proxy(0)

    def launch(self) -> None:
        super().launch()
        self.proxy.target = self.process.port

    def url(self) -> str:
        """Where its HTTP is now."""
        return self.process.url


class Sweeper(Part):
    """A sweeper."""

    module, port_variable = "sweeper", "MUSTER_SWEEPER_PORT"


@dataclass
class Measured:
    """What was seen of a run's faults: seconds from the end of a fault until all who were able and
    fit all along could be given work, and until everything was as it must become; seconds, added up
    over machines, in which such a machine was in no answer; and the longest time from a machine's
    death until it was called offline."""

    recover_s: float = 0.0
    settle_s: float = 0.0
    unselectable_s: float = 0.0
    truth_s: float = 0.0


@dataclass
class Outcome:
    """What a run came to."""

    breaches: list[Breach]
    counts: dict[str, int]
    measured: Measured
    notes: list[str] = field(default_factory=list)


class World:
    """One run's world; `clock_errors_s` are of the gateways' clocks, in their order, and of the
    machines'; `code` is the version that all processes run to begin with, if not this one. `start`
    it, let it `suffer`, ask its `outcome`, `stop` it."""

    def __init__(
        self,
        store: StoreUnderTest,
        processes: Processes,
        pace: Pace,
        seed: int,
        *,
        machines: int = 24,
        gateways: int = 2,
        sweepers: int = 2,
        clock_errors_s: Sequence[float] = (),
        code: Path | None = None,
    ) -> None:
        self.store = store
        self.pace = pace
        self.seed = seed
        self.dice = random.Random(seed)
        self.book = Book()
        self.processes = processes
        self.gateways = [Gateway(self) for _ in range(gateways)]
        for gateway, error_s in zip(self.gateways, clock_errors_s, strict=False):
            gateway.environment = another_clock(error_s)
        self._clock_errors_s = clock_errors_s or (0.0,)
        self.sweepers = [Sweeper(self) for _ in range(sweepers)]
        for part in self.parts:
            part.environment |= environment(code) if code else {}
        self.machines: list[Machine] = []
        self.measured = Measured()
        self.registry: Registry
        self.eye: Eye
        self._first = machines
        self._tasks: list[asyncio.Task[Any]] = []
        self._client = httpx.AsyncClient(trust_env=False, timeout=1.5)

    def __repr__(self) -> str:
        return f"World(seed={self.seed}, {self.pace.name})"

    # Begin and end

    async def start(self) -> None:
        """Starts everything and waits until all machines are ready."""
        names = RegistrySettings.__dataclass_fields__
        shared: dict[str, Any] = {k: v for k, v in self.pace.settings.items() if k in names}
        shared |= self.store.settings
        settings = replace(RegistrySettings(), redis_url=self.store.url, **shared)
        self.registry = await Registry.connect(settings)
        self.eye = StoreEye(self.registry)
        for part in self.parts:
            if self.store.port:
                await part.store.start()
            part.launch()
        for part in self.parts:
            await part.process.wait_ready()
        for gateway in self.gateways:
            await gateway.proxy.start()
        self._follower = Follower(self.eye, self.book)
        asks: list[Ask] = [over_http(self._client, g.url) for g in self.gateways]
        if isinstance(self.store, BehindSentinel):
            self.do(Succession(self.store.store.epoch, self.book).run())
        self.do(self._follower.run())
        self.do(Prober(self.book, asks).run())
        for number in range(self._first):
            self.add(plain=number % 2 == 1).start()
        await self.settled("all are ready to begin with")

    async def stop(self) -> None:
        """Ends everything but the processes and the store, which are whose who made them."""
        await asyncio.gather(*(m.stop() for m in self.machines))
        await end(self._tasks)
        await self._client.aclose()
        for proxy in (*(g.proxy for g in self.gateways), *(p.store for p in self.parts)):
            await proxy.stop()
        await self.registry.close()

    @property
    def parts(self) -> list[Part]:
        """All processes of ours."""
        return [*self.gateways, *self.sweepers]

    def do(self, what: Any) -> asyncio.Task[Any]:
        """Lets something go on until the world stops."""
        task = asyncio.create_task(what)
        self._tasks.append(task)
        return task

    def add(self, *, plain: bool) -> Machine:
        """A new machine, switched off."""
        page = self.book.page(f"m{len(self.book.pages):02}", plain=plain)
        machine = Machine(page, self.gateways, self.pace, random.Random(f"{self.seed}/{page.name}"))
        machine.clock_error_s = self._clock_errors_s[len(self.machines) % len(self._clock_errors_s)]
        self.machines.append(machine)
        return machine

    def clone(self, of: Machine) -> Machine:
        """A machine with the identity of another, switched off."""
        twin = of.clone(self.book.page(f"{of.page.name}'", plain=of.plain))
        self.machines.append(twin)
        return twin

    # Who is well

    @property
    def living(self) -> list[Machine]:
        """Machines that run, are not cut off and were not told to leave."""
        return [m for m in self.machines if m.running and m.page.is_able and not m.page.left]

    async def records(self) -> dict[str, Record]:
        """The store's records of the fleet. Raises Unseen."""
        return await self.eye.records({p.node_id for p in self.book.pages.values() if p.node_id})

    async def unsettled(self) -> list[str]:
        """What is not yet as it must become, in words."""
        try:
            records = await self.records()
        except Unseen as unseen:
            return [f"the store is not seen: {unseen}"]
        return [
            f"{m}: {why}" for m in self.machines if (why := self._why_unsettled(m.page, records))
        ]

    def _why_unsettled(self, page: Page, records: dict[str, Record]) -> str:
        record = records.get(page.node_id)
        if page.contested:
            return ""
        if page.is_able and not page.left:
            return self._why_not_well(page, record)
        if record is None:
            return "" if self.book.losses or not page.node_id else "its record is gone"
        return "" if record.status == "offline" else f"gone, yet {record.status} ({record.reason})"

    def _why_not_well(self, page: Page, record: Record | None) -> str:
        wanted = "draining" if self._drained(page) else "ready" if page.fit else "degraded"
        if record is None:
            return "no record"
        if (record.status, record.live) != (wanted, True):
            return f"{record.status} ({record.reason}), live: {record.live}; wanted {wanted}"
        told = page.told
        if told is None or told.socket != (page.doors[-1][1] if page.doors else 0):
            return "not told anything on its socket"
        if int(told.frame["version"]) != record.version:
            return f"told {told.frame['status']} {told.frame['version']}, not {record.version}"
        return ""

    def _drained(self, page: Page) -> bool:
        return any(s.end is None for s in self.book.intents.get(page.node_id, ()))

    async def unwell(self, since: int) -> list[str]:
        """Machines that were able and fit ever since an instant and yet can't be given work."""
        try:
            records = await self.records()
        except Unseen as why:
            return [f"the store is not seen: {why}"]
        found = []
        for machine in self.living:
            record = records.get(machine.page.node_id)
            well = record is not None and record.status == "ready" and record.live
            if steady(machine.page, since) and not self._drained(machine.page) and not well:
                found.append(f"{machine}: {record}")
        return found

    async def settled(self, what: str, within_s: float | None = None) -> float:
        """Waits until everything is as it must become; how long that took, s."""
        return await self._until_empty(self.unsettled, what, within_s)

    async def well(self, since: int) -> float:
        """Waits until all who were able and fit ever since can be given work; seconds."""
        what = "all who were able and fit all along are ready again"
        return await self._until_empty(lambda: self.unwell(since), what, None)

    async def _until_empty(self, ask: Any, what: str, within_s: float | None) -> float:
        limit = within_s or max(40.0, 4 * self.pace.grace_s)
        began = time.monotonic()
        while found := await ask():
            if time.monotonic() - began > limit:
                lines = "\n".join(str(f) for f in found[:12])
                notes = "\n".join(self._story())
                raise AssertionError(f"{self!r}: not within {limit:g} s: {what}\n{lines}\n{notes}")
            await asyncio.sleep(0.1)
        return time.monotonic() - began

    # What happens

    async def wait(self, true_s: float) -> None:
        """Lets time pass, given as at true speed."""
        await asyncio.sleep(self.pace.s(true_s))

    async def aside(self, act: Callable[[], Any]) -> None:
        """Does something that blocks."""
        await asyncio.to_thread(act)

    async def live(self, lasts_s: float) -> None:
        """Lets machines live and die for so many seconds."""
        share = lasts_s / 6
        await asyncio.sleep(share)
        await self._casualty(plain=False, silently=True)
        await self._casualty(plain=True, silently=self.dice.random() < 0.5)
        await asyncio.sleep(share)
        self.add(plain=self.dice.random() < 0.5).start()
        ill = self._draw(lambda m: m.page.fit)
        if ill is not None:
            ill.fall_ill()
        await asyncio.sleep(3 * share)
        if ill is not None:
            ill.get_well()
        await asyncio.sleep(share)

    async def drain(self, machine: Machine) -> None:
        """An operator drains a machine; it is acknowledged when this returns."""
        await self._insist(self.registry.drain, machine)
        self.book.note(f"{machine} is drained")
        self.book.intents.setdefault(machine.page.node_id, []).append(Span(now_ms()))

    async def resume(self, machine: Machine) -> None:
        """The operator takes that back."""
        self.book.intents[machine.page.node_id][-1].end = now_ms()
        self.book.note(f"{machine} is resumed")
        await self._insist(self.registry.resume, machine)

    @staticmethod
    async def _insist(act: Callable[[str, str, str], Awaitable[bool]], machine: Machine) -> None:
        """What the store does not answer, an operator says again; the second time it may be true
        already, and be answered so."""
        again = False
        while True:
            try:
                assert await act(machine.page.node_id, "operator", "a test") or again
                return
            except StoreError:
                again = True
                await asyncio.sleep(0.2)

    def drawn(self, count: int) -> list[Machine]:
        """So many machines that live, or fewer."""
        found = [m for m in self.living if not m.page.contested and m.page.node_id]
        return self.dice.sample(found, min(count, len(found)))

    @property
    def drained(self) -> list[Machine]:
        """Those whom an operator drained last."""
        return [m for m in self.machines if self._drained(m.page)]

    async def told(self, machine: Machine, status: str) -> None:
        """Waits until a machine was told a status last."""

        async def missing() -> list[str]:
            told = machine.page.told
            fine = told is not None and told.frame["status"] == status
            return [] if fine else [f"{machine}: {told}"]

        await self._until_empty(missing, f"told {status}", None)

    async def _casualty(self, *, plain: bool, silently: bool) -> None:
        victim = self._draw(lambda m: m.plain == plain)
        if victim is not None:
            self.book.note(f"{victim} dies{' without a word' if silently else ''}")
            await victim.die(silently=silently)

    def _draw(self, fit: Callable[[Machine], bool]) -> Machine | None:
        found = [m for m in self.living if not m.page.contested and m.page.node_id and fit(m)]
        return self.dice.choice(found) if found else None

    async def suffer(self, fault: Any, *, life: bool = True) -> None:
        """Puts a fault on the world for a time (as at true speed), and waits until all is well."""
        lasts = self.pace.s(fault.lasts_s)
        began = now_ms()
        self.book.note(f"begins: {fault}")
        living = self.do(self.live(max(lasts, self.pace.s(30)))) if life else None
        await fault.begin(self)
        await asyncio.sleep(max(0.0, lasts - (now_ms() - began) / 1000))
        await fault.end(self)
        self.book.note(f"ends: {fault}")
        ended = time.monotonic()
        self.measured.recover_s = max(self.measured.recover_s, await self.well(began))
        if living is not None:
            await living
        await self.settled("everything is as it must become")
        self.measured.settle_s = max(self.measured.settle_s, time.monotonic() - ended)
        self.measured.unselectable_s += self._unselectable(began, now_ms())

    def _unselectable(self, begin: int, end: int) -> float:
        """Seconds, added up over machines able and fit all along, in which no gateway's last
        answer had them."""
        ids = {p.node_id for p in self.book.pages.values() if p.is_able and steady(p, begin)}
        ids -= set(self.book.intents)
        latest: dict[int, Answer] = {}
        answers = iter(sorted(self.book.answers, key=lambda a: a.answered))
        upcoming = next(answers, None)
        missing = 0
        for at in range(begin, end, _GRID_MS):
            while upcoming is not None and upcoming.answered <= at:
                latest[upcoming.door] = upcoming
                upcoming = next(answers, None)
            seen: set[str] = set()
            for answer in latest.values():
                if at - answer.answered < _STALE_MS:
                    seen |= answer.ids or frozenset()
            missing += len(ids - seen)
        return missing * _GRID_MS / 1000

    # What it came to

    async def outcome(self) -> Outcome:
        """Judges the run; everything must be settled."""
        await self._follower.look()
        records = await self.records()
        breaches = Checker(self.book, self.pace, records).breaches()
        self.measured.truth_s = self._longest_until_offline()
        return Outcome(breaches, self.counts(), self.measured, self._story())

    def _longest_until_offline(self) -> float:
        longest = 0
        for page in self.book.pages.values():
            died = page.able[-1].end if page.able else None
            if died is None or page.left or page.contested:
                continue
            offline = (
                e.at for e in self.book.events
                if e.node_id == page.node_id and e["to"] == "offline" and e.at > died
            )  # fmt: skip
            longest = max(longest, next(offline, died) - died)
        return longest / 1000

    def counts(self) -> dict[str, int]:
        """How much there was to judge."""
        pages = self.book.pages.values()
        closes = Counter(c.code for p in pages for c in p.closed)
        return {
            "machines": len(self.book.pages),
            "beats": sum(s.kind == "node_heartbeat" for p in pages for s in p.sent),
            "acks": sum(1 for p in pages for _ in p.acks),
            "statuses": sum(h.kind == "node_status" for p in pages for h in p.heard),
            "tellings": sum(h.tells for p in pages for h in p.heard),
            "meant": sum(p.left for p in pages) + sum(map(len, self.book.intents.values())),
            "transitions": sum(e.kind == "transition" for e in self.book.events),
            "offline": sum(e["to"] == "offline" for e in self.book.events),
            "selects": sum(a.ids is not None for a in self.book.answers),
            "selects_unanswered": sum(a.ids is None for a in self.book.answers),
            **{f"closed_{code}": count for code, count in sorted(closes.items())},
        }

    def _story(self) -> list[str]:
        return [f"{self.clock_of(at)}  {what}" for at, what in self.book.notes]

    def clock_of(self, at: int) -> str:
        """An instant as people read it: seconds since the first fault began."""
        first = self.book.notes[0][0] if self.book.notes else at
        return f"{(at - first) / 1000:8.2f} s"


def steady(page: Page, since: int) -> bool:
    """Whether a machine was able and fit ever since an instant, and nobody else claims its id."""
    return page.fit and page.steady_since <= since and not page.contested
