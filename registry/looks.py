"""One look for many askers.

A look over much of the store must not be made once for each of those who ask the same thing at the
same time. Who asks while a look is under way waits for the next one, which all that wait share: so
an answer is never older than its question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Question(Generic[T]):
    """Looks are numbered as they begin; `result` is that of the one numbered `done`."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    askers: int = 0
    begun: int = 0
    done: int = 0
    result: T | None = None


class Looks(Generic[T]):
    """Looks under way: for each question one at a time, and `at_once` of all of them."""

    def __init__(self, at_once: int) -> None:
        self._at_once = asyncio.Semaphore(at_once)
        self._questions: dict[Hashable, _Question[T]] = {}

    def __len__(self) -> int:
        return len(self._questions)

    async def share(self, question: Hashable, look: Callable[[], Awaitable[T]]) -> T:
        """The result of a look that began after this call."""
        asked = self._questions.setdefault(question, _Question())
        before = asked.begun
        asked.askers += 1
        try:
            async with asked.lock:
                if asked.done > before and asked.result is not None:
                    return asked.result
                async with self._at_once:
                    asked.begun += 1
                    result = await look()
                asked.result, asked.done = result, asked.begun
                return result
        finally:
            asked.askers -= 1
            if not asked.askers:
                self._questions.pop(question, None)
