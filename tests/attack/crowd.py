"""Strangers in a process of their own, each of whose ids nobody had before.

`python -m tests.attack.crowd KIND PORT RUN FIRST COUNT SECONDS` says so many ids as fast as one
gateway takes them, for so long at most, and prints what came of them as a line of JSON each half
second and at the end. `registering`: each over a socket of its own, which is cut off when it is
acknowledged. `claiming`: with a token that is not theirs, as many over a socket as it may send.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import cast

import uvloop

from tests.support.node import EXAMPLE
from tests.support.raw import UPGRADE, frame

CLAIMS = 60
"""What a socket may send at once (`MUSTER_MESSAGES_BURST`)."""
_AT_ONCE = 50
_TELL_EVERY_S = 0.5
_ANSWER_WITHIN_S = 30.0
_AGAIN_S = 0.5
_ANSWER = re.compile(rb'"(node_register_ack)"|"code":"(\w+)"')
_ACK = "node_register_ack"
_PLAIN = {key: value for key, value in EXAMPLE.items() if value is not None}


class Line(asyncio.Protocol):
    """One socket: says its messages once it is upgraded, and hears as many answers."""

    def __init__(self, messages: list[bytes]) -> None:
        self._said = b"".join(map(frame, messages))
        self._wanted = len(messages)
        self._got = b""
        self._upgraded = False
        self.answers: list[str] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # Cut off, so that no port waits for what will never come.
        cut = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, cut)
        self._transport.write(f"{UPGRADE}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._upgraded:
            head, end, self._got = self._got.partition(b"\r\n\r\n")
            if not end:
                self._got = head
                return
            self._upgraded = True
            self._transport.write(self._said)
        last = 0
        for found in _ANSWER.finditer(self._got):
            self.answers.append((found[1] or found[2]).decode())
            last = found.end()
        self._got = self._got[last:]
        if len(self.answers) >= self._wanted:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


class Crowd:
    """So many ids, said by `_AT_ONCE` sockets at a time. `answers` counts what they were told,
    `settled` those ids of which nothing more is to be said."""

    def __init__(
        self, kind: str, port: int, run: str, first: int, count: int, seconds: float
    ) -> None:
        self._until = time.monotonic() + seconds
        self._registers = kind == "registering"
        self._port = port
        self._run = run
        self._numbers = iter(range(first, first + count))
        self.answers: Counter[str] = Counter()
        self.settled = 0

    async def come(self) -> None:
        """All of them."""
        await asyncio.gather(*(self._some() for _ in range(_AT_ONCE)))

    async def _some(self) -> None:
        size = 1 if self._registers else CLAIMS
        while time.monotonic() < self._until and (numbers := list(islice(self._numbers, size))):
            messages = list(self._messages(numbers))
            answers: list[str] = []
            while len(answers) < len(messages):
                more = await self._said(messages[len(answers) :])
                self.answers.update(more)
                if self._registers and more != [_ACK]:
                    await asyncio.sleep(_AGAIN_S)
                    continue
                answers += more
            self.settled += len(numbers)

    def _messages(self, numbers: list[int]) -> Iterator[bytes]:
        for number in numbers:
            known = {**_PLAIN, "node_id": f"id-{self._run}-{number}"}
            if not self._registers:
                known["node_token"] = f"{number:032x}"
            yield json.dumps(known).encode()

    async def _said(self, messages: list[bytes]) -> list[str]:
        """What one socket is answered to these."""
        line = Line(messages)
        transport = None
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda: line, "127.0.0.1", self._port
                )
                await line.done
        except (OSError, TimeoutError):
            self.answers["no answer"] += 1
        finally:
            if transport is not None:
                transport.abort()
        return line.answers


async def _main(crowd: Crowd) -> None:
    coming = asyncio.create_task(crowd.come())
    while not coming.done():
        await asyncio.wait([coming], timeout=_TELL_EVERY_S)
        print(json.dumps({"settled": crowd.settled, "answers": crowd.answers}), flush=True)
    await coming


if __name__ == "__main__":
    kind, port, run, first, count, seconds = sys.argv[1:]
    uvloop.run(_main(Crowd(kind, int(port), run, int(first), int(count), float(seconds))))
