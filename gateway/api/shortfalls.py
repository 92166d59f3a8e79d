"""Why nobody fits, told to many askers at little cost.

A fleet that is full gets the same request again and again, and looking at every node for each would
make it slower still. So the same request is looked into once, whoever asks meanwhile shares that
look, and for a second afterwards its answer stands.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from gateway.clock import monotonic
from registry.surveying import Shortfall

KEEP_S = 1.0
MOST = 1000


@dataclass(slots=True)
class _Look:
    task: asyncio.Future[Shortfall]
    ended: float | None = None


class Shortfalls:
    """Looks under way and lately ended, at most `MOST`; of more the longest unused is forgotten."""

    def __init__(self, now: Callable[[], float] = monotonic, most: int = MOST) -> None:
        self._now = now
        self._most = most
        self._looks: OrderedDict[Hashable, _Look] = OrderedDict()

    def __len__(self) -> int:
        return len(self._looks)

    async def of(self, key: Hashable, look: Callable[[], Awaitable[Shortfall]]) -> Shortfall:
        """The shortfall of the request that `key` stands for; `look` is how to find it.

        Raises what the look raises, to all who share it; the next asker looks anew."""
        known = self._looks.get(key)
        if known is None or self._stale(known):
            known = self._looks[key] = self._begin(key, look)
            if len(self._looks) > self._most:
                self._looks.popitem(last=False)
        self._looks.move_to_end(key)
        # An asker who goes away must not end the look of the others.
        return await asyncio.shield(known.task)

    def _begin(self, key: Hashable, look: Callable[[], Awaitable[Shortfall]]) -> _Look:
        begun = _Look(asyncio.ensure_future(look()))

        def ended(task: asyncio.Future[Shortfall]) -> None:
            begun.ended = self._now()
            # Asking for the exception marks it as seen, though every asker may have gone.
            if (task.cancelled() or task.exception()) and self._looks.get(key) is begun:
                del self._looks[key]

        begun.task.add_done_callback(ended)
        return begun

    def _stale(self, look: _Look) -> bool:
        return look.ended is not None and self._now() - look.ended >= KEEP_S
