"""The patrol: who is there, which partitions are this sweeper's, and what waits in them.

Here the watch over observed time is fed: whatever looks at partitions looks through this, so that
none of it goes by unseen.
"""

from __future__ import annotations

import logging
import math

from registry.errors import StoreUnavailable
from registry.events import EventType
from registry.logs import log
from registry.model import Patrolled
from registry.registry import Registry
from sweeper.leases import share
from sweeper.metrics import SweeperMetrics
from sweeper.settings import SweeperSettings
from sweeper.watch import Watch

logger = logging.getLogger("muster.sweeper")


class Patrol:
    """One sweeper's way through its partitions; all of it asks the store, and raises StoreError."""

    def __init__(
        self, registry: Registry, settings: SweeperSettings, metrics: SweeperMetrics, owner: str
    ) -> None:
        self.watch = Watch(settings.unobserved_gap_s, settings.gateway_grace_s)
        self.gateways: set[str] = set()
        self.gateways_known = False
        self._registry = registry
        self._settings = settings
        self._metrics = metrics
        self._owner = owner
        self._next = math.inf  # until this sweeper has its first partitions

    @property
    def observable(self) -> bool:
        """While no gateway is there, nobody could bring a beat: that time is not observed."""
        return bool(self.gateways)

    def present(self, gateway: str) -> bool:
        """Whether a gateway is there; while nobody knows, all are."""
        return gateway in self.gateways or not self.gateways_known

    async def mine(self) -> list[int]:
        """Who is there, and which partitions fall to this sweeper."""
        registry, watch = self._registry, self.watch
        self._next = registry.clock.monotonic() + self._settings.observe_interval_s
        sweepers = await registry.announce_sweeper(self._owner, self._settings.lease_ttl_s)
        await self.learn_gateways()
        mine = share(sweepers, self._owner)
        lost = sorted(watch.held - set(mine))
        if lost:
            await registry.release(lost, self._owner)
            watch.let_go(lost)
        return mine

    def forget_gateways(self) -> None:
        """Which gateways are there is not known any more."""
        self.gateways_known = False

    async def learn_gateways(self) -> None:
        """Which gateways are there."""
        self.gateways = set(await self._registry.gateways())
        self.gateways_known = True
        if not self.gateways:
            self.watch.nobody_hears()

    async def keep(self) -> None:
        """Keeps leases and writes down observed time during a long pass (much to judge, a slow
        store, little processor): else its own slowness would be time that nobody observed, and
        nobody would be called silent for as long as it lasts."""
        if self._registry.clock.monotonic() >= self._next:
            mine = await self.mine()
            if mine:
                await self.look(mine, observe=self.observable, limit=0)

    async def look(self, partitions: list[int], *, observe: bool, limit: int) -> list[Patrolled]:
        """Leases, observed time, and up to `limit` nodes of each kind that wait in a partition."""
        registry = self._registry
        found = await registry.patrol(
            partitions,
            self._owner,
            observe=observe,
            limit=limit,
            lease_ttl_s=self._settings.lease_ttl_s,
        )
        self.watch.saw(partitions, found, registry.clock.monotonic(), observe=observe)
        if observe:
            most = max((look.unobserved for look in found if look.held), default=0)
            self._metrics.unobserved.set(most / 1000)
            await self._tell_unobserved([look for look in found if look.added])
        return found

    async def _tell_unobserved(self, found: list[Patrolled]) -> None:
        """One event for all partitions in which time was found that nobody observed."""
        if found:
            longest = max((look.added for look in found), key=abs)
            log(logger, logging.WARNING, "unobserved", ms=longest, partitions=len(found))
            seen = {"ms": longest, "partitions": len(found)}
            try:
                await self._registry.note(found[0].partition, EventType.UNOBSERVED, seen)
            except StoreUnavailable:  # a part of a Cluster away again must not hold up the others
                if self._registry.store.single:
                    raise
