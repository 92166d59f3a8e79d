"""Nodes in a process of their own that come back, all at once, whenever their sockets end.

`python -m tests.attack.flock COUNT PORT…` opens so many sockets, one after the other to each port,
registers, beats as told, and prints what it knows as a line of JSON each half second, until its
standard input ends. A node that is refused waits as long as it is told to, or a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import resource
import sys
from collections import Counter
from typing import Any

from tests.support.node import EXAMPLE
from tests.support.raw import UPGRADE, frame

TELL_EVERY_S = 0.5
_BEAT_EVERY_S = 15.0
_OPENING = 200
"""Sockets at a time that were not acknowledged yet, while the flock gathers."""
_MOMENT_S = (0.2, 0.6)
_WAIT = re.compile(rb"retry-after: (\d+)", re.IGNORECASE)


class Member(asyncio.Protocol):
    """One node, over one socket after the other."""

    def __init__(self, flock: Flock, place: int) -> None:
        self._flock = flock
        self._place = place
        self._came = b""
        self._upgraded = False
        self._identity: dict[str, Any] = {}
        self._transport: asyncio.Transport | None = None
        self._wait_s: float | None = None
        self.acked = False
        self.status = ""
        self.sockets = 0

    async def live(self) -> None:
        """For ever."""
        loop, ports = asyncio.get_running_loop(), self._flock.ports
        while True:
            port = ports[(self._place + self.sockets) % len(ports)]
            self.sockets += 1
            self._ended = loop.create_future()
            try:
                await loop.create_connection(lambda: self, "127.0.0.1", port)
                await self._ended
            except OSError as error:
                self._flock.counts[type(error).__name__] += 1
            wait_s, self._wait_s = self._wait_s, None
            await asyncio.sleep(random.uniform(*_MOMENT_S) if wait_s is None else wait_s)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._came, self._upgraded = transport, b"", False
        transport.write(f"{UPGRADE}\r\n".encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._flock.counts["sockets lost"] += self.acked
        self.acked = False
        if not self._ended.done():
            self._ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._came += data
        if not self._upgraded:
            head, end, rest = self._came.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._refused(head)
                return
            self._upgraded, self._came = True, rest
            known = {**EXAMPLE, **self._identity, "boot_id": f"boot-{self._place}"}
            self._say({**known, "attempt": self.sockets})
        while (message := self._next()) is not None:
            self._hear(message)

    def beat(self) -> None:
        if self.acked:
            self._say({"type": "node_heartbeat"})

    def _refused(self, head: bytes) -> None:
        wait = _WAIT.search(head)
        self._flock.counts[f"answered {head[9:12].decode()}"] += 1
        self._wait_s = float(wait[1]) if wait else None
        if self._transport is not None:
            self._transport.abort()

    def _say(self, message: dict[str, Any]) -> None:
        if self._transport is not None:
            self._transport.write(frame(json.dumps(message).encode()))

    def _next(self) -> dict[str, Any] | None:
        """The next whole text frame; a close is counted and left to the other side."""
        came = self._came
        if len(came) < 2:
            return None
        size, at = came[1], 2
        if size == 126:
            size, at = int.from_bytes(came[2:4]), 4
        if len(came) < at + size:
            return None
        payload, self._came = came[at : at + size], came[at + size :]
        if came[0] == 0x88:
            self._flock.counts[f"closed {int.from_bytes(payload[:2])}"] += 1
            if self._transport is not None:
                self._transport.abort()
            return None
        if came[0] != 0x81:
            return self._next()
        message: dict[str, Any] = json.loads(payload)
        return message

    def _hear(self, message: dict[str, Any]) -> None:
        counts, kind = self._flock.counts, message["type"]
        if kind == "node_register_ack":
            first = not self._identity
            self._identity = {name: message[name] for name in ("node_id", "node_token")}
            self.acked, self.status = True, message["status"]
            counts["resumed" if message.get("resumed") else "registered"] += 1
            for _ in range(3 if first else 1):
                self.beat()
        elif kind == "node_status":
            self.status = message["status"]
            counts[f"told {self.status}"] += 1
        elif kind == "node_error":
            counts[message["code"]] += 1
            self._wait_s = ((message["details"] or {}).get("retry_after_ms") or 1000) / 1000
            if self._transport is not None:
                self._transport.abort()


class Flock:
    """All of them."""

    def __init__(self, count: int, ports: list[int]) -> None:
        self.ports = ports
        self.counts: Counter[str] = Counter()
        self.members = [Member(self, place) for place in range(count)]

    def state(self) -> dict[str, Any]:
        """What there is to know now."""
        return {
            "acked": sum(member.acked for member in self.members),
            "ready": sum(member.acked and member.status == "ready" for member in self.members),
            "counts": dict(self.counts),
        }

    async def live(self) -> None:
        """Gathers, a few at a time, and beats for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            for place, member in enumerate(self.members):
                tasks.create_task(member.live())
                while place + 1 - self.counts["registered"] > _OPENING:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            for member in self.members:
                member.beat()
                due += _BEAT_EVERY_S / len(self.members)
                if due > loop.time() + 0.02:
                    await asyncio.sleep(due - loop.time())


async def _main(count: int, ports: list[int]) -> None:
    flock = Flock(count, ports)
    living = asyncio.create_task(flock.live())
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while not reader.at_eof() and not living.done():
        print(json.dumps(flock.state()), flush=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1), TELL_EVERY_S)
    living.cancel()
    await asyncio.gather(living, return_exceptions=True)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_main(int(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
