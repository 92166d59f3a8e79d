"""One batcher for the beats of all sockets: a few milliseconds' worth goes to the store at once.

Four rules. Beats of one node keep their order, and none is merged with another. One call is under
way at a time. When the store can't be asked, beats stay, with their age, and are sent again, which
their `seq` makes harmless. And while it is away each node keeps only its latest few: the oldest
would be too old to count anyway.

It does not know what an answer means; it hands it to whoever offered the beat.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.clock import monotonic
from registry.errors import StoreError, StoreUnavailable
from registry.logs import log
from registry.model import Beat, BeatAnswer, BeatOutcome

logger = logging.getLogger("muster.gateway.batcher")

TOO_OLD = BeatAnswer(BeatOutcome.TOO_OLD)
_BACKOFF_FIRST_S = 0.05
_BACKOFF_MOST_S = 1.0


class BeatStore(Protocol):
    """The registry as the batcher needs it."""

    async def beat(self, beats: Sequence[Beat]) -> list[BeatAnswer]: ...


class BeatOwner(Protocol):
    """Who offered a beat: knows what the node was told last, and takes the answer."""

    @property
    def relayed(self) -> int: ...
    def answered(self, beat: Beat, answer: BeatAnswer) -> None: ...


@dataclass(slots=True, eq=False)
class _Waiting:
    beat: Beat
    owner: BeatOwner
    dropped: bool = False


class Batcher:
    """Collects beats for `window_s` seconds, sends at most `batch_max` in a call."""

    def __init__(
        self,
        store: BeatStore,
        *,
        window_s: float,
        batch_max: int,
        pending_per_node: int,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._store = store
        self._window_s = window_s
        self._batch_max = batch_max
        self._pending_per_node = pending_per_node
        self._observe = observe
        self._waiting: deque[_Waiting] = deque()
        self._of_node: dict[str, deque[_Waiting]] = {}
        self._flying = 0
        self._offered = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.store_ok = True

    def __len__(self) -> int:
        return len(self._waiting) + self._flying

    def offer(self, beat: Beat, owner: BeatOwner) -> None:
        """Takes a beat on its way; the owner will be told the answer, always exactly once."""
        waiting = _Waiting(beat, owner)
        self._waiting.append(waiting)
        self._of_node.setdefault(beat.node_id, deque()).append(waiting)
        self._empty.clear()
        if not self.store_ok and not self._flying:
            self._shorten(beat.node_id)
        self._offered.set()

    async def run(self) -> None:
        """Sends for ever."""
        backoff = 0.0
        while True:
            await self._offered.wait()
            await asyncio.sleep(self._window_s)
            self._offered.clear()
            while self._waiting:
                if await self._send():
                    backoff = 0.0
                    continue
                backoff = min(_BACKOFF_MOST_S, backoff * 2 or _BACKOFF_FIRST_S)
                await asyncio.sleep(backoff * random.uniform(0.5, 1))
            if not self._waiting:
                self._empty.set()

    async def drain(self, timeout_s: float) -> bool:
        """Waits until nothing waits; False if the time-out came first."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        return self._empty.is_set()

    async def _send(self) -> bool:
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self._batch_max:
            waiting = self._waiting.popleft()
            if not waiting.dropped:
                batch.append(waiting)
        if not batch:
            return True
        self._flying = len(batch)
        for waiting in batch:
            waiting.beat.relayed = waiting.owner.relayed
        started = monotonic()
        try:
            answers = await self._store.beat([w.beat for w in batch])
        except StoreUnavailable as error:
            self._away(error)
            self._keep(batch)
            return False
        except StoreError as error:
            log(logger, logging.ERROR, "beats_refused", exc_info=error, beats=len(batch))
            await self._one_by_one(batch)
            return True
        finally:
            self._flying = 0
        self._observe(len(batch), monotonic() - started)
        self._back()
        for waiting, answer in zip(batch, answers, strict=True):
            self._answer(waiting, answer)
        return True

    async def _one_by_one(self, batch: list[_Waiting]) -> None:
        """A call that failed by a bug of ours: find the beat at fault, spare the others."""
        for place, waiting in enumerate(batch):
            try:
                [answer] = await self._store.beat([waiting.beat])
            except StoreUnavailable as error:
                self._away(error)
                self._keep(batch[place:])
                return
            except StoreError:
                answer = TOO_OLD
            self._answer(waiting, answer)

    def _answer(self, waiting: _Waiting, answer: BeatAnswer) -> None:
        queue = self._of_node[waiting.beat.node_id]
        queue.remove(waiting)
        if not queue:
            del self._of_node[waiting.beat.node_id]
        try:
            waiting.owner.answered(waiting.beat, answer)
        except Exception as error:  # noqa: BLE001 - one conversation's bug must not stop all beats
            log(logger, logging.ERROR, "beat_answer_failed", exc_info=error)

    def _keep(self, batch: list[_Waiting]) -> None:
        self._flying = 0
        self._waiting.extendleft(reversed(batch))
        for node_id in list(self._of_node):
            self._shorten(node_id)

    def _shorten(self, node_id: str) -> None:
        queue = self._of_node[node_id]
        while len(queue) > self._pending_per_node:
            oldest = queue[0]
            oldest.dropped = True
            self._answer(oldest, TOO_OLD)

    def _away(self, error: StoreError) -> None:
        if self.store_ok:
            log(logger, logging.WARNING, "store_away", error=str(error), beats=len(self))
        self.store_ok = False

    def _back(self) -> None:
        if not self.store_ok:
            log(logger, logging.INFO, "store_back", beats=len(self))
        self.store_ok = True
