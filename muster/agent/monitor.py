"""Watches the cards, so that whoever asks how they are is answered at once.

A task of its own asks the worker process and keeps the last answer; readers never wait. What can
hang is only the worker:
a card whose answer is late is `probe_timeout`, the worker is killed, the other cards are asked
through a new one; the late card is asked again, last and ever less often, until it answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from muster.agent.facts import Answer, CardReading, CardWanted, Request
from muster.agent.hardware import GpuSnapshot, GpuState, Hardware
from muster.agent.health import CardHealth
from muster.agent.worker import Worker, WorkerError

FIRST_DEADLINE_S = 10.0
"""For the first words of a worker: the driver may have to wake up first, which takes seconds on a
machine with many cards."""

SLOW_SOURCES_S = {"nvidia-smi": 30.0, "macos": 30.0}
"""Sources that start a process for each look are asked no more often than this."""

LATE_MOST_S = 60.0
"""A card that hangs is asked again at least this often."""


class ReadingSource(Protocol):
    """Who reads the cards in the place of the worker."""

    async def read(self) -> Sequence[CardReading]:
        """One reading for each card, in order."""


class GpuMonitor:
    """The state of one machine's cards. Belongs to one event loop.

    `on_change` is called whenever a card became ill or healthy, or is ill for another reason.
    """

    def __init__(
        self,
        hardware: Hardware,
        interval_s: float = 5.0,
        deadline_s: float = 3.0,
        source: ReadingSource | None = None,
        *,
        on_change: Callable[[], None] | None = None,
        first_deadline_s: float = FIRST_DEADLINE_S,
        worker: Worker | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_change = on_change
        self._interval_s = interval_s
        self._deadline_s = deadline_s
        self._first_deadline_s = max(first_deadline_s, deadline_s)
        self._source = source
        self._worker = worker or Worker()
        self._clock = clock
        self.replace(hardware)

    def latest(self) -> GpuSnapshot:
        """The last known state; until there is an answer the cards are as they were found."""
        states = tuple(card.state for card in self._cards)
        return GpuSnapshot(
            gpu_percent=_mean([state.gpu_percent for state in states]),
            gpu_mem_percent=self._memory_percent(),
            gpus=states,
        )

    def replace(self, hardware: Hardware) -> None:
        """From now on these are the cards."""
        self._hardware = hardware
        self._cards = [CardHealth(gpu) for gpu in hardware.gpus]
        self._late = [_Late(self._interval_s) for _ in hardware.gpus]

    async def run(self) -> None:
        """Looks at the cards again and again until cancelled."""
        pause_s = max(self._interval_s, SLOW_SOURCES_S.get(self._hardware.source, 0.0))
        try:
            while True:
                await self.look()
                await asyncio.sleep(pause_s)
        finally:
            await self._worker.close()

    async def look(self) -> None:
        """Looks once at every card whose turn it is."""
        cards, late = self._cards, self._late
        before = [_health(card.state) for card in cards]
        if self._source is not None:
            for card, reading in zip(cards, await self._source.read(), strict=False):
                card.see(reading, self._clock())
        else:
            await self._ask(cards, late)
        changed = [_health(card.state) for card in cards] != before
        if changed and cards is self._cards and self.on_change is not None:
            self.on_change()

    async def _ask(self, cards: list[CardHealth], late: list[_Late]) -> None:
        now = self._clock()
        order = sorted(range(len(cards)), key=lambda at: late[at].times)
        asked = [at for at in order if late[at].due_at <= now]
        if not asked:
            return
        wanted: list[CardWanted] = [
            {"at": at, "uuid": cards[at].state.uuid, "index": cards[at].state.index} for at in asked
        ]
        waiting = list(asked)
        begun = False
        fault = "gpu_lost"

        def told(answer: Answer) -> None:
            nonlocal begun, fault
            begun = begun or answer.get("begun", False)
            fault = answer.get("fault", fault)
            if "reading" in answer:
                at = answer["at"]
                waiting.remove(at)
                cards[at].see(answer["reading"], self._clock())
                late[at].answered()

        request: Request = {"ask": "read", "source": self._hardware.source, "cards": wanted}
        first_s = self._deadline_s if self._worker.pid else self._first_deadline_s
        try:
            await self._worker.ask(request, first_s, told, each_s=self._deadline_s)
        except WorkerError as error:
            # The first that has not answered is the one that hangs; before `begun` it is all.
            for at in waiting[:1] if begun else waiting:
                cards[at].miss(error.code)
                late[at].missed(self._clock())
        else:
            for at in waiting:
                cards[at].miss(fault)

    def _memory_percent(self) -> float | None:
        told = [card.memory for card in self._cards if card.memory is not None]
        total = sum(of for _, of in told)
        return round(100 * sum(used for used, _ in told) / total, 1) if total else None


class _Late:
    """How often a card was late in a row, and when it is asked again."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self.times = 0
        self.due_at = 0.0

    def answered(self) -> None:
        self.times, self.due_at = 0, 0.0

    def missed(self, now: float) -> None:
        self.times += 1
        self.due_at = now + min(LATE_MOST_S, self._interval_s * 2 ** (self.times - 1))


def _health(state: GpuState) -> tuple[bool, str | None]:
    return state.healthy, state.reason


def _mean(figures: list[float | None]) -> float | None:
    told = [figure for figure in figures if figure is not None]
    return round(sum(told) / len(told), 1) if told else None
