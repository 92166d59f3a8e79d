"""Looks over the fleet: nodes by id, lists page by page, samples, and why nobody fits.

Nothing here costs more the larger the fleet is, but a sorted list, which looks at every node, and
an unsorted one with a filter, which looks at a bounded number and says where it stopped.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from registry.base import Base, lines, ms, number, text
from registry.errors import StoreUnavailable
from registry.keys import PARTITIONS, partition_of
from registry.listing import CursorError, Filter, Order
from registry.model import Status
from registry.requirement import Lack, Requirement, rank
from registry.subject import Intent, Subject
from registry.tallies import Tallies, names

_PAGE = 250
_Call = Callable[[str, Sequence[tuple[Sequence[str], Sequence[Any]]]], Awaitable[list[Any]]]
NEAREST = 5
BEST = 100


@dataclass(frozen=True, slots=True)
class Survey:
    """Some nodes of the fleet; `exact` when they are all of its `total`."""

    subjects: list[Subject]
    total: int
    exact: bool


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Ids to look at, page by page: all of them (`exact`), or a sample of `total`; who looks at all
    waits for a `turn`."""

    pages: AsyncIterator[list[str]]
    total: int
    exact: bool
    turn: AbstractAsyncContextManager[object]


@dataclass(frozen=True, slots=True)
class Miss:
    """A node that does not fit, and everything it lacks."""

    subject: Subject
    lacks: tuple[Lack, ...]


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why not more fit: examined nodes by the first thing each lacks, and the nearest misses; how
    many do fit, and the best of them. With `sampled` only so many of `total` were looked at."""

    counts: dict[str, int]
    nearest: list[Miss]
    examined: int
    total: int
    sampled: bool
    fitting: int = 0
    best: Sequence[Subject] = ()


class Surveying(Base):
    """Reads only; each node's facts are of one instant."""

    async def subjects(
        self,
        ids: Sequence[str],
        *,
        report: bool = False,
        detail: bool = False,
        with_room: bool = False,
    ) -> list[Subject | None]:
        """Nodes by id, None where there is no record. `report` reads the last report too, `detail`
        the registration and the operator's labels; `with_room` leaves full ones out."""
        call = self.store.call_many
        found = await self._subjects(
            ids, report=report, detail=detail, with_room=with_room, call=call
        )
        return [found[id_] for id_ in ids]

    async def subjects_in_reach(
        self, ids: Sequence[str], *, report: bool = False, with_room: bool = False
    ) -> tuple[list[Subject], bool]:
        """Those of the nodes that have a record (and room, if asked). On a Cluster those that can't
        be asked now are left out, and the second value is False."""
        call = self.store.call_some
        found = await self._subjects(
            ids, report=report, detail=False, with_room=with_room, call=call
        )
        return [s for id_ in ids if (s := found.get(id_))], len(found) == len(set(ids))

    async def _subjects(
        self, ids: Sequence[str], *, report: bool, detail: bool, with_room: bool, call: _Call
    ) -> dict[str, Subject | None]:
        if not ids:
            return {}
        groups = self._slots(ids)
        looked_at = self.keys.looked_at
        calls = [
            (
                [key for i in group for key in looked_at(i)],
                [int(report), int(detail), int(with_room)],
            )
            for group in groups
        ]
        found: dict[str, Subject | None] = {}
        for group, reply in zip(groups, await call("subjects", calls), strict=True):
            if isinstance(reply, StoreUnavailable):
                continue
            for id_, row in zip(group, reply[1:], strict=True):
                found[id_] = None if row == 0 else _subject(id_, int(reply[0]), row)
        return found

    def _slots(self, ids: Sequence[str]) -> list[list[str]]:
        """Ids in groups of which one script can read each."""
        groups: dict[int, list[str]] = {}
        for id_ in ids:
            groups.setdefault(0 if self.store.single else partition_of(id_), []).append(id_)
        return list(groups.values())

    async def listed(
        self, wanted: Filter, limit: int, cursor: str | None = None, order: Order | None = None
    ) -> tuple[list[Subject], str | None]:
        """One page of nodes; None ends the cursor. A page may be short though more follows.

        Without `order` they come partition by partition, by id within it, and every node that is
        there all the while is shown exactly once. With it the same holds for nodes whose sort
        value does not change. Raises CursorError for a cursor that is none of this list's."""
        if order is not None:
            return await self._sorted(wanted, limit, cursor, order)
        timeout = ms(self.settings.heartbeat_timeout_s)
        rows: list[Subject] = []
        here, looked = -1, 0
        async for page in self._among(wanted, *_place(cursor)):
            for s in page:
                partition = partition_of(s.node_id)
                if partition != here and looked >= self.settings.list_looks_most:
                    # Not behind a node's id: whoever asks may not be allowed to know of it.
                    return rows, f"{partition}:"
                here, looked = partition, looked + 1
                if wanted.shows(s, timeout):
                    rows.append(s)
                    if len(rows) == limit:
                        return rows, f"{partition}:{s.node_id}"
        return rows, None

    async def _sorted(
        self, wanted: Filter, limit: int, cursor: str | None, order: Order
    ) -> tuple[list[Subject], str | None]:
        mark = order.mark(cursor) if cursor else None
        timeout = ms(self.settings.heartbeat_timeout_s)
        best: list[Subject] = []
        pick = heapq.nlargest if order.descending else heapq.nsmallest
        async with self.walks:
            async for page in self._among(wanted, 0, ""):
                shown = [
                    s
                    for s in page
                    if (mark is None or order.behind(s, mark)) and wanted.shows(s, timeout)
                ]
                best = pick(limit + 1, [*best, *shown], key=order.key)
        if len(best) > limit:
            return best[:limit], order.cursor(best[limit - 1])
        return best, None

    async def _among(
        self, wanted: Filter, partition: int, after: str
    ) -> AsyncIterator[list[Subject]]:
        """Nodes behind a place among which those wanted are: the named ones, or all."""
        if wanted.ids is None:
            async for page in self._roll(partition, after):
                yield page
            return
        named = sorted((partition_of(id_), id_) for id_ in wanted.ids)
        ids = [id_ for place, id_ in named if (place, id_) > (partition, after)]
        for low in range(0, len(ids), _PAGE):
            found = await self.subjects(ids[low : low + _PAGE], report=True, detail=True)
            yield [s for s in found if s is not None]

    async def _roll(self, partition: int, after: str) -> AsyncIterator[list[Subject]]:
        """Every node behind a place, page by page."""
        async for ids in self._ids(partition, after):
            found = await self.subjects(ids, report=True, detail=True)
            yield [s for s in found if s is not None]

    async def _ids(self, partition: int, after: str) -> AsyncIterator[list[str]]:
        """The id of every node behind a place, page by page."""
        while partition < PARTITIONS:
            # Most fleets have few nodes in a partition: several are read in one round trip.
            ahead = list(range(partition, min(partition + 8, PARTITIONS)))
            replies = await self.store.commands(
                [
                    ("ZRANGEBYLEX", self.keys.roll(p), f"({after}" if p == partition and after
                     else "-", "+", "LIMIT", 0, _PAGE)
                    for p in ahead
                ]
            )  # fmt: skip
            ids: list[str] = []
            for p, reply in zip(ahead, replies, strict=True):
                ids += [text(i) for i in reply]
                partition, after = p + 1, ""
                if len(reply) == _PAGE:
                    partition, after = p, text(reply[-1])
                if len(reply) == _PAGE or len(ids) >= _PAGE:
                    break
            yield ids

    async def survey(
        self, most: int, *, detail: bool = True, scope: Filter | None = None
    ) -> Survey:
        """The whole fleet if it has at most `most` nodes, else a random sample of about so many.
        With `scope` its nodes alone, all of them: a sample might hold none of an owner's few."""
        drawn = await self._drawn(most, whole=scope is not None)
        timeout = ms(self.settings.heartbeat_timeout_s)
        found: list[Subject] = []
        async with drawn.turn:
            async for ids in drawn.pages:
                page = await self.subjects(ids, report=True, detail=detail)
                found += [
                    s
                    for s in page
                    if s is not None and not s.removed and (not scope or scope.shows(s, timeout))
                ]
        return Survey(found, len(found) if drawn.exact else drawn.total, drawn.exact)

    async def tallied(self, most: int) -> tuple[Tallies, bool]:
        """As `survey`, only counted: read and told apart by no more than what is counted. The
        second value says whether all were."""
        drawn, tallies = await self._drawn(most, whole=False), Tallies()
        timeout = ms(self.settings.heartbeat_timeout_s)
        async with drawn.turn:
            async for ids in drawn.pages:
                calls = [
                    ([key for id_ in group for key in self.keys.looked_at(id_)[:3]], [timeout])
                    for group in self._slots(ids)
                ]
                alike: Counter[tuple[bytes, bytes, bytes]] = Counter()
                for reply in await self.store.call_many("tally", calls):
                    alike.update(zip(reply[::3], reply[1::3], reply[2::3], strict=True))
                for (told, capabilities, packed), times in alike.items():
                    if status := text(told):
                        called = names(lines(capabilities), packed)
                        tallies.add(status.rstrip("*"), status.endswith("*"), called, times)
        return tallies, drawn.exact

    async def _drawn(self, most: int, *, whole: bool) -> _Drawn:
        sizes = await self.store.commands([("ZCARD", self.keys.roll(p)) for p in range(PARTITIONS)])
        total = sum(int(size) for size in sizes)
        if whole or total <= most:
            return _Drawn(self._ids(0, ""), total, True, self.walks)
        share = most / total
        replies = await self.store.commands(
            [
                ("ZRANDMEMBER", self.keys.roll(p), max(1, round(int(size) * share)))
                for p, size in enumerate(sizes)
                if int(size)
            ]
        )
        ids = [text(i) for reply in replies for i in reply]
        return _Drawn(_in_pages(ids), total, False, nullcontext())

    async def shortfall(self, wanted: Requirement, scope: Filter | None = None) -> Shortfall:
        """Why nobody fits, counted over the whole fleet up to `explain_most` nodes, over a random
        sample of so many beyond that; or over the nodes of `scope`, if the asker may know of no
        others."""
        survey = await self.survey(self.settings.explain_most, detail=False, scope=scope)
        timeout = ms(self.settings.heartbeat_timeout_s)
        judged = [Miss(s, tuple(wanted.lacks(s, timeout))) for s in survey.subjects]
        misses = [each for each in judged if each.lacks]
        fitting = [each.subject for each in judged if not each.lacks]
        counts: dict[str, int] = {}
        for miss in misses:
            reason = miss.lacks[0].reason.value
            counts[reason] = counts.get(reason, 0) + 1
        return Shortfall(
            counts=dict(sorted(counts.items(), key=lambda pair: -pair[1])),
            nearest=_nearest(misses),
            examined=len(survey.subjects),
            total=survey.total,
            sampled=not survey.exact,
            fitting=len(fitting),
            best=heapq.nsmallest(BEST, fitting, key=rank(wanted)),
        )


async def _in_pages(ids: list[str]) -> AsyncIterator[list[str]]:
    for low in range(0, len(ids), _PAGE):
        yield ids[low : low + _PAGE]


def _nearest(misses: Iterable[Miss]) -> list[Miss]:
    """Those that lack least; among equals those that are with us rather than gone."""
    return heapq.nsmallest(
        NEAREST,
        misses,
        key=lambda m: (len(m.lacks), m.subject.status == Status.OFFLINE, m.subject.node_id),
    )


def _place(cursor: str | None) -> tuple[int, str]:
    if not cursor:
        return 0, ""
    partition, separator, after = cursor.partition(":")
    known = separator and partition.isascii() and partition.isdigit() and len(partition) < 3
    if not known or int(partition) >= PARTITIONS:
        raise CursorError(cursor)
    if after and partition_of(after) != int(partition):
        raise CursorError(cursor)
    return int(partition), after


def _subject(id_: str, now: int, row: list[object]) -> Subject:
    r, stamp, at, who, why, timeout, label_stamp, left, holds, report, registration, labels = row
    assert isinstance(r, list)
    intent = Intent(text(stamp), number(at), text(who), text(why), number(timeout))
    return Subject(
        node_id=id_,
        now=now,
        status=text(r[0]),
        reason=text(r[1]),
        since=number(r[2]),
        last_beat=number(r[3]),
        gateway=text(r[4]),
        version=number(r[5]),
        capacity=number(r[6]),
        jobs=number(r[7]),
        public=r[8] == b"1",
        leaving=(text(r[10]) or "leave") if r[9] is not None else "",
        digest=text(r[11]),
        gpu_memory_gb=float(r[12] or 0),
        ttl_ms=number(left),
        holds=number(holds),
        intent=intent if stamp else None,
        label_stamp=text(label_stamp),
        capabilities=frozenset(lines(r[14])),
        packed_registration=_bytes(registration),
        packed_report=_bytes(report),
        packed_labels=_bytes(labels),
    )


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
