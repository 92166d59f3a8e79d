"""Where to look for a machine: a sample of the ready ones, and, if need be, all of them.

The indexes only say where to look. Each id is read at one instant and judged by
`registry.requirement`; what is full is not even sent. A look at everybody who might fit is shared
by all who ask for the same at the same time (`registry.looks`), or a fleet that is full would be
made slower still by those who keep asking.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from registry.base import ms
from registry.errors import StoreUnavailable
from registry.keys import PARTITIONS
from registry.looks import Looks
from registry.requirement import Requirement
from registry.settings import RegistrySettings
from registry.store import Store
from registry.subject import Subject
from registry.surveying import Surveying

_SAMPLE = 8  # candidates for each node wanted, at least this many
_PER_NODE = 4
_PER_PARTITION = 4  # drawn from each, at least
_FIRST_LOOK = 16  # partitions
_PAGE = 128
_EXACT_GROUP = 8  # partitions of a Cluster intersected in one round trip
_EXACT_ENOUGH = 512  # ids after which such a look pauses
_FOUND_MOST = 128  # a look at everybody ends with so many who fit, or as many as are wanted
_LOOKS_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Found:
    """Who fits; `everybody` if nobody else does, `whole` unless a part of the store (of a Cluster)
    could not be asked."""

    subjects: list[Subject]
    everybody: bool
    whole: bool


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Ids from the first so many partitions of those asked for."""

    visited: int
    nobody_left_out: bool
    ids: list[str]
    whole: bool


class Candidates(Surveying):
    """Finds who fits; reads only."""

    def __init__(self, store: Store, settings: RegistrySettings) -> None:
        super().__init__(store, settings)
        self._looks: Looks[Found] = Looks(_LOOKS_AT_ONCE)

    async def sampled(self, wanted: Requirement, limit: int) -> Found:
        """Those who fit among the preferred and a random sample."""
        enough = max(_SAMPLE, _PER_NODE * limit)
        partitions = _shuffled_partitions()
        ids = list(wanted.prefer)
        everybody = whole = True
        for look in (partitions[:_FIRST_LOOK], partitions[_FIRST_LOOK:]):
            if len(ids) >= enough:
                everybody = False
                break
            most = max(_PER_PARTITION, -(-2 * enough // len(look)))
            drawn = await self._sample(wanted.indexes(), look, most, enough - len(ids))
            ids += drawn.ids
            everybody = everybody and drawn.visited == len(look) and drawn.nobody_left_out
            whole = whole and drawn.whole
        subjects, all_seen = await self._fitting(wanted, ids)
        return Found(subjects, everybody, whole and all_seen)

    async def all_fitting(self, wanted: Requirement, limit: int) -> Found:
        """Everybody who fits, by exact intersection, or of many a random part. A look that began
        after this call; others who ask for the same share it."""
        most = max(_FOUND_MOST, limit)
        return await self._looks.share((wanted, most), lambda: self._exactly(wanted, most))

    async def _exactly(self, wanted: Requirement, most: int) -> Found:
        partitions = _shuffled_partitions()
        found: dict[str, Subject] = {}
        whole = True
        for names in wanted.alternatives():
            start = 0
            while start < PARTITIONS:
                group = partitions[start : None if self.store.single else start + _EXACT_GROUP]
                drawn = await self._sample(names, group, 0, _EXACT_ENOUGH)
                start += drawn.visited
                whole = whole and drawn.whole
                random.shuffle(drawn.ids)
                for low in range(0, len(drawn.ids), _PAGE):
                    page, all_seen = await self._fitting(wanted, drawn.ids[low : low + _PAGE])
                    found.update((s.node_id, s) for s in page)
                    whole = whole and all_seen
                    if len(found) >= most:
                        return Found(list(found.values()), everybody=False, whole=whole)
        return Found(list(found.values()), everybody=True, whole=whole)

    async def _sample(
        self, names: Sequence[str], partitions: Sequence[int], most: int, enough: int
    ) -> _Drawn:
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
        missed = len(replies) - len(heard)  # one partition each, on a Cluster
        return _Drawn(
            visited=missed + sum(int(reply[0]) for reply in heard),
            nobody_left_out=all(reply[1] == 1 for reply in heard),
            ids=[i.decode() for reply in heard for i in reply[2:]],
            whole=not missed,
        )

    async def _fitting(self, wanted: Requirement, ids: Iterable[str]) -> tuple[list[Subject], bool]:
        """Those of the ids that may be given this work now, and whether all could be asked."""
        timeout = ms(self.settings.heartbeat_timeout_s)
        found, all_seen = await self.subjects_in_reach(
            list(dict.fromkeys(ids)), report=wanted.asks_reports, with_room=True
        )
        return [s for s in found if wanted.fits(s, timeout)], all_seen


def _shuffled_partitions() -> list[int]:
    partitions = list(range(PARTITIONS))
    random.shuffle(partitions)
    return partitions
