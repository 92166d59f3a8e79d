"""Every record against every index, now and then: what a crash or a bug left is put right."""

from __future__ import annotations

import asyncio
from collections import Counter

from registry.keys import PARTITIONS
from registry.model import Facts, Status
from registry.registry import Registry

_AT_ONCE = 20


class Repair:
    """Repairs one partition; the script compares what is judged, as for a transition."""

    def __init__(self, registry: Registry, batch: int) -> None:
        self._registry = registry
        self._batch = batch

    async def partition(self, partition: int) -> int:
        """Puts roll, indexes, alarms and counts of a partition right; how many nodes were
        touched."""
        assert 0 <= partition < PARTITIONS
        registry = self._registry
        places = await self._places(partition)
        counted: Counter[str] = Counter({s.value: 0 for s in Status})
        touched = 0
        after = ""
        while ids := await registry.roll(partition, after, self._batch):
            after = ids[-1]
            for facts in await registry.facts(partition, ids):
                if facts is None:
                    continue
                if facts.due == 0:
                    await registry.rearm(facts)
                _count(facts, counted)
                touched += await self._indexes(facts, places.get(facts.node_id, set()))
            for id_ in ids:
                places.pop(id_, None)
        touched += await self._strangers(partition, places, counted)
        await registry.count_now(partition, counted)
        return touched

    async def _places(self, partition: int) -> dict[str, set[str]]:
        """In which indexes each id is; in none if it has an alarm only, as every record has one.
        Turned around once: a fleet whose every node has a label of its own has as many indexes as
        nodes, and asking each index for each node would be their product."""
        registry = self._registry
        places: dict[str, set[str]] = {}
        names = await registry.index_names(partition)
        for low in range(0, len(names), _AT_ONCE):
            group = names[low : low + _AT_ONCE]
            found = await asyncio.gather(*(registry.index_members(partition, n) for n in group))
            for name, ids in zip(group, found, strict=True):
                for id_ in ids:
                    places.setdefault(id_, set()).add(name)
        read = 0
        while alarmed := await registry.alarmed(partition, read, self._batch):
            read += len(alarmed)
            for id_ in alarmed:
                places.setdefault(id_, set())
        return places

    async def _indexes(self, facts: Facts, found: set[str]) -> int:
        own = set(facts.capabilities) if _indexed(facts) else set()
        if found == own:
            return 0
        extra = sorted(found - set(facts.capabilities))
        return int(await self._registry.reindex(facts, extra))

    async def _strangers(
        self, partition: int, places: dict[str, set[str]], counted: Counter[str]
    ) -> int:
        """Who is in an index or has an alarm, and is not on the roll: put back there, or, who has
        no record, taken out of the indexes."""
        registry = self._registry
        touched = 0
        ids = sorted(places)
        for low in range(0, len(ids), self._batch):
            some = ids[low : low + self._batch]
            found = await registry.facts(partition, some)
            known = [facts for facts in found if facts is not None]
            await registry.rearm_all([(facts, 0) for facts in known])
            for facts in known:
                _count(facts, counted)
                await self._indexes(facts, places[facts.node_id])
            for id_ in sorted(set(some).difference(facts.node_id for facts in known)):
                touched += int(await registry.unindex(id_, partition, sorted(places[id_])))
            touched += len(known)
        return touched


def _count(facts: Facts, counted: Counter[str]) -> None:
    if not facts.removed:
        counted[facts.status.value] += 1


def _indexed(facts: Facts) -> bool:
    return facts.status is Status.READY and not facts.intent and not facts.leave
