"""The store's clock as seen from this process."""

from __future__ import annotations

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class StoreClock:
    """Estimates the store's clock from its replies.

    Every reply that tells the store's time bounds the offset between its clock and ours; the
    latest reply is believed, since a failover may bring another clock. Nothing is *decided* by
    the estimate: scripts refuse calls whose packing time is far from their own clock.
    """

    def __init__(self) -> None:
        self._offset_ms: float | None = None

    @staticmethod
    def monotonic() -> float:
        """Seconds that also pass while the machine is suspended or the process is stopped."""
        return time.clock_gettime(_CLOCK)

    def observe(self, store_ms: int, sent: float) -> None:
        """Notes that the store's clock read `store_ms` at some time since `sent` (seconds)."""
        now = self.monotonic()
        self._offset_ms = store_ms - (sent + (now - sent) / 2) * 1000

    @property
    def known(self) -> bool:
        """Whether the store has told its time yet."""
        return self._offset_ms is not None

    def now_ms(self) -> int:
        """The store's clock by our estimate, ms; 0 before it was ever heard."""
        if self._offset_ms is None:
            return 0
        return int(self.monotonic() * 1000 + self._offset_ms)
