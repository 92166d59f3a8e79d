"""The judge: reads what those who wait are judged by, asks the rules, and commits what they say.

Nothing it remembers matters: whatever it has taken and not finished rings again by itself, and
whatever it judges on stale facts is refused by the script.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from registry.errors import StoreUnavailable
from registry.logs import log
from registry.model import Change, Decision, Facts, Patrolled, Reason, Stale
from registry.registry import Registry
from sweeper.brake import Brake
from sweeper.metrics import SweeperMetrics
from sweeper.patrol import Patrol
from sweeper.rules import HELD_LOOK_MS, Limits, expired, judge, next_look_ms
from sweeper.settings import SweeperSettings

logger = logging.getLogger("muster.sweeper")

_COMMITS_AT_ONCE = 50  # the first of them is not to wait until many are packed
_PARTITIONS_AT_ONCE = 8


class Judge:
    """Judges a page of nodes at a time."""

    def __init__(
        self,
        registry: Registry,
        settings: SweeperSettings,
        metrics: SweeperMetrics,
        patrol: Patrol,
        brake: Brake,
    ) -> None:
        self._overdue_ms = 0
        self._registry = registry
        self._metrics = metrics
        self._patrol = patrol
        self._watch = patrol.watch
        self._brake = brake
        self._limits = Limits.of(settings)
        self._batch = settings.pass_batch

    def take_overdue_ms(self) -> int:
        """By how much the most overdue alarm was late since this was asked last."""
        most, self._overdue_ms = self._overdue_ms, 0
        return most

    async def where_it_can(self, waiting: list[Patrolled]) -> None:
        """Together, as that asks least often. On a Cluster much is judged several partitions at a
        time, else round trips would say how many nodes a sweeper can follow; and so is what a lost
        part kept from being judged together: one that is lost rings again, the others need not
        wait. Raises StoreError."""
        single = self._registry.store.single
        much = sum(len(look.marked) + len(look.due) for look in waiting) > self._batch
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

    async def _judge(self, waiting: list[Patrolled]) -> None:
        """A page at a time, each in a few round trips however many nodes it holds: one trip a node
        would let the distance to the store say how large a fleet a sweeper can follow."""
        ids = [
            (look.partition, id_)
            for look in waiting
            for id_ in dict.fromkeys((*look.marked, *look.due))
        ]
        for start in range(0, len(ids), self._batch):
            some = ids[start : start + self._batch]
            await self._patrol.keep()
            well = await self._snooze(some)
            page = _by_partition([row for row in some if row[1] not in well])
            found = await self._registry.facts_of(list(page.items()))
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
        found = await self._registry.snooze(list(_by_partition(some).items()))
        self._overdue_ms = max(self._overdue_ms, found.late_ms)
        for id_ in found.ids:
            self._brake.heard(id_)
        return found.ids

    async def _judge_page(self, page: list[tuple[int, Facts]]) -> None:
        old: list[Facts] = []
        pauses: list[tuple[Facts, int]] = []
        judged: list[tuple[int, Facts, Decision]] = []
        for partition, facts in page:
            late_ms = facts.now - facts.due if facts.due else 0
            self._overdue_ms = max(self._overdue_ms, late_ms)
            if expired(facts, self._limits):
                old.append(facts)
                continue
            present = self._patrol.present(facts.gateway)
            decision = judge(facts, self._limits, gateway_present=present)
            if not _by_silence(decision):
                self._brake.heard(facts.node_id)
            if decision is None:
                pauses.append((facts, next_look_ms(facts, self._limits, gateway_present=present)))
            else:
                judged.append((partition, facts, decision))
        for start in range(0, len(judged), _COMMITS_AT_ONCE):
            some: list[tuple[Facts, Decision]] = []
            for partition, facts, decision in judged[start : start + _COMMITS_AT_ONCE]:
                if not decision.by_time:
                    some.append((facts, decision))
                elif self._may_commit(partition, facts, decision):
                    looked = self._watch.looked_at(partition)
                    some.append((facts, replace(decision, looked=looked)))
                else:
                    pauses.append((facts, HELD_LOOK_MS))
            done = await self._registry.commit_all(some)
            for (facts, decision), answer in zip(some, done, strict=True):
                self._committed(facts, decision, answer)
        await self._registry.rearm_all(pauses)
        await self._registry.expire_all(old)

    def _may_commit(self, partition: int, facts: Facts, decision: Decision) -> bool:
        """Whether a verdict by the time that passed may be told. Asked right before it is: this
        sweeper may have been stopped in its tracks since it was judged."""
        now, silent = self._registry.clock.monotonic(), _by_silence(decision)
        if not self._watch.may_judge_by_time(partition, now, silence=silent):
            return False
        if not silent:
            return True
        fell = facts.last_beat + self._limits.heartbeat_timeout_ms
        if not self._brake.may_mark(facts.node_id, fell, facts.now, len(self._watch.held)):
            return False
        self._metrics.expiries_found.inc()
        return True

    def _committed(self, facts: Facts, decision: Decision, done: Change | Stale) -> None:
        if isinstance(done, Stale):
            self._metrics.stale.inc()
            if _by_silence(decision):
                self._brake.refused(facts.node_id)
            return
        if _by_silence(decision):
            self._metrics.expiries_made.inc()
        self._metrics.transitions.labels(
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


def _by_partition(rows: list[tuple[int, str]]) -> dict[int, list[str]]:
    page: dict[int, list[str]] = {}
    for partition, id_ in rows:
        page.setdefault(partition, []).append(id_)
    return page


def _by_silence(decision: Decision | None) -> bool:
    return decision is not None and decision.reason is Reason.HEARTBEAT_TIMEOUT
