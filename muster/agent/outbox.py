"""Finished jobs on their way to the server, from one life to the next.

They leave no faster than a gateway lets a socket speak (60 messages at once, 6 a second), with room
for what else is said. A result is told once the server acknowledged a heartbeat that was sent after
it. One that is not when its socket ends, or when the server says that it hears too much, is sent
again: told twice is better than never. There is room for so many; who hands in more is told no.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

from muster.wire.codec import JSON

BURST = 40.0
PER_S = 4.0

KEPT_MOST = 1000
SENT_MOST = 200
"""Of a server that acknowledges nothing, the oldest beyond these count as told."""

LIVES_MOST = 5
"""A result that saw so many sockets end is given up: it may be what ends them."""

REFUSED_S = 1.0
"""The least one waits when the server hears too much."""


class _Result(Struct):
    fields: Mapping[str, Any]
    lives: int = 0
    before_beat: int | None = None


class Outbox:
    """The results of one session. Times are seconds of `clock`, which only runs forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.lost = 0
        self._clock = clock
        self._waiting: deque[_Result] = deque()
        self._sent: deque[_Result] = deque()
        self._beats: deque[int] = deque()
        self._beat = 0
        self._tokens = BURST
        self._at = clock()
        self._not_before = 0.0
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many have not been sent, or have to be again."""
        return len(self._waiting)

    def put(self, result: Mapping[str, Any]) -> bool:
        """Takes a result, or says that there is no room for it. Raises TypeError for what can't be
        sent at all."""
        JSON.encode(result)
        if self._closed or len(self._waiting) + len(self._sent) >= KEPT_MOST:
            self.lost += 1
            return False
        self._waiting.append(_Result(result))
        return True

    def begin(self) -> None:
        """There is a new socket: it may speak, and what the last one may have lost comes first."""
        for result in self._sent:
            result.lives += 1
        self.lost += sum(result.lives >= LIVES_MOST for result in self._sent)
        self._again(result for result in self._sent if result.lives < LIVES_MOST)
        self._tokens, self._at, self._not_before = BURST, self._clock(), 0.0

    def take(self) -> Mapping[str, Any] | None:
        """The next result, if one may be sent now; it is on its way from here on."""
        self._refill()
        if not self._waiting or self._tokens < 1 or self._clock() < self._not_before:
            return None
        self._tokens -= 1
        result = self._waiting.popleft()
        self._sent.append(result)
        if len(self._sent) > SENT_MOST:
            self._sent.popleft()
        return result.fields

    def due(self) -> float | None:
        """When the next may leave; None: none waits."""
        if not self._waiting:
            return None
        self._refill()
        return max(self._not_before, self._at + max(0.0, 1 - self._tokens) / PER_S)

    def beaten(self) -> None:
        """A heartbeat was sent, which is a message too: its answer stands for all before it."""
        self._refill()
        self._tokens = max(0.0, self._tokens - 1)
        self._beat += 1
        self._beats.append(self._beat)
        for result in self._sent:
            if result.before_beat is None:
                result.before_beat = self._beat

    def acknowledged(self) -> None:
        """The oldest heartbeat without an answer got one."""
        if not self._beats:
            return
        beat = self._beats.popleft()
        while self._sent and (before := self._sent[0].before_beat) is not None and before <= beat:
            self._sent.popleft()

    def refused(self, after_s: float | None) -> None:
        """The server heard too much, and did not say which message it passed over."""
        self._again(self._sent)
        self._refill()
        self._tokens = 0.0
        self._not_before = self._clock() + max(REFUSED_S, after_s or 0.0)

    def close(self) -> None:
        """The session is over: what waits is lost, and nothing is taken any more."""
        self._closed = True
        self.lost += len(self._waiting)
        self._waiting.clear()

    def _again(self, results: Iterable[_Result]) -> None:
        again = list(results)
        for result in again:
            result.before_beat = None
        self._waiting.extendleft(reversed(again))
        self._sent.clear()
        self._beats.clear()

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(BURST, self._tokens + (now - self._at) * PER_S)
        self._at = now
