"""Stands before a gateway and breaks connections off, wherever a test wants it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from types import TracebackType


class Cutting:
    """Passes on what comes. `bites` gives for each connection after how many bytes of answers it is
    broken off, None for never; with 0 the gateway has done what was asked, and nobody is told.
    """

    def __init__(self, port: int, bites: Iterator[int | None]) -> None:
        self._port = port
        self._bites = bites
        self._server: asyncio.Server
        self._passing: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.url = ""

    async def __aenter__(self) -> Cutting:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            with contextlib.suppress(OSError):
                await self._cut(reader, writer, next(self._bites))
        finally:
            writer.close()
            self._passing.discard(task)

    async def _cut(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
    ) -> None:
        from_gateway, to_gateway = await asyncio.open_connection("127.0.0.1", self._port)
        asking = asyncio.create_task(_copy(reader, to_gateway))
        try:
            while data := await from_gateway.read(65_536):
                writer.write(data if left is None else data[:left])
                await writer.drain()
                left = None if left is None else left - len(data)
                if left is not None and left <= 0:
                    return
        finally:
            asking.cancel()
            to_gateway.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
