"""This process's clock, and the age of frames.

A frame's age matters: a node that died while we were paused must not be brought back by what it
sent before. Two rules:

1. A ticker runs ten times a second. If a tick, or a read, finds the last tick more than half a
   second ago, this process stood still since then, and whatever it reads now may have arrived at
   any time since that tick. That holds until the loop has polled every socket again.
2. A socket whose read filled the buffer has more waiting from the same time; and a socket we did
   not read from (back-pressure) may hold frames as old as the pause. `gateway/transport.py` knows
   those two and asks here for the rest.

This does not measure how long a frame was under way; nobody can.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_READ = partial(time.clock_gettime, _CLOCK)  # `monotonic` without a frame of Python

TICK_S = 0.1
GAP_S = 0.5
POLLS = 3  # hops of call_soon: the loop has polled at least twice in between


def monotonic() -> float:
    """Seconds that also pass while the machine is suspended or the process is stopped."""
    return time.clock_gettime(_CLOCK)


class StallClock:
    """Knows when this process stood still, and so how old a frame read now may be."""

    def __init__(
        self,
        now: Callable[[], float] = _READ,
        soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._now = now
        self._soon = soon
        self._last_tick = now()
        self._floor: float | None = None
        self._stall = 0
        self._stalled_s = 0.0

    @property
    def suspect(self) -> bool:
        """Whether frames read now may be older than they look."""
        return self._floor is not None

    def arrived(self, now: float) -> float:
        """The earliest instant at which what is read now may have reached this machine, for a
        caller who has just looked."""
        return now if self._floor is None else self._floor

    def observed(self) -> float:
        """Seconds of this process's life without the time it stood still."""
        return self.look() - self._stalled_s

    def lived(self, now: float) -> float:
        """`observed` for a caller who has just looked."""
        return now - self._stalled_s

    @property
    def stalled_s(self) -> float:
        """Seconds this process stood still."""
        self.look()
        return self._stalled_s

    def tick(self) -> None:
        """To be called every `TICK_S`."""
        self._last_tick = self.look()

    async def run(self) -> None:
        """Ticks for ever."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)

    def look(self) -> float:
        """The time (monotonic, s); finds out whether the process stood still until now."""
        now = self._now()
        gap = now - self._last_tick
        if gap > GAP_S:
            if self._floor is None:
                self._floor = self._last_tick
            self._stalled_s += gap - TICK_S
            self._last_tick = now
            self._stall += 1
            self._hop(self._stall, POLLS)
        return now

    def _hop(self, stall: int, left: int) -> None:
        if stall != self._stall:
            return  # another stall began meanwhile: its own hops end the suspicion
        if left == 0:
            self._floor = None
            return
        soon = self._soon or asyncio.get_running_loop().call_soon
        soon(lambda: self._hop(stall, left - 1))
