"""Every record against every index, now and then: what a crash or a bug left is put right."""

from __future__ import annotations

from collections import Counter

from registry.keys import PARTITIONS
from registry.model import Facts, Status
from registry.registry import Registry


class Repair:
    """Repairs one partition; the script compares what is judged, as for a transition."""

    def __init__(self, registry: Registry, batch: int) -> None:
        self._registry = registry
        self._batch = batch

    async def partition(self, partition: int) -> int:
        """Puts indexes, alarms and counts of a partition right; how many nodes were touched."""
        assert 0 <= partition < PARTITIONS
        registry = self._registry
        members = {
            name: await registry.index_members(partition, name)
            for name in await registry.index_names(partition)
        }
        counted: Counter[str] = Counter({s.value: 0 for s in Status})
        touched = 0
        known: set[str] = set()
        after = ""
        while ids := await registry.roll(partition, after, self._batch):
            after = ids[-1]
            known.update(ids)
            for facts in await registry.facts(partition, ids):
                if facts is None:
                    continue
                if not facts.removed:
                    counted[facts.status.value] += 1
                if facts.due == 0:
                    await registry.rearm(facts)
                touched += await self._indexes(facts, members)
        touched += await self._strangers(partition, members, known)
        await registry.count_now(partition, counted)
        return touched

    async def _indexes(self, facts: Facts, members: dict[str, set[str]]) -> int:
        own = set(facts.capabilities) if _indexed(facts) else set()
        found = {name for name, ids in members.items() if facts.node_id in ids}
        if found == own:
            return 0
        extra = sorted(found - set(facts.capabilities))
        return int(await self._registry.reindex(facts, extra))

    async def _strangers(
        self, partition: int, members: dict[str, set[str]], known: set[str]
    ) -> int:
        touched = 0
        indexed = {id_ for ids in members.values() for id_ in ids}
        for id_ in sorted(indexed - known):
            names = [name for name, ids in members.items() if id_ in ids]
            touched += int(await self._registry.unindex(id_, partition, names))
        return touched


def _indexed(facts: Facts) -> bool:
    return facts.status is Status.READY and not facts.intent and not facts.leave
