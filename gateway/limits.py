"""How much one socket, or one user of the API, may ask of us."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from enum import Enum


class Limit(Enum):
    """What there were too many of; values as in `muster_shed_total`."""

    CONNECTIONS = "connections"
    SOCKETS = "sockets"
    ADDRESS = "address"
    UNREGISTERED = "unregistered"
    REQUESTS = "requests"


class TokenBucket:
    """`burst` at once, `per_s` lasting. The caller brings the time, in seconds."""

    __slots__ = ("_at", "_burst", "_per_s", "_tokens")

    def __init__(self, burst: float, per_s: float, now: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> int:
        """Takes one; 0 when there was one, else the milliseconds until there will be."""
        tokens, passed = self._tokens, now - self._at
        if passed > 0:
            tokens += passed * self._per_s
            if tokens > self._burst:
                tokens = self._burst
        self._at = now
        if tokens >= 1:
            self._tokens = tokens - 1
            return 0
        self._tokens = tokens
        return max(1, round((1 - tokens) / self._per_s * 1000))


class Buckets:
    """A bucket for each key. Of more than `most` keys the one longest unused is forgotten."""

    def __init__(self, burst: float, per_s: float, most: int) -> None:
        self._burst = burst
        self._per_s = per_s
        self._most = most
        self._kept: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, key: Hashable, now: float) -> int:
        """As `TokenBucket.take`, from the key's own."""
        bucket = self._kept.get(key)
        if bucket is None:
            bucket = self._kept[key] = TokenBucket(self._burst, self._per_s, now)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return bucket.take(now)


class Recent:
    """Counts what happened within the last `window_s` seconds, never more than `limit`."""

    __slots__ = ("_at", "_limit", "_window_s")

    def __init__(self, limit: int, window_s: float) -> None:
        self._at: deque[float] | None = None  # hardly any socket ever needs one
        self._limit = limit
        self._window_s = window_s

    def add(self, now: float) -> bool:
        """Notes one more; whether `limit` of them now lie within the window."""
        if self._at is None:
            self._at = deque(maxlen=self._limit)
        self._at.append(now)
        return len(self._at) == self._limit and now - self._at[0] <= self._window_s
