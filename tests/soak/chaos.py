"""What happens to a system that soaks: mild, in turn, with time to recover from each."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from bench.scale.machine import System
from muster.cli.children import Child
from muster.cli.up import ask_ready
from tests.soak.fleet import Fleet

CYCLE_S = 300.0
_ENDS_WITHIN_S = 60.0


@dataclass(frozen=True)
class Act:
    """One thing that is done, in seconds at true speed: when, for how long, and for how long after
    that it may still be felt in waits."""

    name: str
    at_s: float
    lasts_s: float
    felt_s: float


_ONCE = (
    Act("gateway restarted", 10, 30, 20),
    Act("machines silent", 60, 80, 0),
    Act("GPUs lost", 65, 80, 0),
    Act("gateway killed", 180, 10, 25),
    Act("sweeper paused", 225, 20, 10),
    Act("store stalled", 265, 4, 15),
)


def plan(minutes: float) -> list[Act]:
    """What is done in so many minutes at true speed; all of it is over before they are."""
    acts = []
    for cycle in range(int(minutes * 60 // CYCLE_S) + 1):
        for act in _ONCE:
            at = cycle * CYCLE_S + act.at_s
            recovers_s = 50 if act.name in ("machines silent", "GPUs lost") else 20
            if at + act.lasts_s + recovers_s <= minutes * 60:
                acts.append(Act(act.name, at, act.lasts_s, act.felt_s))
    return acts


class Chaos:
    """Does it. `staying`: how many of the gateways nothing is done to."""

    def __init__(self, made: System, fleet: Fleet, speed: float, staying: int) -> None:
        self.made = made
        self._fleet = fleet
        self._speed = speed
        self._staying = staying
        self._turn = 0
        self._felt: list[tuple[str, float, float]] = []
        self.lives: list[Child] = list(made.gateways)
        self.done: dict[str, int] = {}
        self.stopped_late = 0

    def during(self, low: float, high: float) -> tuple[str, ...]:
        """What is felt at some time between two instants of the monotonic clock."""
        return tuple(name for name, begin, end in self._felt if begin <= high and end >= low)

    @property
    def now(self) -> tuple[str, ...]:
        """What is going on."""
        at = time.monotonic()
        return tuple(name for name, begin, end in self._felt if begin <= at <= end)

    async def run(self, acts: list[Act]) -> None:
        """All of them, each at its time. An act that takes longer than it should delays none."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for act in acts:
                await asyncio.sleep(max(0.0, begun + act.at_s / self._speed - time.monotonic()))
                tasks.create_task(self._perform(act))

    async def _perform(self, act: Act) -> None:
        place = len(self._felt)
        now = time.monotonic()
        self._felt.append((act.name, now, now + (act.lasts_s + act.felt_s) / self._speed))
        lasts_s = act.lasts_s / self._speed
        if act.name == "gateway restarted":
            await self._restarted(self._next_gateway())
        elif act.name == "gateway killed":
            await self._killed(self._next_gateway(), lasts_s)
        elif act.name == "machines silent":
            await self._struck("silenced", lasts_s)
        elif act.name == "GPUs lost":
            await self._struck("ill", lasts_s)
        elif act.name == "sweeper paused":
            sweepers = self.made.sweepers
            paused = sweepers[self.done.get(act.name, 0) % len(sweepers)].process.pid
            await _paused(paused, lasts_s)
        else:
            await _paused(self.made.store.pid, lasts_s)
        self.done[act.name] = self.done.get(act.name, 0) + 1
        name, begin, end = self._felt[place]
        self._felt[place] = name, begin, max(end, time.monotonic() + act.felt_s / self._speed)

    def _next_gateway(self) -> int:
        hit = len(self.lives) - self._staying
        self._turn += 1
        return self._staying + self._turn % hit

    async def _restarted(self, place: int) -> None:
        child = self.lives[place]
        child.terminate()
        if not await _until(lambda: child.ended, _ENDS_WITHIN_S):
            self.stopped_late += 1
            child.kill()
        await self._start(place)

    async def _killed(self, place: int, away_s: float) -> None:
        self.lives[place].kill()
        await asyncio.sleep(away_s)
        await self._start(place)

    async def _start(self, place: int) -> None:
        self.lives[place] = self.made.start_gateway(place)
        port = self.made.gateway_ports[place]
        ready = await _until(lambda: ask_ready("127.0.0.1", port)[0], _ENDS_WITHIN_S)
        assert ready, self.lives[place].log_tail()

    async def _struck(self, group: str, lasts_s: float) -> None:
        self._fleet.say(group, "strike")
        await asyncio.sleep(lasts_s)
        self._fleet.say(group, "heal")


async def _paused(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def _until(true: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not await asyncio.to_thread(true):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.1)
    return True
