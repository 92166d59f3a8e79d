"""One life of a node: one socket, from the registration to its end.

A task reads, and hands every frame to the conversation the moment it comes; a loop sends what is
due. Nothing that may hang is awaited without a deadline, so beats leave on time whatever happens
elsewhere. Any failure ends the life; the session begins the next.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from msgspec import Struct
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from muster.agent.conversation import (
    Conversation,
    Event,
    Moving,
    Refused,
    Registered,
    StatusTold,
    Then,
)
from muster.agent.endings import ClosedBy, End, Left, Lost, Removed, Renewing
from muster.agent.report import Report
from muster.agent.trouble import Trouble
from muster.wire.closing import retry_policy

SEND_S = 5.0
"""How long a frame may wait for a full socket."""

LINGER_S = 1.0
"""How long the server has to close a socket after a conflict: the code says whether to forget."""

FAREWELL_S = 5.0
"""How long a server may leave a farewell unanswered while no job runs."""


class Leaving(Struct, frozen=True):
    """The node shall leave, by `deadline` (of the session's clock) at the latest."""

    reason: str
    deadline: float


class Life:
    """Runs one conversation over a connected socket.

    `report` tells what the machine is now, `told` gets every event, `beaten` every beat's next one.
    """

    def __init__(
        self,
        ws: ClientConnection,
        conversation: Conversation,
        *,
        report: Callable[[], Report],
        told: Callable[[Event], None],
        beaten: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ws = ws
        self._conversation = conversation
        self._report = report
        self._told = told
        self._beaten = beaten
        self._clock = clock
        self._outbox: deque[bytes] = deque()
        self._end: End | None = None
        self._forgetting: tuple[Refused, float] | None = None
        self._leaving: Leaving | None = None
        self._farewell_at: float | None = None
        self._answered = False
        self._wake = asyncio.Event()
        self._registered_at: float | None = None

    @property
    def registered(self) -> bool:
        """Whether the server took the node in."""
        return self._registered_at is not None

    @property
    def lasted(self) -> bool:
        """Whether the node was kept for as long as an interval between heartbeats."""
        at = self._registered_at
        return at is not None and self._clock() - at >= self._conversation.interval_s

    @property
    def next_beat(self) -> float | None:
        """When the next heartbeat is due, by the session's clock."""
        return self._conversation.next_beat

    async def run(self) -> End:
        """Lives until something ends it."""
        listening = asyncio.create_task(self._listen())
        listening.add_done_callback(lambda _: self._wake.set())
        try:
            return await self._converse(listening)
        except ConnectionClosed:
            await listening  # it knows the code
            return self._ended() or Lost(Trouble.LOST, "")
        except TimeoutError:
            return Lost(Trouble.SILENT, f"a frame could not be sent within {SEND_S:g} s")
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._ws.close()

    def beat_now(self) -> None:
        """Something changed that the server should know at once."""
        self._conversation.beat_now(self._clock())
        self._wake.set()

    def job_result(self, job_id: str, **result: Any) -> None:
        """Tells of a finished job in its turn."""
        self._outbox.append(self._conversation.job_result(job_id, **result))
        self._wake.set()

    def renew(self) -> None:
        """Ends this life, as a heartbeat can't say what changed; a node that leaves stays."""
        if self._leaving is None:
            self._finish(Renewing())

    def leave(self, leaving: Leaving) -> None:
        """Says farewell once registered, and ends when the server let go."""
        self._leaving = leaving
        self._wake.set()

    async def _converse(self, listening: asyncio.Task[None]) -> End:
        await self._send(self._conversation.register(self._report(), self._clock()))
        while True:
            self._wake.clear()  # first: whatever comes from here on is seen in the next turn
            if listening.done():
                listening.result()  # a bug of ours is not to pass for a silent server
            now = self._clock()
            end = self._ended() or self._overdue(now)
            if end is None and self._leaving is not None and self.registered:
                end = await self._part(self._leaving, now)
            if end is not None:
                return end
            if self._conversation.beat_due(now):
                await self._beat(now)
            while self._outbox:
                await self._send(self._outbox.popleft())
            with suppress(TimeoutError):  # and not wait_for, which may swallow a cancellation
                async with asyncio.timeout(self._wait(self._clock())):
                    await self._wake.wait()

    async def _beat(self, now: float) -> None:
        frame = self._conversation.beat(self._report(), now, timestamp=int(time.time() * 1000))
        await self._send(frame)
        async with asyncio.timeout(SEND_S):
            pong = await self._ws.ping()
        asyncio.ensure_future(pong).add_done_callback(self._pong)
        self._beaten()

    def _pong(self, answer: asyncio.Future[float]) -> None:
        if not answer.cancelled() and answer.exception() is None:
            self._conversation.pong()

    async def _send(self, frame: bytes) -> None:
        async with asyncio.timeout(SEND_S):
            await self._ws.send(frame, text=True)

    async def _listen(self) -> None:
        try:
            async for frame in self._ws:
                self._hear(frame)
        except ConnectionClosed as closed:
            end = closed.rcvd
            detail = str(closed)
        else:
            end = self._ws.protocol.close_rcvd
            detail = ""
        if end is None:
            self._finish(Lost(Trouble.LOST, detail))
        else:
            self._finish(ClosedBy(end.code, end.reason))

    def _hear(self, frame: str | bytes) -> None:
        event = self._conversation.hear(frame, self._clock())
        match event:
            case Registered():
                self._registered_at = self._clock()
            case StatusTold(status="offline"):
                self._offline(event)
            case StatusTold():
                self._answered = self._farewell_at is not None
            case Refused(then=Then.FORGET):
                self._forgetting = (event, self._clock() + LINGER_S)
            case Refused() if event.then is not Then.STAY:
                self._finish(event)
            case Moving():
                self._finish(event)
        self._told(event)
        self._wake.set()

    def _offline(self, told: StatusTold) -> None:
        """Only silence is mended by going on; a deliberate end is one."""
        if told.reason == "removed":
            self._finish(Removed())
        elif self._farewell_at is not None:
            self._finish(Left())

    def _finish(self, end: End) -> None:
        """The first end counts."""
        if self._end is None:
            self._end = end
        self._wake.set()

    def _ended(self) -> End | None:
        """The end, if there is one. After a conflict a close says whether it is for good."""
        if self._forgetting is not None and isinstance(self._end, ClosedBy | Lost):
            final = isinstance(self._end, ClosedBy) and retry_policy(self._end.code) == "never"
            return self._end if final else self._forgetting[0]
        return self._end

    def _overdue(self, now: float) -> End | None:
        if self._forgetting is not None and now >= self._forgetting[1]:
            return self._forgetting[0]
        if self._conversation.silent(now):
            return Lost(Trouble.SILENT, "")
        return None

    async def _part(self, leaving: Leaving, now: float) -> End | None:
        """Says farewell, and judges whether that is over."""
        if self._farewell_at is None:
            # The count of jobs first: the server lets go at once of a node that seems idle.
            await self._beat(now)
            await self._send(self._conversation.unregister(leaving.reason, drain=True))
            self._farewell_at = now
            return None
        if now >= leaving.deadline:
            await self._send(self._conversation.unregister(leaving.reason, drain=False))
            return Left()
        idle = not self._report().usage.running_jobs
        if idle and not self._answered and now >= self._farewell_at + FAREWELL_S:
            return Left()
        return None

    def _wait(self, now: float) -> float | None:
        """How long nothing needs to be done unless something is heard or asked."""
        moments = [self._conversation.deadline()]
        if self._forgetting is not None:
            moments.append(self._forgetting[1])
        if self._leaving is not None and self._farewell_at is not None:
            moments.append(self._leaving.deadline)
            if now < self._farewell_at + FAREWELL_S:
                moments.append(self._farewell_at + FAREWELL_S)
        known = [at for at in moments if at is not None]
        return max(0.0, min(known) - now) if known else None
