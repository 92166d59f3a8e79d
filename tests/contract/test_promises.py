"""Two promises of selection, with everything happening at once: nobody is selected who may not be,
and no capacity is exceeded.

Nodes change (degrade, recover, drain, leave, fall silent, come back, learn and forget) while 32
schedulers select and hold. The test keeps its own book: of each node every state with the instants
at which its change began and ended. A selection between two instants may rest on any state that can
have held between them; one that rests on none of them breaks the promise. Of a hold the very
millisecond is known in which the store took it. The clock is the wall's, as the store's is, on the
same machine. The seed is in the test's name, so that a failure is repeated by running it again.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from registry.model import Decision, Reason, Selected, Stale, Status
from registry.registry import Registry
from registry.requirement import Requirement
from tests.support.fleet import Fleet

NODES = 36
SCHEDULERS = 32
DURATION_S = 2.5
PATIENCE_S = 60.0
MINUTE = 60_000
WORDS = ("asr:zh", "tts:en", "nmt:zh:en")


@dataclass(frozen=True)
class State:
    """What a node is, and when the change to it began and ended."""

    begun: float
    ended: float
    ready: bool
    live: bool
    public: bool
    words: frozenset[str]
    jobs: int
    capacity: int

    def fits(self, wanted: Requirement) -> bool:
        return (
            self.ready
            and self.live
            and (self.public or not wanted.public)
            and set(wanted.capabilities) <= self.words
        )


@dataclass
class Entry:
    """The book's page of one node. `holds` are the instants at which a hold was surely there."""

    states: list[State]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    holds: list[list[float]] = field(default_factory=list)

    @property
    def now(self) -> State:
        return self.states[-1]

    def possible(self, begun: float, ended: float) -> list[State]:
        """The states that can have held at some instant between the two."""
        found = []
        for place, state in enumerate(self.states):
            later = self.states[place + 1] if place + 1 < len(self.states) else None
            if state.begun <= ended and (later is None or later.ended >= begun):
                found.append(state)
        return found


class World:
    """A fleet that changes, and its book."""

    def __init__(self, registry: Registry, seed: int) -> None:
        self.registry = registry
        self.fleet = Fleet(registry)
        self.random = random.Random(seed)
        self.book: dict[str, Entry] = {}
        self.answers: list[tuple[Requirement, Selected, float, float]] = []
        self.changes = self.lives = 0

    async def settle(self) -> None:
        for i in range(NODES):
            name = f"node-{i}"
            self.book[name] = Entry([])
            await self.come(name)

    def note(self, name: str, begun: float, **changes: object) -> None:
        entry = self.book[name]
        state = replace(entry.now, begun=begun, ended=time.time(), **changes)  # type: ignore[arg-type]
        entry.states.append(state)
        self.changes += 1

    # What happens to nodes

    async def come(self, name: str) -> None:
        """A new life, ready at its end."""
        words = frozenset(w for w in WORDS if self.random.random() < 0.7)
        public, capacity = self.random.random() < 0.8, self.random.randint(1, 3)
        begun = time.time()
        self.lives += 1
        sid = f"sid-{self.lives}"
        await self.fleet.register(
            name, sid=sid, digest=sid, capabilities=("any", *sorted(words)), public=public,
            capacity=capacity,
        )  # fmt: skip
        entry = self.book[name]
        away = State(begun, time.time(), False, True, public, words, 0, capacity)
        entry.states.append(away)
        begun = time.time()
        for _ in range(3):
            await self.fleet.beat(name, capacity=capacity)
        await self.commit(name, Status.READY, Reason.HEALTHY)
        self.note(name, begun, ready=True)

    async def commit(self, name: str, to: Status, reason: Reason) -> None:
        facts = await self.fleet.facts(name)
        done = await self.registry.commit(facts, Decision(to, reason, resets_window=True))
        assert not isinstance(done, Stale), (name, facts, done)
        self.fleet.told[name] = replace(self.fleet.told[name], version=done.version)

    async def degrade(self, name: str) -> None:
        begun = time.time()
        await self.commit(name, Status.DEGRADED, Reason.GPU_UNAVAILABLE)
        self.note(name, begun, ready=False)
        await self.pause()
        begun = time.time()
        await self.commit(name, Status.READY, Reason.RECOVERED)
        self.note(name, begun, ready=True)

    async def drain(self, name: str) -> None:
        begun = time.time()
        assert await self.registry.drain(name, "op", "why")
        self.note(name, begun, ready=False)
        await self.pause()
        await self.commit(name, Status.DRAINING, Reason.OPERATOR)
        begun = time.time()
        assert await self.registry.resume(name, "op", "why")
        await self.commit(name, Status.READY, Reason.RESUMED)
        self.note(name, begun, ready=True)

    async def leave(self, name: str) -> None:
        begun = time.time()
        facts = await self.fleet.facts(name)
        assert await self.registry.unregister(
            name, self.fleet.sids[name], drain=False, why="", digest=facts.digest,
            capabilities=facts.capabilities,
        )  # fmt: skip
        self.note(name, begun, ready=False)
        await self.pause()
        await self.commit(name, Status.OFFLINE, Reason.UNREGISTERED)
        await self.come(name)

    async def fall_silent(self, name: str) -> None:
        """Its TTL key lapses; nobody has noticed yet; then it beats again."""
        begun = time.time()
        await self.registry.store.client.delete(self.registry.keys.ttl(name))
        self.note(name, begun, live=False)
        await self.pause()
        await self.report(name)

    async def report(self, name: str) -> None:
        state = self.book[name].now
        begun, jobs = time.time(), self.random.randint(0, state.capacity)
        await self.fleet.beat(name, jobs=jobs, capacity=state.capacity)
        self.note(name, begun, live=True, jobs=jobs)

    async def learn(self, name: str) -> None:
        facts = await self.fleet.facts(name)
        words = frozenset(w for w in WORDS if self.random.random() < 0.7)
        self.lives += 1
        begun = time.time()
        assert await self.registry.update(
            name, self.fleet.sids[name], facts.digest, facts.capabilities, b"\x80",
            f"d{self.lives}", ("any", *sorted(words)), self.book[name].now.public,
            self.book[name].now.capacity,
        )  # fmt: skip
        self.note(name, begun, words=words)

    async def fate(self, until: float) -> None:
        """Something happens to somebody, again and again."""
        acts = (self.degrade, self.drain, self.leave, self.fall_silent, self.report, self.learn)
        while self.busy(until):
            name = self.random.choice(list(self.book))
            async with self.book[name].lock:
                await self.random.choice(acts)(name)

    async def pause(self) -> None:
        """Long enough for the state to be met by somebody."""
        await asyncio.sleep(self.random.random() * 0.02)

    def busy(self, until: float) -> bool:
        """Whether to go on: for a while, and on a slow machine until enough has happened."""
        enough = self.changes > NODES * 3 and len(self.answers) > 100
        return time.time() < until or (not enough and time.time() < until + PATIENCE_S)

    def slowly(self, ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """So that what was sampled or judged may be over by the time it is read or held."""

        async def asked(*arguments: Any, **named: Any) -> Any:
            await self.pause()
            return await ask(*arguments, **named)

        return asked

    # What schedulers do

    async def scheduler(self, until: float) -> None:
        while self.busy(until):
            words = self.random.sample(WORDS, self.random.randint(0, 2))
            wanted = Requirement(tuple(words), public=self.random.random() < 0.7)
            hold_ms = self.random.choice((0, MINUTE))
            begun = time.time()
            found = await self.registry.select(wanted, self.random.randint(1, 3), hold_ms=hold_ms)
            ended = time.time()
            self.answers += [(wanted, s, begun, ended) for s in found]
            spans = [(s, self.hold(s, ended)) for s in found if s.hold_id]
            await asyncio.sleep(self.random.random() * 0.02)
            for s, span in spans:
                span.append(time.time())
                await self.registry.release_hold(s.hold_id)

    def hold(self, s: Selected, ended: float) -> list[float]:
        span = [ended]
        self.book[s.node_id].holds.append(span)
        return span

    # What the book says afterwards, when it knows of every change

    def broken(self, wanted: Requirement, s: Selected, begun: float, ended: float) -> str:
        """How an answer breaks a promise, or ''."""
        entry = self.book[s.node_id]
        if s.hold_id:
            taken = (s.hold_expires - MINUTE) / 1000
            begun, ended = max(begun, taken - 0.001), min(ended, taken + 0.001)
        possible = [state for state in entry.possible(begun, ended) if state.fits(wanted)]
        if not possible:
            return f"{s} for {wanted} rests on none of {entry.possible(begun, ended)}"
        sure = sum(1 for span in entry.holds if span[0] < begun and ended < span[-1])
        if all(state.jobs + sure >= state.capacity for state in possible):
            return f"{s}: {sure} holds were open, {possible}"
        return ""

    def overfull(self) -> list[str]:
        """Nodes with more holds surely open at one instant than they ever had places."""
        found = []
        for name, entry in self.book.items():
            edges = sorted(edge for s in entry.holds for edge in ((s[0], 1), (s[-1], -1)))
            most = max(itertools.accumulate((step for _, step in edges), initial=0))
            if most > max(state.capacity for state in entry.states):
                found.append(f"{name}: {most} holds at once")
        return found


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("backend", ["valkey", "cluster"], indirect=True)
async def test_nobody_is_selected_who_may_not_be_and_no_capacity_is_exceeded(
    registry: Registry, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(registry, seed)
    await world.settle()
    for slow in ("subjects_in_reach", "hold"):
        monkeypatch.setattr(registry, slow, world.slowly(getattr(registry, slow)))
    until = time.time() + DURATION_S
    await asyncio.gather(
        *(world.fate(until) for _ in range(6)),
        *(world.scheduler(until) for _ in range(SCHEDULERS)),
    )
    assert [why for answer in world.answers if (why := world.broken(*answer))] == []
    assert world.overfull() == []
    assert world.changes > NODES * 3, "the fleet was not quiet"
    assert len(world.answers) > 100, "and schedulers got answers"
    assert [await registry.holds(name) for name in world.book] == [[]] * NODES, "no hold leaked"
