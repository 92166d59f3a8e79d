"""The client that waits, as if it were the other: each of its steps in a thread. So one test says
what both must do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import Any

from muster.client import Client, Held

_END = object()
_STREAMS = ("nodes", "pages", "events", "watch")


class Blocking:
    """`Client` with the interface of `AsyncClient`."""

    def __init__(self, *servers: str, **more: Any) -> None:
        self._client = Client(*servers, **more)

    async def __aenter__(self) -> Blocking:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._client.close)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        async def call(*args: Any, **more: Any) -> Any:
            return await asyncio.to_thread(method, *args, **more)

        def stream(*args: Any, **more: Any) -> AsyncGenerator[Any, None]:
            return _told(method(*args, **more))

        return stream if name in _STREAMS else call

    @asynccontextmanager
    async def hold(self, **more: Any) -> AsyncIterator[Held]:
        """`Client.hold`, left as it is left here."""
        block = self._client.hold(**more)
        place = await asyncio.to_thread(block.__enter__)
        try:
            yield place
        except BaseException as error:
            if not await asyncio.to_thread(block.__exit__, type(error), error, None):
                raise
        else:
            await asyncio.to_thread(block.__exit__, None, None, None)


async def _told(told: Generator[Any, None, None]) -> AsyncGenerator[Any, None]:
    try:
        while (one := await asyncio.to_thread(next, told, _END)) is not _END:
            yield one
    finally:
        await asyncio.to_thread(told.close)
