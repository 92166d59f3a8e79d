"""The sweeper's loop: look, judge, commit.

It looks at its partitions every second, at the next due instant, and when a bell rings; a bell
only says where to look. Here it is decided when, and what becomes of outages. How it looks is the
patrol's, what may be said of the time that passed the watch's, and whatever waits the judge's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from registry.ending import end
from registry.errors import StoreError, StoreUnavailable
from registry.events import EventType
from registry.keys import PARTITIONS
from registry.logs import log
from registry.registry import Registry
from sweeper.brake import Brake, BrakeLimits
from sweeper.judge import Judge
from sweeper.metrics import SweeperMetrics
from sweeper.patrol import Patrol
from sweeper.repair import Repair
from sweeper.settings import SweeperSettings

logger = logging.getLogger("muster.sweeper")

_SLEEP_MOST_S = 0.25
_ALARMS_S = 0.1  # alarms that ring so soon after each other are answered together
_BACK_OFF_S = 0.5
_MASS_SHOWN_S = 600.0
_END_S = 2.0  # a subscription alone may take 1 s to end


class Sweeper:
    """One sweeper: `run` until `stop`."""

    def __init__(
        self, registry: Registry, settings: SweeperSettings, metrics: SweeperMetrics, owner: str
    ) -> None:
        self.registry = registry
        self.settings = settings
        self.metrics = metrics
        registry.store.observer = metrics
        self.owner = owner
        self.patrol = Patrol(registry, settings, metrics, owner)
        self.watch = self.patrol.watch
        began = registry.clock.monotonic()
        metrics.look_age.set_function(
            lambda: registry.clock.monotonic() - max(began, self.watch.last_look)
        )
        self._rung: set[int] = set()
        self._bell = asyncio.Event()
        self._stopping = asyncio.Event()
        self.brake = Brake(
            BrakeLimits(
                on=settings.offline_brake,
                fraction=settings.mass_expiry_fraction,
                at_least=settings.mass_expiry_min,
                within_ms=round(settings.heartbeat_timeout_s * 1000),
                per_s=settings.offline_brake_per_s,
                most_ms=round(settings.offline_brake_most_s * 1000),
            )
        )
        self.judge = Judge(registry, settings, metrics, self.patrol, self.brake)
        self._store_lost = False
        self._in_part = False
        self._bells = {
            channel.encode(): p
            for p, channel in enumerate(registry.keys.bell_channels(list(range(PARTITIONS))))
        }

    def stop(self) -> None:
        """Asks the loop to end after what it is doing."""
        self._stopping.set()
        self._bell.set()

    @property
    def alive(self) -> bool:
        """Whether the loop looked at the store lately."""
        allowed = max(5.0, 5 * self.settings.observe_interval_s)
        return self.registry.clock.monotonic() - self.watch.last_look < allowed

    async def run(self) -> None:
        """Sweeps until stopped, through any outage of the store."""
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._repair())]
        try:
            await self._sweep()
        finally:
            self._stopping.set()
            await end(tasks, _END_S)
            with contextlib.suppress(StoreError):
                await self.registry.release(sorted(self.watch.held), self.owner)
                await self.registry.withdraw_sweeper(self.owner)

    async def _sweep(self) -> None:
        clock = self.registry.clock
        next_full = 0.0
        sleep_s = 0.0
        while not self._stopping.is_set():
            rung, self._rung = self._rung, set()
            self._bell.clear()
            now = clock.monotonic()
            try:
                if now >= next_full:
                    next_full = now + self.settings.observe_interval_s
                    sleep_s = await self._look_everywhere()
                else:
                    where = sorted(self.watch.held if not rung else rung & self.watch.held)
                    sleep_s = await self._look(where, observe=False)
                self._answered()
            except StoreError as error:
                self._unanswered(error)
                next_full = 0.0
                sleep_s = _BACK_OFF_S
            except Exception as error:  # noqa: BLE001 - a bug of ours; the loop goes on
                log(logger, logging.ERROR, "sweep_failed", exc_info=error)
                sleep_s = _BACK_OFF_S
            if self._store_lost:
                wait = _BACK_OFF_S
            else:
                wait = min(sleep_s, _SLEEP_MOST_S, max(0.0, next_full - clock.monotonic()))
            if not self._rung and wait > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._bell.wait(), wait)

    async def _look_everywhere(self) -> float:
        """Once a second: who is there, what is mine, what was observed, what waits."""
        registry = self.registry
        mine = await self.patrol.mine()
        sleep_s = await self._look(mine, observe=self.patrol.observable)
        unasked = self.watch.unasked
        if mine and len(unasked) == len(mine):
            raise StoreUnavailable("no partition can be asked")
        self._count_unasked(len(unasked))
        counts = await registry.counts(sorted(self.watch.held - unasked))
        for status, count in counts.items():
            self.metrics.nodes.labels(status).set(count)
        await self._mass_expiry(sum(counts.values()) - counts["offline"])
        self.metrics.held.set(len(self.watch.held - unasked))
        self.metrics.overdue.set(self.judge.take_overdue_ms() / 1000)
        return sleep_s

    async def _look(self, partitions: list[int], *, observe: bool) -> float:
        """Takes what waits in some partitions and judges it; seconds until the next is due."""
        if not partitions:
            return _SLEEP_MOST_S
        batch = self.settings.pass_batch
        with self.metrics.sweep.time():
            found = await self.patrol.look(partitions, observe=observe, limit=batch)
            await self.judge.where_it_can(
                [look for look in found if look.held and (look.marked or look.due)]
            )
        if any(batch in (len(look.marked), len(look.due)) for look in found if look.held):
            return 0.0
        nexts = [look.next_due - look.now for look in found if look.held and look.next_due]
        return max(_ALARMS_S, min(nexts, default=1000) / 1000)

    def _count_unasked(self, count: int) -> None:
        self.metrics.unasked.set(count)
        if bool(count) != self._in_part:
            self._in_part = bool(count)
            action = "store_lost_in_part" if count else "store_returned_in_part"
            log(logger, logging.WARNING, action, partitions=count)

    async def _mass_expiry(self, living: int) -> None:
        """Notices that much of the fleet falls silent at once, and tells everybody."""
        brake, registry = self.brake, self.registry
        braking = bool(brake.since)
        released = await registry.brake_released() if self.settings.offline_brake else 0
        begins = brake.look(registry.clock.now_ms(), living, len(self.watch.held), released)
        self.metrics.mass_expiry.set(int(brake.mass))
        self.metrics.brake_waiting.set(brake.waiting)
        if begins:
            braked = bool(brake.since)
            log(logger, logging.ERROR, "mass_expiry", lost=brake.lost, living=living, braked=braked)
            seen = {"lost": brake.lost, "living": living}
            await registry.note(min(self.watch.held, default=0), EventType.MASS_EXPIRY, seen)
            await registry.note_mass_expiry(brake.lost, living, _MASS_SHOWN_S)
        if brake.since:
            keep_s = 5 * self.settings.observe_interval_s
            await registry.note_brake(self.owner, brake.since, brake.until, brake.waiting, keep_s)
        elif braking:
            await registry.forget_brake(self.owner)

    def _answered(self) -> None:
        if self._store_lost:
            self._store_lost = False
            log(logger, logging.WARNING, "store_returned")

    def _unanswered(self, error: StoreError) -> None:
        self.patrol.forget_gateways()
        self.watch.blink()
        if self.registry.clock.monotonic() - self.watch.last_look > self.settings.lease_ttl_s:
            self._let_go()
        if not self._store_lost:
            self._store_lost = True
            log(logger, logging.ERROR, "store_lost", error=str(error))

    def _let_go(self) -> None:
        """The leases have lapsed: another may hold these partitions, and counts their nodes."""
        self.watch.let_go(self.watch.held)
        self.metrics.held.set(0)
        self.metrics.nodes.clear()

    async def _listen(self) -> None:
        channels = self.registry.keys.bell_channels(list(range(PARTITIONS)))
        async with self.registry.subscription(channels) as bells:
            async for channel in bells:
                partition = self._bells.get(channel)
                if partition is not None and partition in self.watch.held:
                    self._rung.add(partition)
                    self._bell.set()

    async def _repair(self) -> None:
        repair = Repair(self.registry, self.settings.pass_batch)
        await self._every(self.settings.repair_interval_s, lambda: self._repair_held(repair))

    async def _repair_held(self, repair: Repair) -> None:
        for partition in sorted(self.watch.held):
            if self._stopping.is_set():
                return
            touched = await repair.partition(partition)
            if touched:
                self.metrics.repairs.inc(touched)
                log(logger, logging.WARNING, "indexes_repaired", partition=partition, nodes=touched)

    async def _every(self, interval_s: float, act: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), interval_s)
                return
            try:
                await act()
            except StoreError as error:
                self._unanswered(error)
            except Exception as error:  # noqa: BLE001 - a bug of ours; the loop goes on
                log(logger, logging.ERROR, "repair_failed", exc_info=error)
