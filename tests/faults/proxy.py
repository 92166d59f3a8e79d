"""A door that can be shut, jammed, slowed or slammed: TCP between two of our processes.

- shut: connections are refused, those there are reset;
- jammed: connections stay, nothing passes, nothing is lost: as if packets were dropped for a while;
- a link that is lost: both ends believe in it, but whatever they say from then on is gone:
  half-open; what was on its way arrives;
- slow: everything comes late.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

_HOST = "127.0.0.1"
_CHUNK = 65536
_END_S = 2.0
_TURNS = 5


class Link:
    """One connection through a proxy. `lost`: what goes in on either side never comes out."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near = near
        self.far = far
        self.lost = False
        self.open = asyncio.Event()
        self.open.set()

    def reset(self) -> None:
        """Ends it on both sides without a word."""
        self.open.set()
        for writer in (self.near, self.far):
            writer.transport.abort()


class Proxy:
    """Listens on a port of its own and connects to `target`, which may change."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.delay_s = 0.0
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._links: dict[int, Link] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, _HOST, self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def stop(self) -> None:
        """Ends everything."""
        self.shut()
        self.unjam()
        for _ in range(_TURNS):  # what the loop accepted just before is not a task of ours yet
            await asyncio.sleep(0)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_END_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def shut(self) -> None:
        """Refuses what comes and resets what is there."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    async def unshut(self) -> None:
        """Listens again, on the same port."""
        if self._server is None:
            await self.start()

    def jam(self) -> None:
        """Lets nothing pass, on any connection."""
        self._open.clear()

    def unjam(self) -> None:
        """Lets pass what waited, and what comes."""
        self._open.set()

    def reset(self) -> None:
        """Ends every connection; new ones are taken."""
        for link in list(self._links.values()):
            link.reset()

    def link(self, port: int) -> Link | None:
        """The connection whose near end has this port."""
        return self._links.get(port)

    @property
    def links(self) -> Iterator[Link]:
        return iter(list(self._links.values()))

    async def _accept(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._open.wait()
            if self._server is None:
                raise ConnectionAbortedError("shut meanwhile")
            server = self._server
            far_reader, far = await asyncio.open_connection(_HOST, self.target)
        except (OSError, asyncio.CancelledError):
            near.transport.abort()
            return
        link = Link(near, far)
        if self._server is not server:  # shut while it connected
            link.reset()
            return
        port = int(near.get_extra_info("peername")[1])
        self._links[port] = link
        try:
            await asyncio.gather(self._pump(link, reader, far), self._pump(link, far_reader, near))
        finally:
            del self._links[port]
            link.reset()

    async def _pump(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                lost = link.lost
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._open.wait()
                await link.open.wait()
                if lost:
                    continue
                writer.write(data)
                await writer.drain()
        if not link.lost:
            await self._open.wait()
            await link.open.wait()
        if not link.lost:
            writer.close()
        elif writer is link.near:
            link.reset()
