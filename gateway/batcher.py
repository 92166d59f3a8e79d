"""One batcher for the beats of all sockets: a few milliseconds' worth goes to the store at once.

Six rules. A beat that may change something (`hurry`) goes within a window; those of healthy ready
nodes, nearly all, wait a few windows for company, as a call costs as much as ten beats, and go with
the first that hurries. Beats of one node keep their order, and none is merged with another. One
call is under way at a time. When the store can't be asked, beats stay, with their age, and are sent
again, which their `seq` makes harmless. While it is away each node keeps only its latest few: the
oldest would be too old to count anyway. And of a store in parts (a Cluster) one part that can't be
asked holds up only its own beats: they wait in its lane, which tries by itself until it is empty.

It does not know what an answer means; it hands it to whoever offered the beat.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from msgspec import Struct

from gateway.clock import monotonic
from registry.errors import StoreError, StoreUnavailable
from registry.logs import log
from registry.model import Beat, BeatAnswer, BeatOutcome

logger = logging.getLogger("muster.gateway.batcher")

TOO_OLD = BeatAnswer(BeatOutcome.TOO_OLD)
PATIENCE = 4
"""How many windows a beat waits that changes nothing."""
_BACKOFF_FIRST_S = 0.05
_BACKOFF_MOST_S = 1.0


class BeatStore(Protocol):
    """The registry as the batcher needs it."""

    async def beat(self, beats: Sequence[Beat]) -> list[BeatAnswer | None]: ...
    def lane_of(self, node_id: str) -> int: ...


class BeatOwner(Protocol):
    """Who offered a beat: knows what the node was told last, and takes the answer."""

    @property
    def relayed(self) -> int: ...
    def answered(self, beat: Beat, answer: BeatAnswer, now: float) -> None: ...


class _Waiting(Struct, eq=False):
    beat: Beat
    owner: BeatOwner
    dropped: bool = False


@dataclass(slots=True, eq=False)
class _Lane:
    """Beats for a part of the store that could not be asked; `failing` until one got through."""

    waiting: deque[_Waiting] = field(default_factory=deque)
    of_node: dict[str, deque[_Waiting]] = field(default_factory=dict)
    flying: bool = False
    failing: bool = True

    def add(self, waiting: _Waiting) -> None:
        """Puts a beat behind the others, those of its node too."""
        self.waiting.append(waiting)
        self.of_node.setdefault(waiting.beat.node_id, deque()).append(waiting)

    def remove(self, waiting: _Waiting) -> None:
        """Its node's queue has it no longer."""
        queue = self.of_node[waiting.beat.node_id]
        queue.remove(waiting)
        if not queue:
            del self.of_node[waiting.beat.node_id]


class Batcher:
    """Collects beats for `window_s` seconds, `PATIENCE` times that if none hurries; sends at most
    `batch_max` in a call."""

    def __init__(
        self,
        store: BeatStore,
        *,
        window_s: float,
        batch_max: int,
        pending_per_node: int,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._store = store
        self._window_s = window_s
        self._batch_max = batch_max
        self._pending_per_node = pending_per_node
        self._observe = observe
        self._waiting: deque[_Waiting] = deque()
        self._flying = 0
        self._lanes: dict[int, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._why = ""
        self._offered = asyncio.Event()
        self._hurried = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        held = sum(len(lane.waiting) for lane in self._lanes.values())
        return len(self._waiting) + self._flying + held

    @property
    def store_ok(self) -> bool:
        """Whether every part of the store took what it was sent last."""
        return not any(lane.failing for lane in self._lanes.values())

    def reaches(self, node_id: str) -> bool:
        """Whether the part of the store that has this node took what it was sent last."""
        lane = self._lane_of(node_id)
        return lane is None or not lane.failing

    def hurry(self) -> None:
        """Somebody waits for the answers to what was offered: it goes within a window."""
        self._hurried.set()

    def offer(self, beat: Beat, owner: BeatOwner, *, hurry: bool = True) -> None:
        """Takes a beat on its way; the owner will be told the answer, always exactly once."""
        waiting = _Waiting(beat, owner)
        lane = self._lane_of(beat.node_id)
        if lane is None:
            if not self._waiting:
                self._empty.clear()
                self._offered.set()
            self._waiting.append(waiting)
            if hurry or len(self._waiting) >= self._batch_max:
                self._hurried.set()
            return
        lane.add(waiting)
        if lane.failing and not lane.flying:
            self._shorten(lane, beat.node_id)

    async def run(self) -> None:
        """Sends for ever."""
        try:
            while True:
                await self._offered.wait()
                await self._wait_for_company()
                # What comes while these are under way waits for company of its own.
                offered = len(self._waiting)
                while offered > 0 and self._waiting:
                    offered -= self._batch_max
                    await self._send()
                if self._waiting:
                    self._offered.set()
                self._look_whether_empty()
        except asyncio.CancelledError:
            for task in self._tasks:
                task.cancel()
            raise

    async def _wait_for_company(self) -> None:
        patience_s = (PATIENCE - 1) * self._window_s
        timer = asyncio.get_running_loop().call_later(patience_s, self._hurried.set)
        try:
            await self._hurried.wait()
        finally:
            timer.cancel()
        await asyncio.sleep(self._window_s)
        self._offered.clear()
        self._hurried.clear()

    async def drain(self, timeout_s: float) -> bool:
        """Waits until nothing waits; False if the time-out came first."""
        self.hurry()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        return self._empty.is_set()

    async def _send(self) -> None:
        if len(self._waiting) <= self._batch_max:
            batch = list(self._waiting)
            self._waiting.clear()
        else:
            batch = [self._waiting.popleft() for _ in range(self._batch_max)]
        self._flying = len(batch)
        answers = await self._ask(batch)
        self._flying = 0
        now = monotonic()
        for waiting, answer in zip(batch, answers, strict=True):
            if answer is None:
                self._park(waiting)
            else:
                _answer(waiting, answer, now)
        if self._lanes:  # what came for a lane meanwhile, behind what was parked just now
            came, self._waiting = self._waiting, deque()
            for waiting in came:
                lane = self._lane_of(waiting.beat.node_id)
                if lane is None:
                    self._waiting.append(waiting)
                else:
                    lane.add(waiting)

    async def _ask(self, batch: list[_Waiting]) -> list[BeatAnswer | None]:
        """The store's answers; None for a beat that it could not be asked about."""
        for waiting in batch:
            waiting.beat.relayed = waiting.owner.relayed
        try:
            answers = await self._store.beat([w.beat for w in batch])
        except StoreUnavailable as error:
            self._why = str(error)
            return [None] * len(batch)
        except StoreError as error:
            log(logger, logging.ERROR, "beats_refused", exc_info=error, beats=len(batch))
            return await self._one_by_one(batch)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not lose what waits
            log(logger, logging.ERROR, "beats_failed", exc_info=error, beats=len(batch))
            return [None] * len(batch)
        self._observe(len(batch))
        self._why = "this part of it could not be asked"
        return answers

    async def _one_by_one(self, batch: list[_Waiting]) -> list[BeatAnswer | None]:
        """A call that failed by a bug of ours: find the beat at fault, spare the others."""
        answers: list[BeatAnswer | None] = []
        for waiting in batch:
            try:
                answers += await self._store.beat([waiting.beat])
            except StoreUnavailable as error:
                self._why = str(error)
                return answers + [None] * (len(batch) - len(answers))
            except StoreError:
                answers.append(TOO_OLD)
        return answers

    def _lane_of(self, node_id: str) -> _Lane | None:
        return self._lanes.get(self._store.lane_of(node_id)) if self._lanes else None

    def _park(self, waiting: _Waiting) -> None:
        """Puts a beat into the lane of a part that can't be asked, which then tries by itself."""
        number = self._store.lane_of(waiting.beat.node_id)
        lane = self._lanes.get(number)
        if lane is None:
            if self.store_ok:
                log(
                    logger, logging.WARNING, "store_away", error=self._why, beats=len(self),
                    lane=number,
                )  # fmt: skip
            lane = self._lanes[number] = _Lane()
            task = asyncio.create_task(self._empty_lane(number, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        lane.add(waiting)

    async def _empty_lane(self, number: int, lane: _Lane) -> None:
        backoff = _BACKOFF_FIRST_S
        while lane.waiting:
            if lane.failing:
                await asyncio.sleep(backoff * random.uniform(0.5, 1))
                backoff = min(_BACKOFF_MOST_S, backoff * 2)
                self._shorten_all(lane)
            batch = list(islice(lane.waiting, self._batch_max))
            lane.flying = True
            answers = await self._ask(batch)
            lane.flying = False
            if answers[0] is None:
                lane.failing = True
            elif lane.failing:
                lane.failing, backoff = False, _BACKOFF_FIRST_S
                if self.store_ok:
                    log(logger, logging.INFO, "store_back", beats=len(self), lane=number)
            now = monotonic()
            for waiting, answer in zip(batch, answers, strict=True):
                if answer is None:
                    break
                lane.waiting.popleft()
                lane.remove(waiting)
                _answer(waiting, answer, now)
        del self._lanes[number]
        self._look_whether_empty()

    def _shorten_all(self, lane: _Lane) -> None:
        for node_id in list(lane.of_node):
            self._shorten(lane, node_id)
        lane.waiting = deque(w for w in lane.waiting if not w.dropped)

    def _shorten(self, lane: _Lane, node_id: str) -> None:
        queue = lane.of_node[node_id]
        while len(queue) > self._pending_per_node:
            oldest = queue.popleft()
            oldest.dropped = True
            _answer(oldest, TOO_OLD, monotonic())

    def _look_whether_empty(self) -> None:
        if not self._waiting and not self._flying and not self._lanes:
            self._empty.set()


def _answer(waiting: _Waiting, answer: BeatAnswer, now: float) -> None:
    try:
        waiting.owner.answered(waiting.beat, answer, now)
    except Exception as error:  # noqa: BLE001 - one conversation's bug must not stop all beats
        log(logger, logging.ERROR, "beat_answer_failed", exc_info=error)
