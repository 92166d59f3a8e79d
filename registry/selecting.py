"""Which ready machine can do this: found, ranked, held.

A sample is enough as a rule (`registry.candidates`). Only when it does not give as many as are
wanted are the indexes intersected exactly, and only then is it said that nobody fits. Those
preferred go first, then the least loaded. With a hold that spreads callers by itself, as each hold
is load; without one the best of a random half is taken, or all callers would get the same machine
until it reports again.

A hold is taken by a script that compares again what was judged; a machine that changed meanwhile is
read and judged anew. What was taken for nothing is given back.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterable, Sequence

import msgspec

from registry.base import ms
from registry.candidates import Candidates
from registry.errors import StoreError, StoreUnavailable
from registry.holding import Holding, hold_of
from registry.model import Selected
from registry.once import Once, Work
from registry.requirement import Requirement, Unfit, rank
from registry.subject import Subject

_ROUNDS = 8
_JUDGED_AGAIN = 5


class Selecting(Holding, Candidates, Once):
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

        The same `request_id` gets the same answer again while all its holds last, without holds
        for `request_keep_s`; `asker` tells askers apart that must not share answers.
        Raises RequestReused if it asked for something else before."""
        if not request_id:
            return await self._selected(wanted, limit, hold_ms, "", None)
        keep_ms = max(hold_ms, ms(self.settings.request_keep_s))
        fingerprint = _fingerprint(wanted, limit, hold_ms, asker)
        made: list[list[Selected]] = []

        async def work(mine: Work) -> str:
            found = await self._selected(wanted, limit, hold_ms, request_id, mine)
            made.append(found)
            return msgspec.json.encode(found).decode() if found else ""

        for _ in range(_ROUNDS):
            answer = await self.answer_once(request_id, fingerprint, keep_ms, work)
            found = msgspec.json.decode(answer, type=list[Selected]) if answer else []
            kept = {s.hold_id for s in found}
            await self._give_back(s.hold_id for each in made for s in each if s.hold_id not in kept)
            if found in made or not hold_ms or await self._all_held(found):
                return found
            await self.forget_answer(request_id, answer)
        return found

    async def _all_held(self, answer: Sequence[Selected]) -> bool:
        """Whether the holds of an answer given before still last."""
        now = await self.synchronise()
        for s in answer:
            if s.hold_expires <= now:
                return False
            if s.hold_id not in {hold.hold_id for hold in await self.holds(s.node_id)}:
                return False
        return True

    async def _give_back(self, hold_ids: Iterable[str]) -> None:
        for hold_id in hold_ids:
            if hold_id:
                await self.release_hold(hold_id)

    async def _selected(
        self, wanted: Requirement, limit: int, hold_ms: int, request_id: str, work: Work | None
    ) -> list[Selected]:
        taken = _Taken(self, wanted, limit, hold_ms, request_id, work)
        try:
            await taken.adopt()
            found = await self.sampled(wanted, limit)
            await taken.take(_ranked(wanted, found.subjects, spread=not hold_ms))
            rounds, whole = 0, found.whole
            while not taken.enough() and not found.everybody and rounds < _ROUNDS:
                found = await self.all_fitting(wanted, limit)
                await taken.take(_ranked(wanted, found.subjects, spread=not hold_ms))
                rounds, whole = rounds + 1, whole and found.whole
        except BaseException:
            if work is None:  # nobody will ever know of these; those of a request are in its plan
                self._return_later([*(s.hold_id for s in taken.found), taken.trying])
            raise
        if not taken.found and not whole:
            raise StoreUnavailable("a part of the store can't be asked, and elsewhere nobody fits")
        return sorted(taken.found, key=rank(wanted))

    def _return_later(self, hold_ids: Sequence[str]) -> None:
        """Gives holds back though whoever took them is being ended."""

        async def give_back() -> None:
            try:
                await self._give_back(hold_ids)
            except StoreError:
                return  # they end by themselves

        if any(hold_ids):
            task = asyncio.get_running_loop().create_task(give_back())
            _RETURNING.add(task)
            task.add_done_callback(_RETURNING.discard)


_RETURNING: set[asyncio.Task[None]] = set()


class _Taken:
    """What a selection has so far. With a request, each hold is noted before it is taken, so that
    whoever goes on after a crash finds it. `trying` is the hold being taken just now, or ''."""

    def __init__(
        self,
        registry: Selecting,
        wanted: Requirement,
        limit: int,
        hold_ms: int,
        request_id: str,
        work: Work | None,
    ) -> None:
        self.found: list[Selected] = []
        self.trying = ""
        self._registry = registry
        self._wanted = wanted
        self._limit = limit
        self._hold_ms = hold_ms
        self._request_id = request_id
        self._work = work
        self._planned: list[str] = []
        self._overtaken = False

    def enough(self) -> bool:
        """Whether nothing more is to be taken."""
        return len(self.found) >= self._limit or self._overtaken

    async def adopt(self) -> None:
        """Takes over what a former asker of the same request had planned and held; gives back what
        may not be kept."""
        if self._work is None or not self._work.plan or not self._hold_ms:
            return
        self._planned = msgspec.json.decode(self._work.plan, type=list[str])
        for node_id in self._planned:
            hold_id = hold_of(self._request_id, node_id)
            if hold_id not in {h.hold_id for h in await self._registry.holds(node_id)}:
                continue
            subject = await self._look(node_id)
            kept = subject is not None and not self.enough() and await self._hold(subject, own=True)
            if not kept:
                await self._registry.release_hold(hold_id)

    async def take(self, ranked: list[Subject]) -> None:
        """Takes the best that can be had, until there are enough."""
        have = {s.node_id for s in self.found}
        for subject in ranked:
            if self.enough():
                return
            if subject.node_id in have:
                continue
            if not self._hold_ms:
                self.found.append(_plain(subject))
            elif await self._noted(subject.node_id):
                await self._hold(subject)

    async def _hold(self, subject: Subject, *, own: bool = False) -> bool:
        """Takes a hold; a node that changed since it was judged is judged again. With `own` there
        is one of ours already, which is not held against the node."""
        self.trying = hold_id = hold_of(self._request_id, subject.node_id)
        for _ in range(_JUDGED_AGAIN):
            if not self._fits(subject, own=own):
                break
            held = await self._registry.hold(subject, hold_id, self._hold_ms)
            if isinstance(held, Selected):
                self.found.append(held)
                self.trying = ""
                return True
            again = await self._look(subject.node_id) if held == "changed" else None
            if again is None:
                break
            subject = again
        self.trying = ""
        return False

    def _fits(self, subject: Subject, *, own: bool) -> bool:
        timeout = ms(self._registry.settings.heartbeat_timeout_s)
        lacks = {lack.reason for lack in self._wanted.lacks(subject, timeout)}
        return lacks <= ({Unfit.CAPACITY_EXCEEDED} if own else set())

    async def _look(self, node_id: str) -> Subject | None:
        report = self._wanted.asks_reports
        return (await self._registry.subjects([node_id], report=report))[0]

    async def _noted(self, node_id: str) -> bool:
        if self._work is None or node_id in self._planned:
            return True
        self._planned.append(node_id)
        plan = msgspec.json.encode(self._planned).decode()
        self._overtaken = not await self._registry.note_plan(self._request_id, self._work, plan)
        return not self._overtaken


def _ranked(wanted: Requirement, candidates: Sequence[Subject], *, spread: bool) -> list[Subject]:
    """The order in which candidates are taken; with `spread` the best of a random half first."""
    shuffled = random.sample(candidates, len(candidates))
    ranked = rank(wanted)
    preferred = [s for s in shuffled if s.node_id in wanted.prefer]
    others = [s for s in shuffled if s.node_id not in wanted.prefer]
    half = -(-len(others) // 2) if spread else len(others)
    return [
        *sorted(preferred, key=ranked),
        *sorted(others[:half], key=ranked),
        *sorted(others[half:], key=ranked),
    ]


def _plain(s: Subject) -> Selected:
    return Selected(s.node_id, s.load, s.capacity, s.now - s.last_beat, s.gateway)


def _fingerprint(wanted: Requirement, limit: int, hold_ms: int, asker: str) -> str:
    """Equal for requests that ask for the same."""
    asked = msgspec.json.encode(
        [
            asker, limit, hold_ms, wanted.capabilities, wanted.labels, wanted.min_gpu_memory_gb,
            wanted.public, wanted.ceilings, sorted(wanted.avoid), wanted.prefer, wanted.skills,
        ]
    )  # fmt: skip
    return hashlib.blake2b(asked, digest_size=16).hexdigest()
