"""A way to a gateway that can hold back what its stream of events says, and let it go evenly.

So many real events a second reach a page, however many the machine can make in one just then."""

from __future__ import annotations

import asyncio
import contextlib
import time

_HOST = "127.0.0.1"
_CHUNK = 65536
_STEP_S = 0.02
_STREAM = b"GET /v1/events?"


class Sluice:
    """For one reader of one stream; all else passes as it comes."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._held = bytearray()
        self._holds = False
        self._reader: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listens."""
        self._server = await asyncio.start_server(self._accept, _HOST, 0)

    @property
    def url(self) -> str:
        """The address that leads to the gateway."""
        assert self._server is not None
        return f"http://{_HOST}:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Ends every connection."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold(self) -> None:
        """From now on the stream's bytes are kept. A page believes in a silent stream for 46 s."""
        self._holds = True

    async def let_go(self, over_s: float) -> None:
        """Everything that was kept, evenly over so many seconds; then all passes again."""
        whole, begun = len(self._held), time.monotonic()
        sent, share = 0, 0.0
        while share < 1:
            await asyncio.sleep(_STEP_S)
            share = min(1.0, (time.monotonic() - begun) / over_s)
            due = int(whole * share) - sent
            self._write(due)
            sent += due
        self._holds = False
        self._write(len(self._held))

    def _write(self, count: int) -> None:
        assert self._reader is not None, "nobody reads the stream"
        self._reader.write(self._held[:count])
        del self._held[:count]

    async def _accept(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        far_reader, far = await asyncio.open_connection(_HOST, self._target)
        try:
            with contextlib.suppress(OSError):
                await asyncio.gather(self._up(reader, far, near), self._down(far_reader, near))
        finally:
            near.transport.abort()
            far.transport.abort()

    async def _up(
        self, reader: asyncio.StreamReader, far: asyncio.StreamWriter, near: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(_CHUNK):
            if data.startswith(_STREAM) and b"until=" not in data.partition(b"\r\n")[0]:
                self._reader = near
            far.write(data)
            await far.drain()
        far.close()

    async def _down(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if near is not self._reader:
                near.write(data)
                await near.drain()
                continue
            self._held += data
            if not self._holds:
                self._write(len(self._held))
        near.close()
