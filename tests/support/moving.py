"""Machines that a test moves from status to status by hand, and what the store says happened."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from gateway.api.frames import shown
from registry.cursor import BEGINNING, Places
from registry.errors import StoreUnavailable
from registry.keys import partition_of
from registry.model import Change, Decision, Facts, Reason, Status
from registry.registry import Registry
from tests.support.fleet import Fleet

_AT_ONCE = 4


class Movers:
    """Machines of one registry, each ready or degraded, and moved between the two. `evidence` is
    what each change is said to rest on."""

    def __init__(self, registry: Registry, evidence: str = "by hand") -> None:
        self.registry = registry
        said = {"said": evidence}
        self._over: dict[Status, Decision] = {
            Status.READY: Decision(Status.DEGRADED, Reason.GPU_UNAVAILABLE, evidence=said),
            Status.DEGRADED: Decision(Status.READY, Reason.RECOVERED, evidence=said),
        }
        self._fleet = Fleet(registry)
        self._facts: dict[str, Facts] = {}

    async def register(self, ids: Sequence[str], **changes: Any) -> None:
        """Registers them and makes them ready."""
        for id_ in ids:
            await self._fleet.make_ready(id_, **changes)
            self._facts[id_] = await self._fleet.facts(id_)

    async def move_all(self, times: int) -> None:
        """Exactly so many transitions in all, of random machines. While the store is away it waits;
        what the store lost is registered anew."""
        turns = iter(range(times))
        ids = list(self._facts)

        async def work(mine: Sequence[str]) -> None:
            for _ in turns:
                while not await self._moved(random.choice(mine)):
                    pass

        # Each machine has one mover: its changes follow each other.
        shares = (ids[place::_AT_ONCE] for place in range(_AT_ONCE))
        await asyncio.gather(*(work(share) for share in shares if share))

    async def _moved(self, id_: str) -> bool:
        facts = self._facts[id_]
        decision = self._over[facts.status]
        try:
            change = await self.registry.commit(facts, decision)
            if isinstance(change, Change):
                self._facts[id_] = replace(facts, version=change.version, status=decision.to)
                return True
            known = (await self.registry.facts(partition_of(id_), [id_]))[0]
            if known is None or known.status not in self._over:
                await self.register([id_])
            else:
                self._facts[id_] = known
        except StoreUnavailable:
            await asyncio.sleep(0.05)
        return False


async def happened(
    registry: Registry, places: Places = BEGINNING
) -> dict[str, list[dict[str, Any]]]:
    """By node id, everything that happened, as the store has it and an admin is shown it."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    while True:
        page = await registry.events_behind(places, each=100)
        assert page.loss is None, page.loss
        for event in page.events:
            data = msgspec.json.encode(shown(event, for_admin=True))
            found[event.node_id].append(json.loads(data))
        places = page.places
        if not page.more:
            return found
