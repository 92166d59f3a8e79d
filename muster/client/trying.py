"""How a call is tried until it is answered: where next, after how long, and when to give up. Pure.

Two rules. A try that never reached a gateway may always be followed by another. One that may have
been carried out is followed by another only if the call is repeatable. Pauses are drawn, so that
clients that failed together do not come back together.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx
import msgspec

from muster.client.calls import Call
from muster.client.errors import MusterError, UnexpectedAnswerError, UnreachableError, problem
from muster.client.servers import Servers

T = TypeVar("T")

logger = logging.getLogger("muster.client")

PAUSE_LEAST_S = 0.1
PAUSE_MOST_S = 2.0
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_WORDS: Mapping[type[httpx.TransportError], str] = {
    httpx.ConnectTimeout: "could not be reached in time",
    httpx.ReadTimeout: "no answer in time",
    httpx.WriteTimeout: "took no request in time",
    httpx.PoolTimeout: "all connections to it are in use",
}
_TOO_MANY = 429
_BUSY = (502, 503, 504)


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """The call was served."""

    value: T


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after so many seconds; `why` is what went wrong."""

    pause_s: float
    why: MusterError


class Tries(Generic[T]):
    """The tries of one call, for `patience_s` at most. `server` is where the next one goes."""

    def __init__(
        self,
        call: Call[T],
        servers: Servers,
        patience_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._call = call
        self._servers = servers
        self._now = now
        self._patience_s = patience_s
        self._deadline = now() + patience_s
        self._count = 0
        self._maybe_done = False
        self._tried: dict[str, str] = {}
        self.server = servers.current

    def failed(self, error: httpx.TransportError, at_least_s: float = 0.0) -> Again:
        """What to do after there was no answer. Raises UnreachableError if nothing is left."""
        self._tried[self.server] = _WORDS.get(type(error)) or str(error) or type(error).__name__
        if not isinstance(error, _NEVER_SENT):
            self._maybe_done = True
        return self._elsewhere(UnreachableError(self._tried), at_least_s, at_least_s)

    def ended(self, at_least_s: float) -> Again:
        """What to do after a stream came to an end."""
        return self.failed(httpx.RemoteProtocolError("the stream ended"), at_least_s)

    def answered(
        self, status: int, headers: Mapping[str, str], content: bytes
    ) -> Answered[T] | Again:
        """What an answer means. Raises MusterError if it is a refusal and nothing is left."""
        if 200 <= status < 300:
            return Answered(self._read(status, content))
        refused = self._refusal(status, content)
        if status == _TOO_MANY:
            return self._after(_retry_after(headers), refused)
        if refused.code == "OVERLOADED":  # turned away at the door: nothing was done
            return self._elsewhere(refused, 0.0, _retry_after(headers))
        if status in _BUSY:
            self._maybe_done = True
            return self._elsewhere(refused, 0.0, _retry_after(headers))
        if self._maybe_done and refused.code in self._call.so_already:
            return Answered(self._read(status, b""))
        raise refused

    def opened(self) -> None:
        """A stream is open: from now on it is taken up again however long that takes."""
        self._deadline = math.inf

    def heard(self) -> None:
        """The stream told something: its next interruption is the first."""
        self._count = 0
        self._deadline = max(self._deadline, self._now() + self._patience_s)
        self._tried.clear()

    def _read(self, status: int, content: bytes) -> T:
        if self._call.answer is None:
            return None  # type: ignore[return-value]
        try:
            return msgspec.json.decode(content, type=self._call.answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            expected = f"what was asked for ({error})"
            raise UnexpectedAnswerError(self.server, status, expected) from None

    def _refusal(self, status: int, content: bytes) -> MusterError:
        try:
            document = msgspec.json.decode(content, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            document = {}
        if "code" not in document:
            return UnexpectedAnswerError(self.server, status, "a problem of the API")
        return problem(status, document)

    def _elsewhere(self, why: MusterError, next_s: float, again_s: float) -> Again:
        """The next server: after `next_s` while some are untried, else after a pause of at least
        `again_s`."""
        if self._maybe_done and not self._call.repeatable:
            raise why
        self._servers.leave(self.server)
        self._count += 1
        rounds, untried = divmod(self._count, len(self._servers))
        if untried:
            return self._after(next_s, why)
        most = min(PAUSE_MOST_S, PAUSE_LEAST_S * 2 ** min(rounds, 10))
        return self._after(max(again_s, random.uniform(most / 2, most)), why)

    def _after(self, pause_s: float, why: MusterError) -> Again:
        if self._now() + pause_s > self._deadline:
            raise why
        self.server = self._servers.current
        return Again(pause_s, why)


def note(what: str, again: Again) -> None:
    """Tells whoever reads the log of `muster.client` that something is tried again."""
    logger.warning("%s and is tried again in %.1f s: %s", what, again.pause_s, again.why.what)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds; a little more than asked for, so that not all who wait come at once."""
    text = headers.get("retry-after", "")
    return float(text) * random.uniform(1.0, 1.2) if text.isdigit() else PAUSE_LEAST_S
