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

STOPPED_S = 2.0
"""An answer later than twice its deadline and this: it was the agent that stood still, not a card.
The machine slept, or somebody stopped the process."""

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
        round_ = _Round(cards, late, self._clock)
        if not round_.waiting:
            return
        request: Request = {
            "ask": "read",
            "source": self._hardware.source,
            "cards": round_.wanted(),
        }
        first_s = self._deadline_s if self._worker.pid else self._first_deadline_s
        try:
            await self._worker.ask(request, first_s, round_.told, each_s=self._deadline_s)
        except WorkerError as error:
            if self._clock() - round_.heard_at <= 2 * first_s + STOPPED_S:
                round_.failed(error.code)
        else:
            round_.ended()

    def _memory_percent(self) -> float | None:
        told = [card.memory for card in self._cards if card.memory is not None]
        total = sum(of for _, of in told)
        return round(100 * sum(used for used, _ in told) / total, 1) if total else None


class _Round:
    """One look at the cards whose turn it is; those that were late come last."""

    def __init__(
        self, cards: list[CardHealth], late: list[_Late], clock: Callable[[], float]
    ) -> None:
        self._cards = cards
        self._late = late
        self._clock = clock
        self._begun = False
        self._fault = "gpu_lost"
        self.heard_at = clock()
        order = sorted(range(len(cards)), key=lambda at: late[at].times)
        self.waiting = [at for at in order if late[at].due_at <= self.heard_at]

    def wanted(self) -> list[CardWanted]:
        """What the worker is asked for."""
        states = [(at, self._cards[at].state) for at in self.waiting]
        return [{"at": at, "uuid": state.uuid, "index": state.index} for at, state in states]

    def told(self, answer: Answer) -> None:
        """A line of the worker's answer."""
        self.heard_at = self._clock()
        self._begun = self._begun or answer.get("begun", False)
        self._fault = answer.get("fault", self._fault)
        if "reading" in answer:
            at = answer["at"]
            self.waiting.remove(at)
            self._cards[at].see(answer["reading"], self.heard_at)
            self._late[at].answered()

    def failed(self, code: str) -> None:
        """The answer broke off: the first card that has none is to blame, before `begun` all."""
        for at in self.waiting[:1] if self._begun else self.waiting:
            self._cards[at].miss(code)
            self._late[at].missed(self._clock())

    def ended(self) -> None:
        """The answer is complete: cards without a reading are not known any more."""
        for at in self.waiting:
            self._cards[at].miss(self._fault)


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
