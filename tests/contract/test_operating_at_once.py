"""Whatever happens at once, a node is in exactly the indexes that its record says.

Operators label, drain, resume and remove; two gateways register the node and report what it can do;
a sweeper judges it. Each of them asks the store again and again, and every question waits until it
is let through, so that their questions take turns in every order that is tried. After each of them
the record is read and compared with all indexes, the digest, the counts and the events.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muster.wire.messages import Hardware, Model, Register
from registry import capabilities as can
from registry.base import lines, number, text
from registry.keys import partition_of
from registry.model import Decision, Facts, Reason, Status
from registry.registry import Registry
from registry.settings import RegistrySettings
from registry.store import Store
from sweeper.rules import Limits, judge
from tests.support.socket import Socket
from tests.support.stores import Backend

T = TypeVar("T")
NODE = "node-A"
P = partition_of(NODE)
ASR = Model(model_id="a", kind="asr", version="1", src_lang="zh")
TTS = Model(model_id="t", kind="tts", version="1", tgt_lang="en")
_PREFIXES = itertools.count()


def machine(models: tuple[Model, ...], labels: dict[str, str]) -> Register:
    hardware = Hardware(cpu_cores=8.0, memory_gb=32.0, gpus=())
    return Register(hardware=hardware, installed_models=models, labels=labels)


MODELS = st.sampled_from([(ASR,), (TTS,), (ASR, TTS)])
NAMES = st.sampled_from(["region", "tier"])
VALUES = st.sampled_from(["eu", "us"])
MACHINES = st.builds(machine, MODELS, st.dictionaries(NAMES, VALUES))
LABEL = st.tuples(st.just("label"), st.dictionaries(NAMES, st.none() | VALUES, min_size=1))
REPORT = st.tuples(st.just("report"), MODELS)
OPERATOR = st.lists(
    LABEL | LABEL | st.sampled_from([("drain", None), ("resume", None), ("remove", None)]),
    min_size=2,
    max_size=5,
)
GATEWAY = st.lists(
    REPORT
    | REPORT
    | st.tuples(st.sampled_from(["register", "resume"]), MACHINES)
    | st.just(("unregister", None)),
    min_size=1,
    max_size=4,
)


@dataclass
class Story:
    """What everybody does, and in what order their questions are let through."""

    operators: list[list[tuple[str, Any]]]
    gateways: list[list[tuple[str, Any]]]
    judgements: int
    turns: list[int]


STORIES = st.builds(
    Story,
    st.lists(OPERATOR, min_size=2, max_size=2),
    st.lists(GATEWAY, min_size=1, max_size=2),
    st.integers(2, 6),
    st.lists(st.integers(0, 4), min_size=50, max_size=50),
)


class Turnstile(Store):
    """A store whose every question waits until it is let through."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.client, single=store.single, genuine=store.genuine)
        self.clock = store.clock
        self.waiting: dict[asyncio.Task[Any], asyncio.Future[None]] = {}
        self._moved = asyncio.Event()

    async def asked(self, ask: Callable[[], Awaitable[T]], *, urgent: bool = False) -> T:
        task = asyncio.current_task()
        assert task is not None and task not in self.waiting
        turn = self.waiting[task] = asyncio.get_running_loop().create_future()
        self._moved.set()
        await turn
        return await super().asked(ask)

    async def take_turns(
        self,
        actors: list[Coroutine[Any, Any, None]],
        turns: list[int],
        after_each: Callable[[], Awaitable[None]],
    ) -> None:
        """Lets the actors' questions through one by one: of those that wait, the chosen one."""
        tasks = [asyncio.create_task(actor) for actor in actors]
        for task in tasks:
            task.add_done_callback(lambda _: self._moved.set())
        try:
            for turn in itertools.chain(turns, itertools.repeat(0)):
                await self._still(tasks)
                waiting = [task for task in tasks if task in self.waiting]
                if not waiting:
                    break
                self.waiting.pop(waiting[turn % len(waiting)]).set_result(None)
                await self._still(tasks)
                await after_each()
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _still(self, tasks: list[asyncio.Task[None]]) -> None:
        """Waits until everybody waits to be let through, or is done."""
        while not all(task.done() or task in self.waiting for task in tasks):
            self._moved.clear()
            await self._moved.wait()


class World:
    """One node, everybody who has to do with it, and what must hold all the while."""

    def __init__(self, store: Store, prefix: str) -> None:
        numbers = replace(RegistrySettings(), redis_prefix=prefix)
        self.registry = Registry(store, numbers)
        self.turnstile = Turnstile(store)
        self.everybody = Registry(self.turnstile, numbers)

    async def tell(self, story: Story) -> None:
        first = Socket(self.registry)
        await first.register(machine((ASR,), {"region": "eu"}))
        await self._judge(self.registry)
        await self.holds_true()
        first.services.registry = self.everybody
        sockets = [first, Socket(self.everybody, "gw2")]
        actors = [
            *(self._operate(acts) for acts in story.operators),
            *(self._serve(s, acts) for s, acts in zip(sockets, story.gateways, strict=False)),
            self._sweep(story.judgements),
        ]
        await self.turnstile.take_turns(actors, story.turns, self.holds_true)
        await self._remembered()

    # Who does what

    async def _operate(self, acts: list[tuple[str, Any]]) -> None:
        r = self.everybody
        for act, changes in acts:
            if act == "label":
                await r.label(NODE, changes, "op", "why")
            elif act == "drain":
                await r.drain(NODE, "op", "why")
            elif act == "resume":
                await r.resume(NODE, "op", "why")
            else:
                await r.remove(NODE, "op", "why")

    async def _serve(self, socket: Socket, acts: list[tuple[str, Any]]) -> None:
        for act, what in acts:
            if act in ("register", "resume"):
                await socket.register(what, act)
            elif socket.session is not None and act == "report":
                had = socket.session.register
                await socket.report(msgspec.structs.replace(had, installed_models=what))
            elif socket.session is not None:
                await socket.unregister()

    async def _sweep(self, judgements: int) -> None:
        for _ in range(judgements):
            await self._judge(self.everybody)

    async def _judge(self, registry: Registry) -> None:
        (facts,) = await registry.facts(P, [NODE])
        decision = _judged(facts) if facts is not None else None
        if facts is not None and decision is not None:
            await registry.commit(facts, decision)

    # What must hold

    async def holds_true(self) -> None:
        k, client = self.registry.keys, self.registry.store
        node, intent, names, counts = await client.commands(
            [
                ("HMGET", k.node(NODE), "st", "rs", "lv", "dig", "caps", "reg"),
                ("HMGET", k.intent(NODE), "stamp", "lst", "lab"),
                ("SMEMBERS", k.names(P)),
                ("HMGET", k.counts(P), *Status),
            ]
        )
        labels = can.unpack_labels(intent[2])
        register = can.unpack_register(node[5])
        assert bool(intent[1]) == bool(labels)
        assert lines(node[4]) == can.capabilities(register, labels), "what it can do"
        assert text(node[3]) == can.digest(register, labels)
        every = sorted({text(name) for name in names} | set(lines(node[4])))
        members = await client.commands([("SISMEMBER", k.ready(P, name), NODE) for name in every])
        found = {name for name, there in zip(every, members, strict=True) if there}
        may_work = text(node[0]) == "ready" and not node[2] and not intent[0]
        assert found == (set(lines(node[4])) if may_work else set()), "its index places"
        removed = (text(node[0]), text(node[1])) == ("offline", "removed")
        expected = [int(not removed and text(node[0]) == status) for status in Status]
        assert [number(count) for count in counts] == expected, "its place in the counts"

    async def _remembered(self) -> None:
        """What is in force is what the events say, in their order."""
        (found,) = await self.registry.store.commands(
            [("XRANGE", self.registry.keys.events(P), "-", "+")]
        )
        labels: dict[str, str] = {}
        drained = False
        for _, fields in found:
            event = dict(
                fields.items()
                if isinstance(fields, dict)
                else zip(fields[::2], fields[1::2], strict=True)
            )
            kind = text(event[b"type"])
            if kind == "operator_labels":
                for name, value in json.loads(event[b"labels"]).items():
                    labels.pop(name, None) if value is None else labels.update({name: value})
            elif kind in ("operator_drain", "operator_resume"):
                drained = kind == "operator_drain"
        known = await self.registry.known(NODE)
        assert known.labels.values == labels
        assert known.record is not None and bool(known.record.intent) == drained


def _judged(facts: Facts) -> Decision | None:
    """As the rules say; where they leave the node alone, it becomes ready or degrades."""
    decision = judge(facts, Limits.of(RegistrySettings()), gateway_present=True)
    if decision is not None or facts.intent or facts.leave:
        return decision
    if facts.status in (Status.REGISTERING, Status.DEGRADED):
        return Decision(Status.READY, Reason.HEALTHY)
    if facts.status is Status.READY:
        return Decision(Status.DEGRADED, Reason.GPU_UNAVAILABLE)
    return None


def test_index_places_are_what_the_record_says_whoever_comes_between(backend: Backend) -> None:
    @settings(
        max_examples=120 if backend.name == "valkey" else 40,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(STORIES)
    def check(story: Story) -> None:
        asyncio.run(told(story))

    async def told(story: Story) -> None:
        store = await backend.connect()
        try:
            await World(store, f"at-once{next(_PREFIXES)}").tell(story)
        finally:
            await store.close()

    check()
