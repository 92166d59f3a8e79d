"""A look at how things are, shared by all who asked for it before it began.

One that had begun before may be too old: what made the others ask may have happened since."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class SharedLook:
    """One look at a time. However many ask while one is under way, one more is enough for all."""

    def __init__(self, look: Callable[[], Awaitable[None]]) -> None:
        self._look = look
        self._one = asyncio.Lock()
        self._begun = 0
        self._ended = 0  # the last that came to its end: who looks may be cancelled

    async def had(self) -> None:
        """Returns once a look has ended that began after this call. Raises what one's own look
        raises; another's that failed does not count."""
        before = self._begun
        async with self._one:
            if self._ended > before:
                return
            self._begun += 1
            await self._look()
            self._ended = self._begun
