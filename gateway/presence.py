"""This gateway says every second that it lives.

Two rules for a gateway whose presence lapsed, so that its return judges no node by what it missed.
If it was cut off from the store, the beats it holds go out before it announces itself again. If it
stood still, what lies in its sockets counts as old as the standstill, and a living node's next beat
may be an interval away: it stays away until every one had time for it. Meanwhile its nodes are
held, as those of a gateway that is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Protocol

from gateway.batcher import Batcher
from gateway.clock import StallClock, monotonic
from registry.errors import StoreError, StoreRefused
from registry.logs import log

logger = logging.getLogger("muster.gateway.presence")

FLUSH_S = 2.0
BEATS_MISSED = 1.5  # intervals in which every living node beats anew


class Roll(Protocol):
    """The registry's roll of gateways."""

    async def announce(self, gateway_id: str, info: dict[str, str]) -> None: ...
    async def withdraw(self, gateway_id: str) -> None: ...


class Presence:
    """Keeps one gateway on the roll. `answered` says whether the store took the last try, `refused`
    with which words it would not."""

    def __init__(
        self,
        roll: Roll,
        batcher: Batcher,
        clock: StallClock,
        gateway_id: str,
        info: dict[str, str],
        *,
        ttl_s: float,
        interval_s: float,
    ) -> None:
        self._roll = roll
        self._batcher = batcher
        self._clock = clock
        self._gateway_id = gateway_id
        self._info = info
        self._ttl_s = ttl_s
        self._wait_s = BEATS_MISSED * interval_s
        self._announced: float | None = None
        self._looked = (monotonic(), clock.observed())
        self._not_before = 0.0
        self.answered = True
        self.refused = ""
        self.period_s = min(1.0, ttl_s / 5)

    @property
    def ok(self) -> bool:
        """Whether others count this gateway as living."""
        return self._announced is not None and monotonic() - self._announced < self._ttl_s

    async def announce(self) -> bool:
        """Announces once; after a lapse only when it is time, and what waits was sent. False if
        it was not announced."""
        began = monotonic()
        if self._stood_still(began) >= self._ttl_s:
            self._not_before = began + self._wait_s
        lapsed = self._announced is not None and began - self._announced >= self._ttl_s
        if lapsed and (began < self._not_before or not await self._batcher.drain(FLUSH_S)):
            return False
        try:
            await self._roll.announce(self._gateway_id, self._info)
        except StoreError as error:
            log(logger, logging.DEBUG, "announce_failed", error=str(error))
            self.answered = False
            self.refused = str(error) if isinstance(error, StoreRefused) else ""
            return False
        self.answered, self.refused = True, ""
        if lapsed:
            log(logger, logging.WARNING, "presence_had_lapsed", gateway=self._gateway_id)
        self._announced = began
        return True

    def _stood_still(self, now: float) -> float:
        """Seconds for which this process stood still since the last look."""
        observed = self._clock.observed()
        before, observed_before = self._looked
        self._looked = now, observed
        return (now - before) - (observed - observed_before)

    async def run(self) -> None:
        """Announces for ever."""
        while True:
            await self.announce()
            await asyncio.sleep(self.period_s)

    async def withdraw(self) -> None:
        """Leaves the roll at once; best effort."""
        self._announced = None
        with contextlib.suppress(StoreError):
            await self._roll.withdraw(self._gateway_id)
