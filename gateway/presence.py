"""This gateway says every second that it lives.

A gateway whose presence lapsed was cut off from the store: the beats it holds go out before it
announces itself again, so that its return judges no node by what the cut hid.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Protocol

from gateway.batcher import Batcher
from gateway.clock import monotonic
from registry.errors import StoreError
from registry.logs import log

logger = logging.getLogger("muster.gateway.presence")

FLUSH_S = 2.0


class Roll(Protocol):
    """The registry's roll of gateways."""

    async def announce(self, gateway_id: str, info: dict[str, str]) -> None: ...
    async def withdraw(self, gateway_id: str) -> None: ...


class Presence:
    """Keeps one gateway on the roll."""

    def __init__(
        self, roll: Roll, batcher: Batcher, gateway_id: str, info: dict[str, str], ttl_s: float
    ) -> None:
        self._roll = roll
        self._batcher = batcher
        self._gateway_id = gateway_id
        self._info = info
        self._ttl_s = ttl_s
        self._announced: float | None = None
        self.period_s = min(1.0, ttl_s / 5)

    @property
    def ok(self) -> bool:
        """Whether others count this gateway as living."""
        return self._announced is not None and monotonic() - self._announced < self._ttl_s

    async def announce(self) -> bool:
        """Announces once, flushing first after a lapse; False if that could not be done."""
        began = monotonic()
        lapsed = self._announced is not None and began - self._announced >= self._ttl_s
        if lapsed and not await self._batcher.drain(FLUSH_S):
            return False
        try:
            await self._roll.announce(self._gateway_id, self._info)
        except StoreError as error:
            log(logger, logging.DEBUG, "announce_failed", error=str(error))
            return False
        if lapsed:
            log(logger, logging.WARNING, "presence_had_lapsed", gateway=self._gateway_id)
        self._announced = began
        return True

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
