"""What sweepers ask and commit: leases and observed time, facts, transitions, repair."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from registry.base import Base, lines, ms, number, text
from registry.errors import StoreUnavailable
from registry.keys import partition_of
from registry.model import (
    Act,
    Change,
    Decision,
    Existing,
    Facts,
    Looked,
    Patrolled,
    Snoozed,
    Stale,
    Status,
)


class Judging(Base):
    """One method = one script (or one script per partition on a Cluster)."""

    async def patrol(
        self,
        partitions: list[int],
        owner: str,
        *,
        observe: bool,
        limit: int,
        lease_ttl_s: float = 8.0,
    ) -> list[Patrolled]:
        """Takes or renews leases, writes observed time if `observe`, and takes what waits. On a
        Cluster partitions that can't be asked now are left out."""
        groups = [partitions] if self.store.single else [[p] for p in partitions]
        k = self.keys
        args = [
            owner, ms(lease_ttl_s), int(observe), ms(self.settings.unobserved_gap_s), limit,
            int(self.store.genuine),
        ]  # fmt: skip
        calls = [
            (
                [
                    key
                    for p in group
                    for key in (k.lease(p), k.swept(p), k.unobserved(p), k.todo(p), k.due(p))
                ],
                args,
            )
            for group in groups
            if group
        ]
        sent = self.clock.monotonic()
        replies = await self.store.call_some("patrol", calls)
        found = []
        for group, reply in zip(groups, replies, strict=False):
            if isinstance(reply, StoreUnavailable):
                continue
            now, run = int(reply[0]), text(reply[1])
            self.clock.observe(now, sent)
            for p, row in zip(group, reply[2:], strict=True):
                found.append(
                    Patrolled(
                        partition=p,
                        held=bool(row[0]),
                        now=now,
                        run=run,
                        marked=tuple(text(i) for i in row[4]),
                        due=tuple(text(i) for i in row[5]),
                        next_due=int(row[3]),
                        unobserved=int(row[1]),
                        swept=int(row[2]),
                        added=int(row[6]),
                    )
                )
        return found

    async def release(self, partitions: list[int], owner: str) -> None:
        """Gives one's own leases back."""
        groups = [partitions] if self.store.single else [[p] for p in partitions]
        await self.store.call_many(
            "release", [([self.keys.lease(p) for p in g], [owner]) for g in groups if g]
        )

    async def snooze(self, pages: Sequence[tuple[int, list[str]]]) -> Snoozed:
        """Sets on the alarms of those who are healthy (see `scripts/snooze.lua`): ids of several
        partitions in one round trip."""
        k, calls = self.keys, []
        groups = [pages] if self.store.single else [[page] for page in pages]
        for group in groups:
            rows = [(partition, id_) for partition, ids in group for id_ in ids]
            keys = [
                key
                for p, id_ in rows
                for key in (k.unobserved(p), k.due(p), k.node(id_), k.intent(id_), k.ttl(id_))
            ]
            if rows:
                calls.append((keys, [self.limits, *(id_ for _, id_ in rows)]))
        replies = await self.store.call_many("snooze", calls)
        return Snoozed(
            frozenset(text(i) for reply in replies for i in reply[2]),
            max((int(reply[1]) for reply in replies), default=0),
        )

    async def facts(self, partition: int, ids: list[str]) -> list[Facts | None]:
        """What each node is judged by. An id without a record is forgotten and answered None."""
        return (await self.facts_of([(partition, ids)]))[0] if ids else []

    async def facts_of(self, pages: Sequence[tuple[int, list[str]]]) -> list[list[Facts | None]]:
        """As `facts`, for ids of several partitions in one round trip; none of the pages empty."""
        k = self.keys
        calls: list[tuple[list[str], list[str]]] = []
        for partition, ids in pages:
            keys = [k.unobserved(partition), k.due(partition)]
            for id_ in ids:
                keys += (k.node(id_), k.intent(id_), k.ttl(id_), k.holds(id_))
            calls.append((keys, ids))
        found: list[list[Facts | None]] = []
        unknown: list[tuple[str, int]] = []
        for (_, ids), reply in zip(pages, await self.store.call_many("facts", calls), strict=True):
            now, unobserved = int(reply[0]), int(reply[1])
            rows = zip(ids, reply[2:], strict=True)
            found.append([None if r == 0 else _facts(i, now, unobserved, r) for i, r in rows])
            unknown += [(i, 0) for i, f in zip(ids, found[-1], strict=True) if f is None]
        await self._arm(unknown)
        return found

    async def commit(self, facts: Facts, decision: Decision) -> Change | Stale:
        """Applies a judgement if all that it rests on still holds; else the node is marked."""
        return (await self.commit_all([(facts, decision)]))[0]

    async def commit_all(self, judged: Sequence[tuple[Facts, Decision]]) -> list[Change | Stale]:
        """As `commit`, for several nodes in one round trip, each on its own merits. What a part of
        a Cluster did not answer counts as stale: its nodes are judged again."""
        replies = await self.store.call_some("transition", [self._commit(*j) for j in judged])
        return [
            Stale("store")
            if isinstance(reply, StoreUnavailable)
            else _change(facts, decision, reply)
            for (facts, decision), reply in zip(judged, replies, strict=True)
        ]

    def _commit(self, facts: Facts, decision: Decision) -> tuple[list[str], list[Any]]:
        k, id_, s = self.keys, facts.node_id, self.settings
        p = partition_of(id_)
        looked = decision.looked or Looked(0, "")
        return (
            [
                k.node(id_), k.intent(id_), k.ttl(id_), k.holds(id_), k.due(p), k.todo(p),
                k.events(p), k.unobserved(p), k.counts(p), k.channel(p, facts.gateway), k.bell(p),
                k.names(p), *self.ready_sets(id_, facts.capabilities),
            ],
            [
                id_, facts.sid, facts.version, facts.status.value, facts.intent, facts.leave,
                facts.digest, facts.window, decision.to.value, decision.reason.value,
                int(decision.resets_window), decision.silence_ms, int(decision.drained),
                facts.reported_at, int(decision.starts_warmup),
                json.dumps(decision.evidence, separators=(",", ":")), self.limits,
                s.events_per_partition, ms(s.flap_window_s),
                looked.at, looked.run, ms(s.unobserved_gap_s), facts.unobserved,
            ],
        )  # fmt: skip

    async def rearm(self, facts: Facts, not_before_ms: int = 0) -> None:
        """Sets the alarm to the least of the deadlines, `not_before_ms` from now or later."""
        await self.rearm_all([(facts, not_before_ms)])

    async def rearm_all(self, pauses: Sequence[tuple[Facts, int]]) -> None:
        """As `rearm`, for several nodes in one round trip."""
        await self._arm([(facts.node_id, pause) for facts, pause in pauses])

    async def _arm(self, pauses: Sequence[tuple[str, int]]) -> None:
        k, calls = self.keys, []
        for id_, pause in pauses:
            p = partition_of(id_)
            keys = [k.node(id_), k.intent(id_), k.unobserved(p), k.due(p), k.roll(p), k.ttl(id_)]
            calls.append((keys, [id_, self.limits, pause]))
        await self.store.call_many("arm", calls)

    async def expire_all(self, old: Sequence[Facts]) -> list[bool]:
        """Deletes records whose retention is over, in one round trip; False for each that is not
        what was judged."""
        k, s, calls = self.keys, self.settings, []
        for facts in old:
            id_ = facts.node_id
            p = partition_of(id_)
            keys = [
                k.node(id_), k.history(id_), k.ttl(id_), k.holds(id_), k.due(p), k.roll(p),
                k.events(p), k.counts(p),
            ]  # fmt: skip
            args = [id_, facts.sid, facts.version, ms(s.retention_s), s.events_per_partition]
            calls.append((keys, args))
        return [bool(reply) for reply in await self.store.call_many("expire", calls)]

    async def roll(self, partition: int, after: str, limit: int) -> list[str]:
        """Ids of a partition in lexical order, beginning behind `after`."""
        low = f"({after}" if after else "-"
        reply = await self.store.commands(
            [("ZRANGEBYLEX", self.keys.roll(partition), low, "+", "LIMIT", 0, limit)]
        )
        return [text(i) for i in reply[0]]

    async def alarmed(self, partition: int, low: int, limit: int) -> list[str]:
        """Ids of a partition that have an alarm, the latest first, beginning at the `low`th. In
        this direction another alarm that is set on meanwhile makes an id come twice; in the other
        it would be passed over."""
        reply = await self.store.commands(
            [("ZRANGE", self.keys.due(partition), low, low + limit - 1, "REV")]
        )
        return [text(i) for i in reply[0]]

    async def index_names(self, partition: int) -> list[str]:
        """Capabilities that ever had a ready index in the partition."""
        reply = await self.store.commands([("SMEMBERS", self.keys.names(partition))])
        return sorted(text(i) for i in reply[0])

    async def index_members(self, partition: int, name: str) -> set[str]:
        """Ids in one ready index."""
        reply = await self.store.commands([("SMEMBERS", self.keys.ready(partition, name))])
        return {text(i) for i in reply[0]}

    async def reindex(self, facts: Facts, extra: list[str]) -> bool:
        """Puts a node's index places right: all its own, none of `extra` (capabilities).
        True if something had to change."""
        return await self._reindex(
            facts.node_id, facts.sid, facts.version, facts.digest, facts.capabilities, extra
        )

    async def unindex(self, node_id: str, partition: int, extra: list[str]) -> bool:
        """Takes an id without a record out of indexes it is still in."""
        return await self._reindex(node_id, "", "", "", (), extra, partition)

    async def _reindex(
        self,
        node_id: str,
        sid: str,
        version: int | str,
        digest: str,
        capabilities: tuple[str, ...],
        extra: list[str],
        partition: int | None = None,
    ) -> bool:
        k = self.keys
        p = partition_of(node_id) if partition is None else partition
        reply = await self.store.call(
            "reindex",
            [
                k.node(node_id), k.intent(node_id), k.names(p),
                *(k.ready(p, c) for c in extra), *(k.ready(p, c) for c in capabilities),
            ],
            [node_id, sid, version, digest, len(extra)],
        )  # fmt: skip
        return int(reply) > 0

    async def counts(self, partitions: list[int]) -> dict[str, int]:
        """Nodes by status over some partitions."""
        total = {status.value: 0 for status in Status}
        replies = await self.store.commands(
            [("HMGET", self.keys.counts(p), *total) for p in partitions]
        )
        for reply in replies:
            for name, value in zip(total, reply, strict=True):
                total[name] += number(value)
        return total

    async def count_now(self, partition: int, counted: dict[str, int]) -> None:
        """Replaces a partition's counts by what was counted."""
        fields = [part for pair in counted.items() for part in pair]
        if fields:
            await self.store.commands([("HSET", self.keys.counts(partition), *fields)])

    async def note(
        self, partition: int, kind: str, detail: dict[str, Any], about: Existing | None = None
    ) -> None:
        """Adds an event that is no transition, about one node or about none."""
        said = ["type", kind, *(["id", about.node_id] if about is not None else [])]
        said += ["at", str(self.clock.now_ms())]
        said += ["detail", json.dumps(detail, separators=(",", ":"))]
        await self.add_event(partition, said, about.capabilities if about is not None else ())


def _change(facts: Facts, decision: Decision, reply: Any) -> Change | Stale:
    if reply[0] != b"ok":
        return Stale(text(reply[1]))
    return Change(
        facts.node_id, facts.sid, int(reply[1]), decision.to.value, facts.status.value,
        decision.reason.value, int(reply[2]),
    )  # fmt: skip


def _facts(node_id: str, now: int, unobserved: int, row: Any) -> Facts:
    r, x = row
    return Facts(
        node_id=node_id,
        now=now,
        sid=text(r[0]),
        version=number(r[1]),
        status=Status(text(r[2])),
        reason=text(r[3]),
        since=number(r[4]),
        gateway=text(r[5]),
        digest=text(r[6]),
        capabilities=lines(r[7]),
        window=text(r[8]),
        last_failure=text(r[9]),
        ever_ready=r[10] == b"1",
        was_ready=r[11] == b"1",
        last_beat=number(r[12]),
        beat_unobserved=number(r[13]),
        warmup_at=number(r[14]),
        warmup_unobserved=number(r[15]),
        unobserved=unobserved,
        ttl_ms=int(x[0]),
        jobs=number(r[16]),
        reported_at=number(r[17]),
        holds=int(x[1]),
        intent=text(x[3]),
        intent_at=int(x[4]),
        intent_timeout_ms=int(x[5]),
        intent_unobserved=int(x[6]),
        leave=text(r[18]),
        leave_at=number(r[19]),
        leave_kind=text(r[20]),
        leave_drain=r[21] == b"1",
        leave_timeout_ms=number(r[22]),
        leave_unobserved=number(r[23]),
        degradations=number(r[24]),
        degraded_at=number(r[25]),
        last_verdict=text(r[26]),
        due=int(x[2]),
        intended=Act(text(x[7]), text(x[8]), int(x[4])) if x[3] else None,
        left=Act(text(r[27]) or node_id, text(r[28]), number(r[19])) if r[18] else None,
        resumed=Act(text(r[29]), text(r[30]), number(r[31])) if r[31] else None,
    )
