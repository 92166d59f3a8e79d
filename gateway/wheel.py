"""One wheel looks after every socket's deadlines, instead of timers per socket.

A registered socket that was silent for a time-out is pinged; silent for twice that, it is closed
(4410). One without a registration is closed 60 s after it connected, last tried, or was taken off
(4408). Time in which this process stood still is nobody's silence: the caller's clock leaves it
out (`StallClock.observed`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Protocol


class Due(Enum):
    """What a socket's deadlines ask for now."""

    NOTHING = "nothing"
    PING = "ping"
    SILENT = "silent"
    UNREGISTERED = "unregistered"


class Spoke(Protocol):
    """One socket as the wheel sees it; instants in observed seconds."""

    @property
    def registered(self) -> bool: ...
    @property
    def heard(self) -> float: ...
    @property
    def unregistered_since(self) -> float: ...
    def ping(self) -> None: ...
    def reap(self, due: Due) -> None: ...


def judge(
    spoke: Spoke, now: float, *, timeout_s: float, factor: float, register_timeout_s: float
) -> Due:
    """What is due for one socket at `now`."""
    if not spoke.registered:
        late = now - spoke.unregistered_since >= register_timeout_s
        return Due.UNREGISTERED if late else Due.NOTHING
    silence = now - spoke.heard
    if silence >= factor * timeout_s:
        return Due.SILENT
    return Due.PING if silence >= timeout_s else Due.NOTHING


class Wheel:
    """Turns once in a while over all sockets."""

    def __init__(
        self,
        spokes: Callable[[], Iterable[Spoke]],
        now: Callable[[], float],
        *,
        timeout_s: float,
        factor: float,
        register_timeout_s: float,
    ) -> None:
        self._spokes = spokes
        self._now = now
        self._timeout_s = timeout_s
        self._factor = factor
        self._register_timeout_s = register_timeout_s
        self.period_s = min(1.0, timeout_s / 10, register_timeout_s / 10)

    def turn(self) -> None:
        """Looks at every socket once."""
        now = self._now()
        for spoke in list(self._spokes()):
            due = judge(
                spoke,
                now,
                timeout_s=self._timeout_s,
                factor=self._factor,
                register_timeout_s=self._register_timeout_s,
            )
            if due is Due.PING:
                spoke.ping()
            elif due is not Due.NOTHING:
                spoke.reap(due)

    async def run(self) -> None:
        """Turns for ever."""
        while True:
            await asyncio.sleep(self.period_s)
            self.turn()
