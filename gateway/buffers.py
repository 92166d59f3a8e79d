"""What all sockets of this process together may hold in memory.

When the bound is passed, the socket that holds most goes (4429), not the one whose small frame
happened to be the last straw: nobody pays for somebody else's flood.
"""

from __future__ import annotations

from typing import Protocol

SMALL = 64 * 1024


class Hoarder(Protocol):
    """A socket with received bytes that nobody took yet."""

    def overflow(self) -> None: ...


class Buffers:
    """The sum of what sockets hold, and who holds much."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._large: dict[Hoarder, int] = {}
        self.total = 0

    def change(self, hoarder: Hoarder, before: int, after: int) -> None:
        """Notes that a socket's holding changed; may call `overflow` on the largest one."""
        self.total += after - before
        if after > SMALL:
            self._large[hoarder] = after
        elif before > SMALL:
            self._large.pop(hoarder, None)
        if self.total > self._limit and after > before:
            largest = max(self._large, key=self._large.__getitem__, default=hoarder)
            largest.overflow()
