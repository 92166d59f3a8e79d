"""Writing without waiting: a terminal stopped with Ctrl-S, a pipe nobody reads, delay nothing.

A thread of its own writes, past Python's buffers: a thread that hangs inside those would keep the
interpreter from ending. What nobody takes in time is dropped, the oldest first, and how much that
was is said where it is missing.
"""

from __future__ import annotations

import io
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

WAITING_MOST = 1000
LAST_WORDS_S = 1.0
"""How long an ending program waits for a reader to take what is left."""


class Writer:
    """Texts for one stream, in order. `lost` words how many were dropped."""

    def __init__(
        self,
        stream: TextIO,
        lost: Callable[[int], str] | None = None,
        waiting_most: int = WAITING_MOST,
    ) -> None:
        self._stream = stream
        self._lost = lost
        self._waiting_most = waiting_most
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def put(self, text: str) -> None:
        """Has it written; never waits."""
        with self._changed:
            if self._closing:
                return
            if len(self._waiting) >= self._waiting_most:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(text)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="muster-writer", daemon=True)
                self._thread.start()

    def close(self, timeout_s: float = LAST_WORDS_S) -> None:
        """Takes nothing more; what waits is written if somebody reads it in time."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        with suppress(OSError, ValueError):  # a reader that has gone, a stream that was closed
            while (text := self._next()) is not None:
                _write(self._stream, text)

    def _next(self) -> str | None:
        """What to write next, waited for; None once nothing is to come."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            if not self._waiting:
                return None
            text = self._waiting.popleft()
            dropped, self._dropped = self._dropped, 0
        return self._lost(dropped) + text if dropped and self._lost else text


def _write(stream: TextIO, text: str) -> None:
    try:
        descriptor = stream.fileno()
    except io.UnsupportedOperation:  # no file of the system's
        stream.write(text)
        return
    if os.linesep != "\n":
        text = text.replace("\n", os.linesep)
    data = memoryview(text.encode(stream.encoding, stream.errors or "strict"))
    while data:
        data = data[os.write(descriptor, data) :]
