"""What came over one socket and was not taken yet: one writer, one reader, in order.

`asyncio.Queue` does this for any number of both, and takes two and a half thousand bytes for it in
every idle socket. uvicorn's protocol calls the methods below and no other.
"""

from __future__ import annotations

import asyncio
from typing import Any


class Mailbox:
    """Events for one reader. Its bound is the transport's: reading pauses while one is unread."""

    __slots__ = ("_events", "_waiting")

    def __init__(self) -> None:
        self._events: list[Any] = []
        self._waiting: asyncio.Future[None] | None = None

    def empty(self) -> bool:
        return not self._events

    def put_nowait(self, event: Any) -> None:
        self._events.append(event)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def get(self) -> Any:
        """The oldest event; waits until there is one."""
        while not self._events:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self._events.pop(0)


class AtOnce:
    """Stands for uvicorn's event that a slow reader would make its senders wait for. One is enough
    for all sockets, as ours never wait (see `gateway/transport.py`)."""

    def set(self) -> None:
        """The reader has caught up: nobody waited."""

    def clear(self) -> None:
        """The reader is slow: nobody waits."""

    async def wait(self) -> None:
        """Over at once."""
