"""What is made of files, and made anew when they change.

Files are read again at most once a second, when somebody asks, and compared by content: that works
for every way a file can change, swapped symbolic links (as of a mounted Kubernetes secret) and
clocks that go back included. What can't be used is logged once, and what was made before stays.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from gateway.clock import monotonic
from registry.logs import log

logger = logging.getLogger("muster.gateway")

T = TypeVar("T")

EVERY_S = 1.0
BYTES_MOST = 1_048_576


class Reloading(Generic[T]):
    """`make(contents)` for the files as they are; making it first raises what `make` raises.

    `make` raises ValueError or OSError for what can't be used. `what` names it in logs.
    """

    def __init__(
        self,
        what: str,
        paths: Sequence[str],
        make: Callable[[Sequence[bytes]], T],
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._what = what
        self._paths = paths
        self._make = make
        self._now = now
        self._trouble = ""
        self._looked = now()
        contents = self._read()
        self._made = make(contents)
        self._seen = _digest(contents)

    def current(self) -> T:
        """What the files say now, as of at most a second ago. Never raises."""
        now = self._now()
        if now - self._looked >= EVERY_S:
            self._looked = now
            self._look()
        return self._made

    def _look(self) -> None:
        try:
            contents = self._read()
            seen = _digest(contents)
            if seen != self._seen:
                self._made, self._seen = self._make(contents), seen
                log(logger, logging.INFO, f"{self._what}_reloaded", files=", ".join(self._paths))
            self._trouble = ""
        except (OSError, ValueError) as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                log(
                    logger,
                    logging.ERROR,
                    f"{self._what}_not_reloaded",
                    files=", ".join(self._paths),
                    problem=self._trouble,
                    meanwhile="what was read before stays in force",
                )

    def _read(self) -> list[bytes]:
        contents = []
        for path in self._paths:
            with Path(path).open("rb") as file:
                contents.append(file.read(BYTES_MOST + 1))
            if len(contents[-1]) > BYTES_MOST:
                raise ValueError(f"{path} has more than {BYTES_MOST} bytes")
        return contents


def _digest(contents: Sequence[bytes]) -> list[bytes]:
    """Content is compared, not kept: it may be a private key."""
    return [hashlib.sha256(content).digest() for content in contents]
