"""Failovers as they happen, also those that nobody planned.

On a busy machine a primary that does not answer its sentinels for a second is replaced. What it
took in its last moment is then lost as in any failover, for replication waits for nobody; the book
must know of it. How long that moment may last is what is promised: the sentinels notice within a
second that they promoted another, and processes ask them twice a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.faults.book import Book, now_ms

NOTICED_MS = 1000
REPLICATION_LAG_MS = 1000
HEARD_OF_S = 1.0
_EVERY_S = 0.2


class Succession:
    """Writes losses into the book; `epoch` is the newest configuration any sentinel knows."""

    def __init__(self, epoch: Callable[[], int], book: Book) -> None:
        self._epoch = epoch
        self._book = book

    async def run(self) -> None:
        """Watches for ever."""
        known = await asyncio.to_thread(self._epoch)
        while True:
            await asyncio.sleep(_EVERY_S)
            epoch, at = await asyncio.to_thread(self._epoch), now_ms()
            if epoch > known:
                known = epoch
                self._book.note("the sentinels name another primary")
                await asyncio.sleep(HEARD_OF_S)
                self._book.store_lost(at - NOTICED_MS - REPLICATION_LAG_MS)
