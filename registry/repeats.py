"""What strangers can make a process say, said some times and then counted.

Each unreadable request is a warning of the libraries that read it, each odd handshake a traceback,
and each of a million registrations is a line of our own, and another when it is over. One line of
the same kind tells as much as a million do, and a million fill a disk.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

MOST = 10
"""Records of one kind of the libraries within a window; the rest are counted."""
OWN_MOST = 500
"""Of one kind of our own, some 250 bytes each."""
WINDOW_S = 60.0
_KINDS_MOST = 1000
_LIBRARIES = "uvicorn.error"


@dataclass
class _Kind:
    since: float
    said: int = 0
    kept_back: int = 0


class Repeats(logging.Filter):
    """Lets `most` records of a kind pass in each window; the next one says how many did not.

    A kind is what the code says and where it failed, of our own also from which state and why: not
    what a stranger sent, so there are few, and strangers' kinds hide no others.
    """

    def __init__(self, most: int = MOST, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._most = most
        self._now = now
        self._kinds: dict[tuple[object, ...], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._now()
        said = getattr(record, "context", {})
        key = (record.msg, said.get("previous"), said.get("reason"), _failed_at(record))
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _KINDS_MOST:
                self._kinds.clear()
            kind = self._kinds[key] = _Kind(now)
        if now - kind.since >= WINDOW_S:
            if kind.kept_back:
                _tell(record, kind.kept_back)
            kind.since, kind.said, kind.kept_back = now, 0, 0
        if kind.said >= self._most:
            kind.kept_back += 1
            return False
        kind.said += 1
        return True


def _tell(record: logging.LogRecord, kept_back: int) -> None:
    if hasattr(record, "context"):
        record.context = {**record.context, "kept_back": kept_back}
    else:
        record.msg = f"{record.msg} (and {kept_back} more of them since the last line)"


def bound_libraries() -> None:
    """Bounds what the libraries that read strangers' bytes write, once."""
    logger = logging.getLogger(_LIBRARIES)
    if not any(isinstance(each, Repeats) for each in logger.filters):
        logger.addFilter(Repeats())


def _failed_at(record: logging.LogRecord) -> object:
    """Which exception, and the line that raised it."""
    kind, _, trace = record.exc_info or (None, None, None)
    if trace is None:
        return kind
    while trace.tb_next is not None:
        trace = trace.tb_next
    return (kind, trace.tb_frame.f_code, trace.tb_lineno)
