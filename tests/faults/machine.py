"""A machine of the fleet: a program on a raw WebSocket, as those in the field are, and its book.

Two kinds. A *plain* one knows the document alone: it keeps its id, and after a reconnect its first
frame is a heartbeat. The other keeps its token too, asks for heartbeat acknowledgements, and
reconnects when they stay away. Both register when told that they are not registered, wait as long
as they are told to wait, and come back after a close.

A machine can die (with or without its socket being closed), lose its network, fall ill, be slow to
read, and leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import random
import time
from collections.abc import Sequence
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.faults.book import Closed, Heard, Page, Sent, now_ms
from tests.faults.ending import end
from tests.faults.pace import Pace
from tests.faults.proxy import Proxy
from tests.support.node import EXAMPLE

_NOT_BY_ITSELF = 4500
_ILL = {"resource_usage": {"gpu_percent": 101}}


class Door(Protocol):
    """Where machines connect: a port and the proxy behind it."""

    @property
    def proxy(self) -> Proxy: ...


class Machine:
    """One machine. `run` is its program."""

    def __init__(self, page: Page, doors: Sequence[Door], pace: Pace, dice: random.Random) -> None:
        self.page = page
        self.plain = page.plain
        self.token: str | None = None
        self.boot_id = f"{page.name}-{dice.getrandbits(32):08x}"
        self.clock_error_s = 0.0
        self._doors = doors
        self._door = dice.randrange(len(doors))
        self._pace = pace
        self._dice = dice
        self._attempt = 0
        self._socket = 0
        self._ws: ClientConnection | None = None
        self._registered = False
        self._act_at = 0.0
        self._acked_at = 0.0
        self._wake = asyncio.Event()
        self._isolated = False
        self._barred = False
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"{self.page.name}/{self.page.node_id}"

    def clone(self, page: Page) -> Machine:
        """Another machine that believes to be this one: its disk was copied."""
        twin = Machine(page, self._doors, self._pace, self._dice)
        twin.token = self.token
        page.node_id = self.page.node_id
        self.page.contested = page.contested = True
        return twin

    # What happens to it

    @property
    def barred(self) -> bool:
        """Whether it was told not to come back by itself."""
        return self._barred

    @property
    def running(self) -> bool:
        return self._task is not None

    @property
    def door(self) -> int:
        """The door it goes, or went, through."""
        return self._door

    def start(self) -> None:
        """Switches it on."""
        assert self._task is None
        if not self._isolated:
            self.page.becomes_able()
        self._task = asyncio.create_task(self._run())

    async def die(self, *, silently: bool = False) -> None:
        """Its program ends. `silently`: as in a power cut, nobody is told that the socket ended."""
        self.page.becomes_unable()
        link = self._link()
        if silently and link is not None:
            link.lost = True
        if self._ws is not None:
            self._ws.transport.abort()
        await self.stop()

    async def stop(self) -> None:
        """Ends the program, whatever the book says."""
        task, self._task = self._task, None
        if task is not None:
            await end([task])

    def isolate(self, *, for_ever: bool = False) -> None:
        """Packets are dropped on its present connection; `for_ever`: it never comes to life again,
        and only a new one helps."""
        self.page.becomes_unable()
        self._isolated = True
        link = self._link()
        if link is not None and for_ever:
            link.lost = True
        elif link is not None:
            link.open.clear()

    def rejoin(self) -> None:
        """Packets pass again."""
        self._isolated = False
        if self.running:
            self.page.becomes_able()
        link = self._link()
        if link is not None and link.lost:
            link.near.transport.abort()  # its own kernel gives up in the end
        elif link is not None:
            link.open.set()
            last = self.page.sent[-1] if self.page.sent else None
            if self.running and last is not None and not last.able:  # it is delivered now
                self.page.sent.append(Sent(now_ms(), last.kind, self._socket, able=True))

    def reconnect(self) -> None:
        """Drops its socket and comes back at once."""
        if self._ws is not None:
            self._ws.transport.abort()

    def fall_ill(self) -> None:
        """From now on its reports say that it is unfit."""
        self.page.becomes_fit(False)
        self._soon()

    def get_well(self) -> None:
        self.page.becomes_fit(True)
        self._soon()

    def stop_reading(self) -> None:
        """Its program no longer reads its socket, though it goes on sending."""
        if self._ws is not None:
            self._ws.transport.pause_reading()

    def read_again(self) -> None:
        if self._ws is not None and not self._ws.transport.is_closing():
            self._ws.transport.resume_reading()

    def leave(self) -> None:
        """Takes itself off: says so until it is told that it is, or its socket ends; then its
        program ends, too."""
        self.page.left = True
        self._soon()

    # Its program

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError, WebSocketException):
                await self._one_socket()
            self._ws = None
            self._registered = False
            if self.page.left:
                self.page.becomes_unable()
            if self.page.left or self._barred:
                return
            await asyncio.sleep(self._pace.s(self._dice.uniform(1, 5)))
            self._door = (self._door + 1) % len(self._doors)

    async def _one_socket(self) -> None:
        url = f"ws://127.0.0.1:{self._doors[self._door].proxy.port}/ws/node"
        patience = None if self.plain else self._pace.timeout_s
        async with connect(
            url,
            compression=None,
            proxy=None,
            open_timeout=max(1.0, self._pace.s(10)),
            close_timeout=0.5,
            ping_interval=patience,
            ping_timeout=patience,
        ) as ws:
            self._ws = ws
            self._socket += 1
            self._attempt += 1
            self.page.doors.append((now_ms(), self._socket, self._door))
            self._act_at = self._acked_at = time.monotonic()
            if self._isolated:
                self.isolate()
            if self.plain and self.page.node_id:
                await self._beat()
            talking = asyncio.create_task(self._talk())
            try:
                await self._listen(ws)
            finally:
                await end([talking])

    async def _talk(self) -> None:
        while True:
            now = time.monotonic()
            if now >= self._act_at:
                if self._registered or self.page.left:
                    self._act_at = now + self._pace.interval_s * self._dice.uniform(0.8, 1)
                    await (self._unregister() if self.page.left else self._beat())
                else:
                    self._act_at = now + max(2.0, self._pace.s(30))
                    await self._register()
            if not self.plain and now - self._acked_at > self._pace.timeout_s:
                self.reconnect()
                return
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._wake.wait(), max(0.01, min(self._act_at - now, self._pace.interval_s))
                )

    async def _listen(self, ws: ClientConnection) -> None:
        try:
            async for text in ws:
                frame = json.loads(text)
                self.page.heard.append(Heard(now_ms(), frame, self._socket))
                self._heard(frame)
        except ConnectionClosed:
            pass
        finally:
            code = ws.close_code or 1006
            self.page.closed.append(Closed(now_ms(), self._socket, code))
            if code >= _NOT_BY_ITSELF:
                self._barred = True
                self.page.becomes_unable()

    def _heard(self, frame: dict[str, Any]) -> None:
        page = self.page
        self._acked_at = time.monotonic()
        match frame["type"]:
            case "node_register_ack":
                page.node_id = frame["node_id"]
                self._registered = True
                if not self.plain:
                    self.token = frame.get("node_token", self.token)
                self._soon()
            case "node_error":
                self._refused(frame["code"], frame.get("details") or {})
            case "node_status" if page.left and frame["status"] == "offline":
                page.left_at = now_ms()
                page.becomes_unable()
                self.reconnect()

    def _refused(self, code: str, details: dict[str, Any]) -> None:
        retry_s = details.get("retry_after_ms", 0) / 1000
        if code == "NOT_REGISTERED" and not self.page.left:
            self._registered = False
            self._soon()
        elif code in ("UNAVAILABLE", "RATE_LIMITED", "NODE_ID_CONFLICT"):
            self._act_at = time.monotonic() + (retry_s or self._pace.timeout_s)
            self._wake.set()

    async def _register(self) -> None:
        message: dict[str, Any] = copy.deepcopy(EXAMPLE)
        message["node_id"] = self.page.node_id or None
        if not self.plain:
            message |= {"boot_id": self.boot_id, "attempt": self._attempt, "heartbeat_ack": True}
            if self.token:
                message["node_token"] = self.token
        await self._send(message)

    async def _beat(self) -> None:
        message: dict[str, Any] = {
            "type": "node_heartbeat",
            "node_id": self.page.node_id,
            "timestamp": now_ms() + round(self.clock_error_s * 1000),
            "resource_usage": {"cpu_percent": 12.5, "gpu_percent": 40.0, "running_jobs": 0},
        }
        if not self.page.fit:
            message |= _ILL
        await self._send(message)

    async def _unregister(self) -> None:
        await self._send({"type": "node_unregister", "reason": "its owner wants it back"})

    async def _send(self, message: dict[str, Any]) -> None:
        page = self.page
        if self._ws is not None:
            sent = Sent(now_ms(), message["type"], self._socket, page.is_able, page.fit)
            page.sent.append(sent)
            await self._ws.send(json.dumps(message))

    def _soon(self) -> None:
        self._act_at = time.monotonic()
        self._wake.set()

    def _link(self) -> Any:
        if self._ws is None or self._ws.local_address is None:
            return None
        return self._doors[self._door].proxy.link(int(self._ws.local_address[1]))
