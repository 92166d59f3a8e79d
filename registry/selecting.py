"""Which ready machine can do this: sampled, judged, held.

A sample of ready nodes is drawn from the indexes, a few partitions at a time; each is read at one
instant and judged by `registry.requirement`; the least loaded go first, equals in random order, so
that callers do not all get the same machine. Only when a sample does not give enough are the
indexes intersected exactly, and only then is it said that nobody fits. A hold is taken by a script
that compares again what was judged.

The indexes only say where to look. What may be selected is decided by what is read.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from registry.base import ms
from registry.errors import StoreUnavailable
from registry.holding import Holding, hold_of
from registry.keys import PARTITIONS
from registry.model import Selected
from registry.once import Once, Work
from registry.requirement import Requirement
from registry.subject import Subject
from registry.surveying import Surveying

_SAMPLE = 8  # candidates for each node wanted, at least this many
_PER_NODE = 4
_PER_PARTITION = 4  # drawn from each, at least
_FIRST_LOOK = 16  # partitions
_PAGE = 64
_EXACT_GROUP = 8  # partitions intersected in one call


class Selecting(Holding, Once, Surveying):
    """Selection, with and without holds."""

    async def select(
        self,
        wanted: Requirement,
        limit: int = 1,
        *,
        hold_ms: int = 0,
        request_id: str = "",
        asker: str = "",
    ) -> list[Selected]:
        """Up to `limit` ready, live nodes that fit, the preferred and the least loaded first; held
        for `hold_ms` if that is above 0. Empty only if no node of the whole fleet fits. Raises
        StoreUnavailable if a part of it could not be asked and nobody fits elsewhere.

        The same `request_id` gets the same answer again, for as long as its holds last and at
        least `request_keep_s`; `asker` tells askers apart that must not share answers.
        Raises RequestReused if it asked for something else before."""
        if not request_id:
            return await self._selected(wanted, limit, hold_ms, "", None)
        keep_ms = max(hold_ms, ms(self.settings.request_keep_s))
        made: list[list[Selected]] = []

        async def work(mine: Work) -> str:
            found = await self._selected(wanted, limit, hold_ms, request_id, mine)
            made.append(found)
            return msgspec.json.encode(found).decode() if found else ""

        fingerprint = _fingerprint(wanted, limit, hold_ms, asker)
        answer = await self.answer_once(request_id, fingerprint, keep_ms, work)
        found = msgspec.json.decode(answer, type=list[Selected]) if answer else []
        await self._give_back(made, found)
        return found

    async def _give_back(self, made: list[list[Selected]], answer: list[Selected]) -> None:
        """Holds taken by an asker whose answer was not the one that counts."""
        kept = {s.hold_id for s in answer}
        for selected in made:
            for s in selected:
                if s.hold_id and s.hold_id not in kept:
                    await self.release_hold(s.hold_id)

    async def _selected(
        self, wanted: Requirement, limit: int, hold_ms: int, request_id: str, work: Work | None
    ) -> list[Selected]:
        taken = _Taken(self, limit, hold_ms, request_id, work)
        reach = _Reach()
        await taken.adopt(wanted)
        if not taken.enough():
            async for candidates in self._candidates(wanted, limit, reach):
                await taken.take(sorted(_shuffled(candidates), key=_rank(wanted)))
                if taken.enough():
                    break
        if not taken.found and not reach.whole:
            raise StoreUnavailable("a part of the store can't be asked, and elsewhere nobody fits")
        return sorted(taken.found, key=_rank(wanted))

    async def _candidates(
        self, wanted: Requirement, limit: int, reach: _Reach
    ) -> AsyncIterator[list[Subject]]:
        """Fitting nodes: first those preferred and a sample, then, exactly, everybody else."""
        seen: set[str] = set()
        enough = max(_SAMPLE, _PER_NODE * limit)
        partitions = list(range(PARTITIONS))
        random.shuffle(partitions)
        ids = list(wanted.prefer)
        for look in (partitions[:_FIRST_LOOK], partitions[_FIRST_LOOK:]):
            if len(ids) < enough:
                most = max(_PER_PARTITION, -(-2 * enough // len(look)))
                ids += await self._sample(wanted.indexes(), look, most, enough - len(ids), reach)
        yield await self._fitting(wanted, ids, seen, reach)
        for names in wanted.alternatives():
            for start in range(0, PARTITIONS, _EXACT_GROUP):
                group = partitions[start : start + _EXACT_GROUP]
                ids = [i for i in await self._sample(names, group, 0, 0, reach) if i not in seen]
                random.shuffle(ids)
                for low in range(0, len(ids), _PAGE):
                    yield await self._fitting(wanted, ids[low : low + _PAGE], seen, reach)

    async def _sample(
        self,
        names: Sequence[str],
        partitions: Sequence[int],
        most: int,
        enough: int,
        reach: _Reach,
    ) -> list[str]:
        groups = [list(partitions)] if self.store.single else [[p] for p in partitions]
        replies = await self.store.call_some(
            "sample",
            [
                (
                    [self.keys.ready(p, name) for p in group for name in names],
                    [len(names), most, enough],
                )
                for group in groups
            ],
        )
        heard = [reply for reply in replies if not isinstance(reply, StoreUnavailable)]
        reach.whole = reach.whole and len(heard) == len(replies)
        return [i.decode() for reply in heard for i in reply]

    async def _fitting(
        self, wanted: Requirement, ids: Iterable[str], seen: set[str], reach: _Reach
    ) -> list[Subject]:
        """Those of the ids not seen yet that may be given this work now."""
        new = [i for i in dict.fromkeys(ids) if i not in seen]
        seen.update(new)
        timeout = ms(self.settings.heartbeat_timeout_s)
        subjects, whole = await self.subjects_in_reach(new, report=wanted.asks_reports)
        reach.whole = reach.whole and whole
        return [s for s in subjects if wanted.fits(s, timeout)]


@dataclass
class _Reach:
    """Whether a selection could ask the whole store; a Cluster may be away in part."""

    whole: bool = True


class _Taken:
    """What a selection has so far. With a request, each hold is noted before it is taken, so that
    whoever goes on after a crash finds it."""

    def __init__(
        self, registry: Selecting, limit: int, hold_ms: int, request_id: str, work: Work | None
    ) -> None:
        self.found: list[Selected] = []
        self._registry = registry
        self._limit = limit
        self._hold_ms = hold_ms
        self._request_id = request_id
        self._work = work
        self._planned: list[str] = []
        self._overtaken = False

    def enough(self) -> bool:
        """Whether nothing more is to be taken."""
        return len(self.found) >= self._limit or self._overtaken

    async def adopt(self, wanted: Requirement) -> None:
        """Takes over what a former asker of the same request had planned and held."""
        if self._work is None or not self._work.plan or not self._hold_ms:
            return
        self._planned = msgspec.json.decode(self._work.plan, type=list[str])
        timeout = ms(self._registry.settings.heartbeat_timeout_s)
        for subject in await self._registry.subjects(self._planned, report=wanted.asks_reports):
            if subject is None:
                continue
            hold_id = hold_of(self._request_id, subject.node_id)
            held = hold_id in {h.hold_id for h in await self._registry.holds(subject.node_id)}
            lacks = {lack.reason.value for lack in wanted.lacks(subject, timeout)}
            if held and lacks <= {"capacity_exceeded"} and not self.enough():
                await self._hold(subject)
            elif held:
                await self._registry.release_hold(hold_id)

    async def take(self, ranked: list[Subject]) -> None:
        """Takes the best that can be had, until there are enough."""
        for subject in ranked:
            if self.enough():
                return
            if not self._hold_ms:
                self.found.append(_plain(subject))
            elif await self._noted(subject.node_id):
                await self._hold(subject)

    async def _hold(self, subject: Subject) -> None:
        hold_id = hold_of(self._request_id, subject.node_id)
        held = await self._registry.hold(subject, hold_id, self._hold_ms)
        if held is not None:
            self.found.append(held)

    async def _noted(self, node_id: str) -> bool:
        if self._work is None or node_id in self._planned:
            return True
        self._planned.append(node_id)
        plan = msgspec.json.encode(self._planned).decode()
        self._overtaken = not await self._registry.note_plan(self._request_id, self._work, plan)
        return not self._overtaken


def _shuffled(candidates: list[Subject]) -> list[Subject]:
    random.shuffle(candidates)
    return candidates


def _rank(wanted: Requirement) -> Callable[[Subject | Selected], tuple[int, float]]:
    """The preferred in the order of preference, then the least loaded."""
    places = {id_: place for place, id_ in enumerate(wanted.prefer)}
    return lambda s: (places.get(s.node_id, len(places)), s.load / s.capacity)


def _plain(s: Subject) -> Selected:
    return Selected(s.node_id, s.load, s.capacity, s.now - s.last_beat, s.gateway)


def _fingerprint(wanted: Requirement, limit: int, hold_ms: int, asker: str) -> str:
    return msgspec.json.encode(
        [
            asker, limit, hold_ms, wanted.capabilities, wanted.labels, wanted.min_gpu_memory_gb,
            wanted.public, wanted.ceilings, sorted(wanted.avoid), wanted.prefer,
        ]
    ).decode()  # fmt: skip
