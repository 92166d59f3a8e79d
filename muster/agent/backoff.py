"""How long to wait before the next try: full jitter, so that a fleet never comes back in step."""

from __future__ import annotations

import random
from collections.abc import Callable

_SPREAD = 1.25


class Backoff:
    """Waiting times in seconds, each drawn from zero up to a bound that doubles.

    `uniform(low, high)` draws; tests give one that does not.
    """

    def __init__(
        self,
        first_s: float = 1.0,
        most_s: float = 30.0,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._uniform = uniform
        self._tries = 0

    def next(self) -> float:
        """The wait after one more failure."""
        bound = min(self._most_s, self._first_s * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return self._uniform(0.0, bound)

    def soon(self) -> float:
        """A random moment soon, where nothing failed; does not count as a try."""
        return self._uniform(0.0, self._first_s)

    def after(self, asked_s: float) -> float:
        """The wait a server asked for, spread so that those it told the same don't come at once."""
        return self._uniform(asked_s, asked_s * _SPREAD)

    def reset(self) -> None:
        """Something lasted: the next failure is a first one."""
        self._tries = 0
