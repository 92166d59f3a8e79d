"""The sweeper's loop: look, judge, commit.

It looks at its partitions every second, at the next due instant, and when a bell rings; a bell
only says where to look. Nothing it remembers matters: whatever it has taken and not finished rings
again by itself, and whatever it judges on stale facts is refused by the script.

One thing no script can see by itself: time that nobody observed and that is not yet written down as
such, after an outage or a pause of this very process, because the store's clock stepped, or because
another server answers than did a second ago: whoever spoke with the former one was not heard by
this one. Until a partition was observed again, or watched in vain for a gateway's whole grace,
nobody there is called silent. As any of it may also happen between a look and what is committed
after it, each such commit says by which look it was judged, and the script compares.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace

from registry.errors import StoreError, StoreUnavailable
from registry.events import EventType
from registry.keys import PARTITIONS
from registry.logs import log
from registry.model import Change, Decision, Facts, Looked, Patrolled, Reason, Stale
from registry.registry import Registry
from sweeper.brake import Brake, BrakeLimits
from sweeper.leases import share
from sweeper.metrics import SweeperMetrics
from sweeper.repair import Repair
from sweeper.rules import HELD_LOOK_MS, Limits, expired, judge, next_look_ms
from sweeper.settings import SweeperSettings

logger = logging.getLogger("muster.sweeper")

_SLEEP_MOST_S = 0.25
_ALARMS_S = 0.1  # alarms that ring so soon after each other are answered together
_COMMITS_AT_ONCE = 50  # the first of them is not to wait until many are packed
_PARTITIONS_AT_ONCE = 8
_BACK_OFF_S = 0.5
_MASS_SHOWN_S = 600.0
_END_S = 2.0  # the store's client may swallow a cancellation; nothing waits for it longer


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
        self.limits = Limits.of(settings)
        self.held: set[int] = set()
        self.last_look = 0.0
        self._next_watch = math.inf  # until this sweeper has its first partitions
        began = registry.clock.monotonic()
        metrics.look_age.set_function(
            lambda: registry.clock.monotonic() - max(began, self.last_look)
        )
        self._gateways: set[str] = set()
        self._gateways_known = False
        self._rung: set[int] = set()
        self._bell = asyncio.Event()
        self._stopping = asyncio.Event()
        self.brake = Brake(
            BrakeLimits(
                on=settings.offline_brake,
                fraction=settings.mass_expiry_fraction,
                at_least=settings.mass_expiry_min,
                within_ms=self.limits.heartbeat_timeout_ms,
                per_s=settings.offline_brake_per_s,
                most_ms=round(settings.offline_brake_most_s * 1000),
            )
        )
        self._store_lost = False
        self._in_part = False
        self._overdue_ms = 0
        self._unasked: set[int] = set()
        self._watched_since: dict[int, float] = {}
        self._observed: set[int] = set()
        self._looked: dict[int, tuple[Looked, float]] = {}  # and our own clock then, s
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
        return self.registry.clock.monotonic() - self.last_look < allowed

    async def run(self) -> None:
        """Sweeps until stopped, through any outage of the store."""
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._repair())]
        try:
            await self._sweep()
        finally:
            self._stopping.set()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_END_S)
            with contextlib.suppress(StoreError):
                await self.registry.release(sorted(self.held), self.owner)
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
                    where = sorted(self.held if not rung else rung & self.held)
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
        mine = await self._mine()
        sleep_s = await self._look(mine, observe=self._observable)
        unasked = self._unasked
        if mine and len(unasked) == len(mine):
            raise StoreUnavailable("no partition can be asked")
        self._count_unasked(len(unasked))
        counts = await registry.counts(sorted(self.held - unasked))
        for status, count in counts.items():
            self.metrics.nodes.labels(status).set(count)
        await self._mass_expiry(sum(counts.values()) - counts["offline"])
        self.metrics.held.set(len(self.held - unasked))
        self.metrics.overdue.set(self._overdue_ms / 1000)
        self._overdue_ms = 0
        return sleep_s

    async def _mine(self) -> list[int]:
        """Who is there, and which partitions fall to this sweeper."""
        registry = self.registry
        self._next_watch = registry.clock.monotonic() + self.settings.observe_interval_s
        sweepers = await registry.announce_sweeper(self.owner, self.settings.lease_ttl_s)
        self._gateways = set(await registry.gateways())
        self._gateways_known = True
        mine = share(sweepers, self.owner)
        lost = sorted(self.held - set(mine))
        if lost:
            await registry.release(lost, self.owner)
            self.held -= set(lost)
        return mine

    @property
    def _observable(self) -> bool:
        """While no gateway is there, nobody could bring a beat: that time is not observed."""
        return bool(self._gateways)

    async def _keep_watch(self) -> None:
        """Keeps leases and writes down observed time during a long pass (much to judge, a slow
        store, little processor): else its own slowness would be time that nobody observed, and
        nobody would be called silent for as long as it lasts."""
        if self.registry.clock.monotonic() >= self._next_watch:
            mine = await self._mine()
            if mine:
                await self._patrol(mine, observe=self._observable, limit=0)

    async def _patrol(self, partitions: list[int], *, observe: bool, limit: int) -> list[Patrolled]:
        """Leases, observed time, and up to `limit` nodes of each kind that wait in a partition."""
        found = await self.registry.patrol(
            partitions,
            self.owner,
            observe=observe,
            limit=limit,
            lease_ttl_s=self.settings.lease_ttl_s,
        )
        self._watch(partitions, found, observe=observe)
        if observe:
            most = max((look.unobserved for look in found if look.held), default=0)
            self.metrics.unobserved.set(most / 1000)
            await self._tell_unobserved([look for look in found if look.added])
        return found

    async def _look(self, partitions: list[int], *, observe: bool) -> float:
        """Takes what waits in some partitions and judges it; seconds until the next is due."""
        if not partitions:
            return _SLEEP_MOST_S
        batch = self.settings.pass_batch
        with self.metrics.sweep.time():
            found = await self._patrol(partitions, observe=observe, limit=batch)
            await self._judge_where_it_can(
                [look for look in found if look.held and (look.marked or look.due)]
            )
        if any(batch in (len(look.marked), len(look.due)) for look in found if look.held):
            return 0.0
        nexts = [look.next_due - look.now for look in found if look.held and look.next_due]
        return max(_ALARMS_S, min(nexts, default=1000) / 1000)

    def _watch(self, asked: list[int], found: list[Patrolled], *, observe: bool) -> None:
        """Notes which partitions are held, and since when they are looked at without a gap."""
        now = self.registry.clock.monotonic()
        self._unasked = set(asked) - {look.partition for look in found}
        for p in self._unasked:  # nobody saw what happened there
            self._watched_since.pop(p, None)
            self._observed.discard(p)
        if not found:
            return
        if now - self.last_look > self.settings.unobserved_gap_s:
            self._blink()
        self.last_look = now
        for look in found:
            p = look.partition
            if self._another(look) or self._stepped(look, now):
                self._watched_since.pop(p, None)
                self._observed.discard(p)
            self._looked[p] = Looked(look.now, look.run), now
            if not look.held:
                self.held.discard(p)
                self._watched_since.pop(p, None)
                self._observed.discard(p)
                continue
            self.held.add(p)
            self._watched_since.setdefault(p, now)
            if observe:
                self._observed.add(p)

    def _another(self, look: Patrolled) -> bool:
        """Whether another server answered than at the last look: it may have heard nothing for a
        while, and only a look that observes writes that down."""
        last = self._looked.get(look.partition)
        return last is not None and look.run != last[0].run

    def _stepped(self, look: Patrolled, now: float) -> bool:
        """Whether the store's clock went otherwise than ours since the last look: what it seems to
        have passed over is no silence, and only a look that observes writes that down."""
        last = self._looked.get(look.partition)
        if last is None:
            return False
        looked, then = last
        return abs((look.now - looked.at) / 1000 - (now - then)) > self.settings.unobserved_gap_s

    def _blink(self) -> None:
        """There was time in which this sweeper saw nothing."""
        self._watched_since.clear()
        self._observed.clear()

    def _may_call_silent(self, partition: int) -> bool:
        """Whether unobserved time is written down, or there is nobody who could write it."""
        now = self.registry.clock.monotonic()
        if now - self.last_look > self.settings.unobserved_gap_s:
            return False
        watched = now - self._watched_since.get(partition, now)
        return partition in self._observed or watched >= self.settings.gateway_grace_s

    def _count_unasked(self, count: int) -> None:
        self.metrics.unasked.set(count)
        if bool(count) != self._in_part:
            self._in_part = bool(count)
            action = "store_lost_in_part" if count else "store_returned_in_part"
            log(logger, logging.WARNING, action, partitions=count)

    async def _judge_where_it_can(self, waiting: list[Patrolled]) -> None:
        """Together, as that asks least often. On a Cluster much is judged several partitions at a
        time, else round trips would say how many nodes a sweeper can follow; and so is what a lost
        part kept from being judged together: one that is lost rings again, the others need not
        wait."""
        single = self.registry.store.single
        much = sum(len(look.marked) + len(look.due) for look in waiting) > self.settings.pass_batch
        if single or not much:
            try:
                await self._judge(waiting)
                return
            except StoreUnavailable:
                if single:
                    raise
        turns = asyncio.Semaphore(_PARTITIONS_AT_ONCE)

        async def judge_one(look: Patrolled) -> None:
            async with turns:
                try:
                    await self._judge([look])
                except StoreUnavailable as error:
                    log(logger, logging.WARNING, "partition_lost", partition=look.partition,
                        error=str(error))  # fmt: skip

        ends = await asyncio.gather(*map(judge_one, waiting), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    async def _tell_unobserved(self, found: list[Patrolled]) -> None:
        """One event for all partitions in which time was found that nobody observed."""
        if found:
            longest = max((look.added for look in found), key=abs)
            log(logger, logging.WARNING, "unobserved", ms=longest, partitions=len(found))
            seen = {"ms": longest, "partitions": len(found)}
            try:
                await self.registry.note(found[0].partition, EventType.UNOBSERVED, seen)
            except StoreUnavailable:  # a part of a Cluster away again must not hold up the others
                if self.registry.store.single:
                    raise

    async def _judge(self, waiting: list[Patrolled]) -> None:
        """A page at a time, each in a few round trips however many nodes it holds: one trip a node
        would let the distance to the store say how large a fleet a sweeper can follow."""
        ids = [
            (look.partition, id_)
            for look in waiting
            for id_ in dict.fromkeys((*look.marked, *look.due))
        ]
        for start in range(0, len(ids), self.settings.pass_batch):
            some = ids[start : start + self.settings.pass_batch]
            await self._keep_watch()
            well = await self._snooze(some)
            page = _by_partition([row for row in some if row[1] not in well])
            found = await self.registry.facts_of(list(page.items()))
            await self._judge_page(
                [
                    (partition, facts)
                    for partition, row in zip(page, found, strict=True)
                    for facts in row
                    if facts is not None
                ]
            )

    async def _snooze(self, some: list[tuple[int, str]]) -> frozenset[str]:
        """Most alarms ring for nothing: once a time-out for each healthy node. No rule leads away
        from whom this answers."""
        found = await self.registry.snooze(list(_by_partition(some).items()))
        self._overdue_ms = max(self._overdue_ms, found.late_ms)
        for id_ in found.ids:
            self.brake.heard(id_)
        return found.ids

    async def _judge_page(self, page: list[tuple[int, Facts]]) -> None:
        old: list[Facts] = []
        pauses: list[tuple[Facts, int]] = []
        judged: list[tuple[int, Facts, Decision]] = []
        for partition, facts in page:
            late_ms = facts.now - facts.due if facts.due else 0
            self._overdue_ms = max(self._overdue_ms, late_ms)
            if expired(facts, self.limits):
                old.append(facts)
                continue
            found = self._judged(facts, partition)
            if isinstance(found, int):
                pauses.append((facts, found))
            else:
                judged.append((partition, facts, found))
        for start in range(0, len(judged), _COMMITS_AT_ONCE):
            some: list[tuple[Facts, Decision]] = []
            for partition, facts, decision in judged[start : start + _COMMITS_AT_ONCE]:
                if not _by_silence(decision):
                    some.append((facts, decision))
                elif self._may_call_silent(partition):
                    self.metrics.expiries_found.inc()
                    looked, _ = self._looked[partition]
                    some.append((facts, replace(decision, looked=looked)))
                else:  # it was stopped in its tracks since this was judged
                    pauses.append((facts, HELD_LOOK_MS))
            done = await self.registry.commit_all(some)
            for (facts, decision), answer in zip(some, done, strict=True):
                self._committed(facts, decision, answer)
        await self.registry.rearm_all(pauses)
        await self.registry.expire_all(old)

    def _judged(self, facts: Facts, partition: int) -> Decision | int:
        """What is to be committed, or in how many ms to look again (0: as its alarm says)."""
        present = facts.gateway in self._gateways or not self._gateways_known
        decision = judge(facts, self.limits, gateway_present=present)
        silent = _by_silence(decision)
        if not silent:
            self.brake.heard(facts.node_id)
        if decision is None:
            return next_look_ms(facts, self.limits, gateway_present=present)
        if silent and not (
            self._may_call_silent(partition)
            and self.brake.may_mark(
                facts.node_id,
                facts.last_beat + self.limits.heartbeat_timeout_ms,
                facts.now,
                len(self.held),
            )
        ):
            return HELD_LOOK_MS
        return decision

    def _committed(self, facts: Facts, decision: Decision, done: Change | Stale) -> None:
        if isinstance(done, Stale):
            self.metrics.stale.inc()
            return
        if _by_silence(decision):
            self.metrics.expiries_made.inc()
        self.metrics.transitions.labels(
            facts.status.value, decision.to.value, decision.reason.value
        ).inc()
        log(
            logger,
            logging.INFO,
            "transition",
            node_id=facts.node_id,
            previous=facts.status.value,
            status=decision.to.value,
            reason=decision.reason.value,
            version=done.version,
        )

    async def _mass_expiry(self, living: int) -> None:
        """Notices that much of the fleet falls silent at once, and tells everybody."""
        brake, registry = self.brake, self.registry
        braking = bool(brake.since)
        released = await registry.brake_released() if self.settings.offline_brake else 0
        begins = brake.look(registry.clock.now_ms(), living, len(self.held), released)
        self.metrics.mass_expiry.set(int(brake.mass))
        self.metrics.brake_waiting.set(brake.waiting)
        if begins:
            braked = bool(brake.since)
            log(logger, logging.ERROR, "mass_expiry", lost=brake.lost, living=living, braked=braked)
            seen = {"lost": brake.lost, "living": living}
            await registry.note(min(self.held, default=0), EventType.MASS_EXPIRY, seen)
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
        self._gateways_known = False
        self._blink()
        if self.registry.clock.monotonic() - self.last_look > self.settings.lease_ttl_s:
            self._let_go()
        if not self._store_lost:
            self._store_lost = True
            log(logger, logging.ERROR, "store_lost", error=str(error))

    def _let_go(self) -> None:
        """The leases have lapsed: another may hold these partitions, and counts their nodes."""
        self.held.clear()
        self.metrics.held.set(0)
        self.metrics.nodes.clear()

    async def _listen(self) -> None:
        channels = self.registry.keys.bell_channels(list(range(PARTITIONS)))
        async with self.registry.subscription(channels) as bells:
            async for channel in bells:
                partition = self._bells.get(channel)
                if partition is not None and partition in self.held:
                    self._rung.add(partition)
                    self._bell.set()

    async def _repair(self) -> None:
        repair = Repair(self.registry, self.settings.pass_batch)
        await self._every(self.settings.repair_interval_s, lambda: self._repair_held(repair))

    async def _repair_held(self, repair: Repair) -> None:
        for partition in sorted(self.held):
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


def _by_partition(rows: list[tuple[int, str]]) -> dict[int, list[str]]:
    page: dict[int, list[str]] = {}
    for partition, id_ in rows:
        page.setdefault(partition, []).append(id_)
    return page


def _by_silence(decision: Decision | None) -> bool:
    return decision is not None and decision.reason is Reason.HEARTBEAT_TIMEOUT
