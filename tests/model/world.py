"""Everybody who has to do with a few nodes, at one store, in time that stands still."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from registry.errors import StoreError
from registry.keys import PARTITIONS, partition_of
from registry.model import (
    Beat,
    BeatAnswer,
    BeatOutcome,
    NewRegistration,
    Registered,
    Verdict,
)
from registry.registry import Registry
from registry.settings import RegistrySettings
from registry.store import Store
from sweeper.loop import Sweeper
from sweeper.metrics import SweeperMetrics
from sweeper.rules import HELD_LOOK_MS
from sweeper.settings import SweeperSettings
from tests.model.book import Book, Kept
from tests.model.clock import Clock
from tests.model.life import S
from tests.model.looking import Looking
from tests.model.wire import ALL, Fate, Wire

P = partition_of("node-0")
IDS = tuple(f"node-{n}" for n in range(2000) if partition_of(f"node-{n}") == P)[:3]
GATEWAYS = ("gw1", "gw2")
SWEEPERS = ("sw1", "sw2")
SETTINGS = replace(RegistrySettings(), redis_prefix="model")
BRAKE_PER_S = 0.1  # of the whole fleet: of one partition hardly anybody before the brake ends
BRAKE_MOST = round(SweeperSettings().offline_brake_most_s * S)
CAPABILITIES = {"d1": ("any", "asr:zh"), "d2": ("any", "tts:en")}


@dataclass
class Session:
    """What a gateway remembers of one socket. `relayed` is the version its node was told last,
    `arrived` when its last frame came, by the world's own clock."""

    node_id: str
    gateway: str
    sid: str
    hardware: str
    digest: str = "d1"
    session: int = 0
    relayed: int = 0
    seq: int = 0
    verdicts: str = ""
    drained: str = ""
    arrived: int = 0
    open: bool = True


class World:
    """Actors take turns: each has at most one thing under way, which may wait at the wire."""

    def __init__(
        self,
        store: Store,
        of_gateways: Store,
        of_sweepers: Store,
        clock: Clock,
        *,
        braked: bool = False,
    ) -> None:
        self.braked = braked
        self.clock = clock
        clock.begins_anew()
        self.store = store
        self.book = Book(IDS, lambda: clock.store_now, lambda: clock.now)
        self.plain = Registry(store, SETTINGS)
        self.looking = Looking(self.plain, self.book, P)
        asking = dict.fromkeys((*GATEWAYS, "operator", "scheduler"), of_gateways)
        asking |= dict.fromkeys(SWEEPERS, of_sweepers)
        self.wires = {who: Wire(own, who, clock, self.book) for who, own in asking.items()}
        self.registries = {who: Registry(wire, SETTINGS) for who, wire in self.wires.items()}
        self.sweepers = {who: self._sweeper(who) for who in SWEEPERS}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.sessions: list[Session] = []
        self.gateways: set[str] = set()
        self.holds: list[str] = []
        self.let_go: dict[str, int] = {}
        self.broke_off: dict[str, int] = {}  # when a sweeper's look was not answered
        self.snapshot: tuple[dict[bytes, tuple[bytes, int]], Kept] | None = None
        self._made = 0

    def _sweeper(self, who: str) -> Sweeper:
        settings = replace(
            SweeperSettings(),
            redis_prefix=SETTINGS.redis_prefix,
            offline_brake=self.braked,
            offline_brake_per_s=BRAKE_PER_S,
        )
        made = Sweeper(self.registries[who], settings, SweeperMetrics(), who)
        self.wires[who].present = made.patrol.present
        return made

    def name(self, what: str) -> str:
        """A name that nothing had before."""
        self._made += 1
        return f"{what}{self._made}"

    # Whose turn it is

    async def act(self, who: str, deed: Coroutine[Any, Any, None], through: int = ALL) -> None:
        """Begins something; what the actor still had under way is first done to its end."""
        await self.go_on(who)
        self.wires[who].through = through
        self.tasks[who] = asyncio.create_task(_forgiving(deed))
        await self._until_still(who)

    async def go_on(self, who: str, fate: Fate = Fate.DONE, through: int = ALL) -> None:
        """Lets the call that waits through, and so many more."""
        wire = self.wires[who]
        if wire.waiting is None:
            return
        wire.through = through
        waiting, wire.waiting = wire.waiting, None
        waiting.set_result(fate)
        await self._until_still(who)

    async def _until_still(self, who: str) -> None:
        wire, task = self.wires[who], self.tasks[who]
        task.add_done_callback(lambda _: wire.still.set())
        await wire.still.wait()
        wire.still.clear()
        if task.done():
            task.result()

    def busy(self, who: str) -> bool:
        return self.wires[who].waiting is not None

    async def end(self) -> None:
        """Nobody goes on with anything."""
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    # Gateways

    async def connect(self, node_id: str, gateway: str, kind: str, hardware: str) -> None:
        """A socket is opened, and its node registers."""
        made = Session(node_id, gateway, self.name("sid"), hardware)
        await self._register(made, kind)

    async def _register(self, s: Session, kind: str) -> None:
        registry = self.registries[s.gateway]
        seen = await registry.existing(s.node_id)
        new = NewRegistration(
            node_id=s.node_id, sid=s.sid, gateway=s.gateway, kind=kind, registration=b"r",
            digest=s.digest, capabilities=CAPABILITIES[s.digest], hardware_digest=s.hardware,
            public=True, capacity=2, floor_session=s.session, floor_version=s.relayed,
            window=s.verdicts if kind == "restore" else "",
            intent=s.drained if kind == "restore" else "", arrived=registry.clock.monotonic(),
        )  # fmt: skip
        s.arrived = self.clock.now
        done = await registry.register(new, seen)
        if isinstance(done, Registered):
            s.session, s.relayed, s.seq = done.session, done.version, 0
            s.drained = done.intent
            if s not in self.sessions:
                self.sessions.append(s)

    async def beat(
        self, s: Session, verdict: Verdict, jobs: int, age_ms: int, heeded: bool = True
    ) -> None:
        """A beat arrives at its gateway, which hands it on `age_ms` later and does what the answer
        asks for, if it is heeded. Frames of one socket come one after the other."""
        registry = self.registries[s.gateway]
        age_ms = min(age_ms, self.clock.now - s.arrived)
        s.arrived = self.clock.now - age_ms
        s.seq += 1
        s.verdicts = (verdict.value + s.verdicts)[:5]
        arrived = registry.clock.monotonic() - age_ms / 1000
        (answer,) = await registry.beat([Beat(
            s.node_id, s.sid, s.seq, arrived, verdict, jobs, 2, s.relayed, b"{}", s.session,
        )])  # fmt: skip
        if answer is not None and heeded:
            await self._heed(s, answer)

    async def _heed(self, s: Session, answer: BeatAnswer) -> None:
        outcome, change = answer.outcome, answer.change
        if outcome is BeatOutcome.TELL and change is not None:
            assert change.version > s.relayed
            s.relayed = change.version
            s.drained = "told" if change.status == "draining" else ""
        elif outcome is BeatOutcome.LOWER:
            mended = await self.registries[s.gateway].mend(s.node_id, s.sid, s.relayed, s.drained)
            if mended is not None:
                assert mended.version > s.relayed, "no version is told that is not newer"
                s.relayed = mended.version
        elif outcome in (BeatOutcome.MISSING, BeatOutcome.OLDER, BeatOutcome.SILENT):
            s.sid = self.name("sid")
            await self._register(s, "revive" if outcome is BeatOutcome.SILENT else "restore")
        elif outcome in (BeatOutcome.LEFT, BeatOutcome.FOREIGN):
            s.open = False

    async def learn(self, s: Session) -> None:
        """The node can do something else now."""
        digest = "d2" if s.digest == "d1" else "d1"
        if await self.registries[s.gateway].update(
            s.node_id, s.sid, s.digest, CAPABILITIES[s.digest], b"r", digest,
            CAPABILITIES[digest], True, 2,
        ):  # fmt: skip
            s.digest = digest

    async def unregister(self, s: Session, drain: bool) -> None:
        await self.registries[s.gateway].unregister(
            s.node_id, s.sid, drain=drain, why="", digest=s.digest,
            capabilities=CAPABILITIES[s.digest],
        )  # fmt: skip

    async def job(self, s: Session, failed: bool, jobs: int | None, hold: str) -> None:
        await self.registries[s.gateway].job_result(
            s.node_id, s.sid, failed=failed, jobs=jobs, job_id=hold
        )

    async def announce(self) -> None:
        """All living gateways say that they live."""
        for gateway in sorted(self.gateways):
            for _ in range(2):  # the first may find that the store's clock stepped
                with suppress(StoreError):
                    await self.registries[gateway].announce(gateway, {"id": gateway})
                    break

    # Schedulers

    async def hold(self, node_id: str, ms: int) -> None:
        registry = self.registries["scheduler"]
        (subject,) = await registry.subjects([node_id])
        if subject is not None:
            hold = f"{len(self.holds):024x}~{node_id}"
            self.holds.append(hold)
            await registry.hold(subject, hold, ms)

    # Sweepers

    async def look(self, who: str, observe: bool = True) -> None:
        """What a sweeper does each second (`observe`), or when a bell rings."""
        sweeper = self.sweepers[who]
        try:
            patrol = sweeper.patrol
            if observe or not patrol.gateways_known:
                await patrol.learn_gateways()
            await sweeper._look([P], observe=observe and patrol.observable)
            if observe and self.braked:
                held = sweeper.brake.since
                counts = await sweeper.registry.counts(sorted(sweeper.watch.held))
                await sweeper._mass_expiry(sum(counts.values()) - counts["offline"])
                if held and not sweeper.brake.since:
                    self.let_go[who] = self.clock.store_now
            sweeper._answered()
        except StoreError as error:
            self.broke_off[who] = self.clock.store_now
            sweeper._unanswered(error)

    async def brake_holds(self, who: str, waiting: int) -> None:
        """So many silent nodes are not called so, though a sweeper looked until nothing waits: only
        a brake may have that, of which everybody can know, and which ends."""
        told, now = await self.looking.brake(who), self.clock.store_now
        if told is None and now - self.let_go.get(who, 0) <= HELD_LOOK_MS:
            return  # they ring now
        assert told is not None, f"{waiting} are silent and not called so"
        since, until, held = told
        assert until - since == BRAKE_MOST and now < until, f"the brake holds since {since}"
        assert since > self.book.kept.released, "the brake holds though an operator let go"
        assert held >= waiting, f"{waiting} wait, and {held} are told"

    async def brake_paces(self, who: str) -> None:
        """Under the brake no more are called silent than its pace lets through: the first at once,
        each other after its share of the time."""
        told = await self.looking.brake(who)
        if told is not None and not self.clock.stepped_since(told[0]):
            let = 2 + (self.clock.store_now - told[0]) * BRAKE_PER_S / PARTITIONS / S
            worded = sum(at >= told[0] and by == who for at, by in self.book.worded)
            assert worded <= let, f"{worded} were called silent since the brake took hold"

    async def release_brake(self) -> None:
        """An operator lets go of the brake."""
        await self.registries["operator"].release_brake("op", "why")
        self.book.kept.released = self.clock.store_now

    # Time, and what becomes of the store

    async def passes(self, ms: int) -> None:
        """Time passes, and nobody does anything."""
        self.clock.passes(ms)
        await self.looking.lapse()

    async def failover(self) -> None:
        """Another takes the store's place, which lacks what was written since the snapshot."""
        if self.snapshot is None:
            return
        keys, kept = self.snapshot
        await self.looking.restore(keys)
        self.book.kept = copy.deepcopy(kept)
        self.book.kept.other_run = True

    async def emptied(self) -> None:
        """The store has lost everything. What nobody observed before the first look is not known to
        anybody: that comes at once."""
        await self.looking.empty()
        self.book.forget()
        self.snapshot = None
        await self.announce()
        await self.act("sw1", self.look("sw1"))

    async def remember(self) -> None:
        """What is written from now on may be lost."""
        self.snapshot = (await self.looking.keys(), copy.deepcopy(self.book.kept))


async def _forgiving(deed: Coroutine[Any, Any, None]) -> None:
    """Ends as a process ends what the store did not answer."""
    try:
        await deed
    except StoreError:
        return
