"""The steps that hypothesis plays, and what is looked at after each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from registry.model import Verdict
from registry.store import Store
from sweeper.rules import HELD_LOOK_MS
from tests.model.clock import Clock
from tests.model.life import GAP, Place, S, by_time
from tests.model.wire import ALL, Fate
from tests.model.world import GATEWAYS, IDS, SWEEPERS, Session, World

T = TypeVar("T")
ACTORS = (*GATEWAYS, *SWEEPERS, "operator", "scheduler")
_LOOKS_MOST = 12

nodes = st.sampled_from([IDS[0], *IDS])
some = st.sampled_from([0, 0, 0, 1, 2, 3])
verdicts = st.sampled_from([Verdict.PASS, Verdict.PASS, Verdict.PASS, Verdict.GPU_UNAVAILABLE,
                            Verdict.SELF_REPORTED])  # fmt: skip
# Mostly somebody does a thing to its end, and often it is judged at once; now and then they are
# paused at the first or second call.
JUDGED = ALL + 1
through = st.sampled_from([JUDGED, JUDGED, ALL, ALL, 0, 1])
fates = st.sampled_from(list(Fate))


@dataclass
class Stage:
    """Where the machine plays: one store, one loop, one clock for all examples of a run. `store` is
    who looks at everything, the others are the users of those processes."""

    loop: asyncio.AbstractEventLoop
    store: Store
    of_gateways: Store
    of_sweepers: Store
    clock: Clock


class Life(RuleBasedStateMachine):
    """See the package."""

    stage: ClassVar[Stage]

    def do(self, deed: Coroutine[Any, Any, T]) -> T:
        return self.stage.loop.run_until_complete(deed)

    def acts(self, who: str, deed: Coroutine[Any, Any, None], through: int) -> None:
        """Somebody does something, and a sweeper may look at once."""
        self.do(self.world.act(who, deed, through))
        if through == JUDGED:
            self.everything_is_judged("sw1")

    @initialize(first=nodes, ready=st.sampled_from([True, True, False]),
                braked=st.sampled_from([False, False, True]))  # fmt: skip
    def everybody_is_there(self, first: str, ready: bool, braked: bool = False) -> None:
        """`braked`: sweepers have the offline brake, and there are enough nodes for it to hold."""
        on = self.stage
        self.world = World(on.store, on.of_gateways, on.of_sweepers, on.clock, braked=braked)
        self.do(self.world.looking.empty())
        self.do(self.world.looking.listens())
        self.world.gateways.update(GATEWAYS)
        self.do(self.world.announce())
        self.do(self.world.act("sw1", self.world.look("sw1")))
        there = IDS if braked else (first,)
        for node in there:
            self.do(self.world.act("gw1", self.world.connect(node, "gw1", "register", "h1")))
        if ready:
            for place in range(len(there)):
                self.a_node_beats_several_times(place, 3, Verdict.PASS)
            self.everything_is_judged("sw1")
            assert self.place(first).indexed

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.do(self.world.end())
            self.do(self.world.looking.close())

    def place(self, node_id: str) -> Place:
        """What the book has of a node."""
        return self.world.book.place(node_id)

    def session(self, place: int) -> Session:
        """One of the sockets that are open, the newest first; else the newest of all."""
        w = self.world
        opened = [s for s in reversed(w.sessions) if s.open] or w.sessions[-1:]
        return opened[place % len(opened)]

    def node(self, place: int) -> str:
        """One of the nodes that somebody has heard of, the newest first."""
        heard = list(dict.fromkeys(s.node_id for s in reversed(self.world.sessions)))
        return heard[place % len(heard)]

    def has_sessions(self) -> bool:
        return bool(self.world.sessions)

    # Nodes and their gateways

    @rule(node=nodes, gateway=st.sampled_from(GATEWAYS), through=through,
          kind=st.sampled_from(["register", "resume", "resume"]),
          hardware=st.sampled_from(["h1", "h1", "h2"]))  # fmt: skip
    def a_node_registers(
        self, node: str, gateway: str, through: int, kind: str, hardware: str
    ) -> None:
        self.acts(gateway, self.world.connect(node, gateway, kind, hardware), through)

    @precondition(has_sessions)
    @rule(place=some, verdict=verdicts, jobs=st.sampled_from([0, 0, 1]), through=through,
          age=st.sampled_from([0, 0, 0, S, 44 * S, 46 * S]))  # fmt: skip
    def a_node_beats(self, place: int, verdict: Verdict, jobs: int, through: int, age: int) -> None:
        s = self.session(place)
        self.acts(s.gateway, self.world.beat(s, verdict, jobs, age), through)

    @precondition(has_sessions)
    @rule(place=some, times=st.integers(2, 5), verdict=verdicts)
    def a_node_beats_several_times(self, place: int, times: int, verdict: Verdict) -> None:
        s = self.session(place)
        for _ in range(times):
            self.do(self.world.act(s.gateway, self.world.beat(s, verdict, 0, 0)))

    @precondition(has_sessions)
    @rule(place=some, through=through)
    def a_node_learns(self, place: int, through: int) -> None:
        s = self.session(place)
        self.acts(s.gateway, self.world.learn(s), through)

    @precondition(has_sessions)
    @rule(place=some, drain=st.booleans(), through=through)
    def a_node_unregisters(self, place: int, drain: bool, through: int) -> None:
        s = self.session(place)
        self.acts(s.gateway, self.world.unregister(s, drain), through)

    @precondition(has_sessions)
    @rule(place=some, failed=st.booleans(), jobs=st.sampled_from([None, 0, 1]), hold=some,
          through=through)  # fmt: skip
    def a_job_ends(
        self, place: int, failed: bool, jobs: int | None, hold: int, through: int
    ) -> None:
        s = self.session(place)
        self.do(
            self.world.act(s.gateway, self.world.job(s, failed, jobs, self.hold(hold)), through)
        )

    # Operators and schedulers

    @precondition(has_sessions)
    @rule(act=st.sampled_from(["drain", "drain", "resume", "remove"]), place=some, through=through,
          allowed=st.sampled_from([0, 20, 3600]))  # fmt: skip
    def an_operator_acts(self, act: str, place: int, through: int, allowed: int) -> None:
        registry, node = self.world.registries["operator"], self.node(place)
        if act == "drain":
            deed = registry.drain(node, "op", "why", allowed)
        elif act == "resume":
            deed = registry.resume(node, "op", "why")
        else:
            deed = registry.remove(node, "op", "why")
        self.acts("operator", _only(deed), through)

    @precondition(lambda self: self.world.braked)
    @rule()
    def an_operator_lets_go_of_the_brake(self) -> None:
        self.do(self.world.release_brake())

    @precondition(has_sessions)
    @rule(place=some, ms=st.sampled_from([S, 30 * S]), through=through)
    def a_scheduler_holds(self, place: int, ms: int, through: int) -> None:
        self.acts("scheduler", self.world.hold(self.node(place), ms), through)

    @precondition(lambda self: bool(self.world.holds))
    @rule(back=some, through=through)
    def a_hold_is_released(self, back: int, through: int) -> None:
        release = self.world.registries["scheduler"].release_hold(self.hold(back))
        self.acts("scheduler", _only(release), through)

    def hold(self, back: int) -> str:
        """One of the holds that were asked for, the newest first; '' where there was none."""
        holds = self.world.holds
        return holds[-1 - back % len(holds)] if holds else ""

    @rule()
    def a_scheduler_asks(self) -> None:
        self.do(self.world.looking.selectable())

    # Sweepers

    @rule(who=st.sampled_from(SWEEPERS), observe=st.booleans(),
          through=st.sampled_from([ALL, ALL, 0, 1, 2, 3]))  # fmt: skip
    def a_sweeper_looks(self, who: str, observe: bool, through: int) -> None:
        self.do(self.world.act(who, self.world.look(who, observe), through))

    @rule(who=st.sampled_from(SWEEPERS))
    def everything_is_judged(self, who: str) -> None:
        """Once a sweeper has looked until nothing waits, no change of state is called for that was
        not made, but of those whom a sweeper took and stopped with, whose alarm a late call
        set anew, or whose silence could not be told a moment ago: they ring again."""
        self.do(self._settle(who))

    async def _settle(self, who: str) -> None:
        w = self.world
        await w.announce()
        holder, until = w.book.kept.lease or (who, 0)
        who = holder if until >= w.clock.store_now else who
        waiting = await self._looks_until_still(who)
        now = w.clock.store_now
        if (
            waiting
            and any(now <= w.book.withheld.get(id_, 0) for id_ in waiting)
            and (await w.looking.brake(who) is None)
        ):
            # Whose silence could not be told at the first look ring after a second.
            await w.passes(HELD_LOOK_MS + 1)
            await w.announce()
            waiting = await self._looks_until_still(who)
        if waiting:
            await w.brake_holds(who, len(waiting))
        if w.braked:
            await w.brake_paces(who)

    async def _looks_until_still(self, who: str) -> list[str]:
        """Who is silent, and not called so."""
        w = self.world
        for _ in range(_LOOKS_MOST):
            await w.act(who, w.look(who))
            if not await w.looking.waits():
                break
        else:
            raise AssertionError("a sweeper that looks and looks does not come to rest")
        waiting = []
        for id_ in IDS:
            called = w.book.called_for(id_, lambda gateway: gateway in w.gateways)
            taken_at, by = w.book.popped.get(id_, (0, ""))
            not_here = by != who or w.broke_off.get(by, -1) >= taken_at
            another_has_it = not_here and w.clock.store_now - taken_at <= 5 * S
            silent = called == ("offline", "heartbeat_timeout")
            nobody_heard = by_time(w.book.place(id_), called) and not w.gateways
            put_off = w.clock.store_now <= w.book.put_off.get(id_, 0) or (
                not silent and w.clock.store_now <= w.book.withheld.get(id_, 0)
            )
            unsaid = called is None or w.book.only_a_word(id_, called)
            if unsaid or another_has_it or nobody_heard or put_off:
                continue
            assert silent, f"{id_} is not yet {called}"
            waiting.append(id_)
        return waiting

    # What goes wrong

    @precondition(lambda self: any(self.world.busy(who) for who in ACTORS))
    @rule(place=some, fate=fates, through=through)
    def somebody_goes_on(self, place: int, fate: Fate, through: int) -> None:
        busy = [who for who in ACTORS if self.world.busy(who)]
        self.do(self.world.go_on(busy[place % len(busy)], fate, through))

    @precondition(lambda self: any(wire.late for wire in self.world.wires.values()))
    @rule(place=some)
    def a_late_call_is_executed(self, place: int) -> None:
        wires = [wire for wire in self.world.wires.values() if wire.late]
        wire = wires[place % len(wires)]
        self.do(wire.execute(wire.late.pop(0)))

    @rule(who=st.sampled_from(ACTORS), back=st.integers(1, 4))
    def a_call_is_executed_once_more(self, who: str, back: int) -> None:
        wire = self.world.wires[who]
        resent = [call for call in wire.sent[-back:] if call.name != "patrol"]
        if resent:
            self.do(wire.execute(resent[0]))

    # Time, and the store

    @rule(ms=st.sampled_from([1, S, 4 * S, 6 * S, 14 * S, 31 * S, 46 * S, 61 * S, 91 * S,
                              3601 * S, 25 * 3600 * S]))  # fmt: skip
    def time_passes_unwatched(self, ms: int) -> None:
        self.do(self.world.passes(ms + 1))

    @rule(who=st.sampled_from(SWEEPERS), s=st.sampled_from([16, 46, 46, 61, 91, 120]),
          beating=st.lists(some, max_size=3), verdict=verdicts)  # fmt: skip
    def time_passes(self, who: str, s: int, beating: list[int], verdict: Verdict) -> None:
        """Watched by a sweeper and the gateways that live, while some nodes beat."""
        alive = {id(x): x for x in map(self.session, beating)} if self.has_sessions() else {}
        self.do(self._watched(who, s, list(alive.values()), verdict))

    async def _watched(self, who: str, s: int, beating: list[Session], verdict: Verdict) -> None:
        w, step = self.world, GAP - S
        for passed in range(0, s * S, step):
            await w.passes(min(step, s * S - passed))
            await w.announce()
            if passed % (3 * step) == 0:
                for x in beating:
                    await w.act(x.gateway, w.beat(x, verdict, 0, 0))
            await w.act(who, w.look(who))

    @rule(what=st.sampled_from(["forwards", "back", "remember", "remember", "fails over", "emptied",
                                *GATEWAYS]),
          ms=st.sampled_from([10 * S, 100 * S]))  # fmt: skip
    def there_is_trouble(self, what: str, ms: int) -> None:
        """The store's clock steps, the store is emptied, or another takes its place that lacks what
        was written since it was to be remembered; a gateway dies or returns."""
        if what in GATEWAYS:
            self.world.gateways ^= {what}
            self.do(self.world.announce())
        elif what == "remember":
            self.do(self.world.remember())
        elif what == "fails over":
            self.do(self.world.failover())
        elif what == "emptied":
            self.do(self.world.emptied())
        else:
            self.world.clock.steps(ms if what == "forwards" else -ms)
            self.do(self.world.looking.lapse())

    # What must hold

    @invariant()
    def the_store_is_as_the_book_says(self) -> None:
        if hasattr(self, "world"):
            self.do(self.world.looking.compares())


async def _only(deed: Coroutine[Any, Any, object]) -> None:
    await deed
