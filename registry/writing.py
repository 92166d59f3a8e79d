"""What gateways write: registrations, beats, job results, leave requests. No judgement here."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from registry.base import Base, lines, ms, number, text
from registry.capabilities import unpack_labels
from registry.errors import StoreUnavailable
from registry.holding import hold_of
from registry.keys import partition_of
from registry.model import (
    UNLABELLED,
    Beat,
    BeatAnswer,
    BeatOutcome,
    Change,
    Existing,
    Known,
    NewRegistration,
    OperatorLabels,
    Registered,
    Stale,
)

_FINE = BeatAnswer(BeatOutcome.FINE)
_RETIMES = 4
_EXISTING = (
    "sid", "ses", "ver", "st", "rs", "gw", "dig", "caps", "hw", "tok", "boot", "att", "addr",
    "tko", "closed", "lv",
)  # fmt: skip


class Writing(Base):
    """One method = one script."""

    async def existing(self, node_id: str) -> Existing | None:
        """The record under an id; None if it is free."""
        return (await self.known(node_id)).record

    async def known(self, node_id: str) -> Known:
        """The record under an id, and the operator's labels, also of an id without a record."""
        row, (stamp, labels, label_stamp) = await self.store.commands(
            [
                ("HMGET", self.keys.node(node_id), *_EXISTING),
                ("HMGET", self.keys.intent(node_id), "stamp", "lab", "lst"),
            ]
        )
        given = OperatorLabels(unpack_labels(labels), text(label_stamp)) if labels else UNLABELLED
        if row[0] is None:
            return Known(None, given)
        record = Existing(
            node_id=node_id,
            sid=text(row[0]),
            session=number(row[1]),
            version=number(row[2]),
            status=text(row[3]),
            reason=text(row[4]),
            gateway=text(row[5]),
            digest=text(row[6]),
            capabilities=lines(row[7]),
            hardware_digest=text(row[8]),
            token_shown=row[9] == b"1",
            boot_id=text(row[10]),
            attempt=number(row[11]),
            address=text(row[12]),
            takeovers=text(row[13]),
            closed=row[14] == b"1",
            leaving=row[15] is not None,
            intent=text(stamp),
        )
        return Known(record, given)

    async def register(self, new: NewRegistration, seen: Existing | None) -> Registered | Stale:
        """Writes a registration if the store still is as `seen` (None: the id must be free)."""
        s, k, id_ = self.settings, self.keys, new.node_id
        p = partition_of(id_)
        former = self.ready_sets(id_, seen.capabilities if seen else ())
        keys = [
            k.node(id_), k.intent(id_), k.history(id_), k.ttl(id_), k.due(p), k.todo(p),
            k.events(p), k.roll(p), k.unobserved(p), k.counts(p), k.bell(p),
            k.channel(p, seen.gateway if seen else new.gateway), k.names(p),
            *former, *self.ready_sets(id_, new.capabilities),
        ]  # fmt: skip
        sent = 0.0

        def packed() -> list[Any]:
            nonlocal sent
            now, sent = self.clock.now_ms(), self.clock.monotonic()
            age = max(0, ms(sent - new.arrived)) if new.arrived is not None else 0
            return [
                id_, seen.sid if seen else "", seen.digest if seen else "", new.kind, new.sid,
                new.gateway, new.registration, new.digest, "\n".join(new.capabilities),
                new.hardware_digest, int(new.public), new.capacity, new.boot_id, new.attempt,
                new.address, new.takeovers, int(new.token_shown), new.floor_session,
                new.floor_version, new.window, new.intent, now, ms(s.max_lag_s), self.limits,
                age, len(former), s.events_per_partition, ms(s.drain_timeout_s), s.history_length,
                new.gpu_memory_gb, new.label_stamp,
            ]  # fmt: skip

        await self.packed_at()  # the store's time is known from now on
        for _ in range(_RETIMES):
            reply = await self.store.call("register", keys, packed)
            if reply[0] != b"retime":
                break
            self.clock.observe(int(reply[1]), sent)
        if reply[0] == b"ok":
            return Registered(
                int(reply[1]), int(reply[2]), text(reply[3]), text(reply[4]), int(reply[5]),
                bool(reply[6]), text(reply[7]),
            )  # fmt: skip
        if reply[0] == b"retime":
            raise StoreUnavailable("the store runs scripts later than it may")
        if reply[1] == b"sid":
            return await self._ours(new)
        return Stale(text(reply[1]))

    async def _ours(self, new: NewRegistration) -> Registered | Stale:
        """A resent registration finds itself already written."""
        now = await self.existing(new.node_id)
        if now is None or now.sid != new.sid:
            return Stale("sid")
        since = await self.store.commands([("HGET", self.keys.node(new.node_id), "since")])
        return Registered(
            now.session, now.version, now.status, now.reason, number(since[0]),
            new.kind == "resume" and now.status != "registering", now.intent,
        )  # fmt: skip

    def lane_of(self, node_id: str) -> int:
        """What of the store can be asked or not as one: all of it, or a Cluster's partition."""
        return 0 if self.store.single else partition_of(node_id)

    async def beat(self, beats: Sequence[Beat]) -> list[BeatAnswer | None]:
        """Stores heartbeats and answers each, in order; None: on a Cluster, its part is away.

        One call where one store node holds every slot, else one per partition. A call the store
        ran too late is packed again with true ages. Raises StoreUnavailable."""
        answers: list[BeatAnswer | None] = [None] * len(beats)
        waiting = list(range(len(beats)))
        for _ in range(_RETIMES):
            waiting = await self._beat_once(beats, waiting, answers)
            if not waiting:
                return answers
        raise StoreUnavailable("the store runs scripts later than it may")

    async def _beat_once(
        self, beats: Sequence[Beat], places: list[int], answers: list[BeatAnswer | None]
    ) -> list[int]:
        chosen = self._apart(beats, places)
        now = await self.packed_at()
        sent = self.clock.monotonic()
        calls = [self._packed([beats[i] for i in group], now, sent) for group in chosen]
        replies = await self.store.call_some("beat", calls, urgent=True)
        again: list[int] = []
        for group, reply in zip(chosen, replies, strict=True):
            if isinstance(reply, StoreUnavailable):
                continue
            self.clock.observe(int(reply[0]), sent)
            if reply[1] == b"retime":
                again.extend(group)
                continue
            for place, answer in zip(group, reply[2:], strict=True):
                answers[place] = _FINE if answer == 0 else _answered(beats[place], answer)
        return again

    def _apart(self, beats: Sequence[Beat], places: list[int]) -> list[list[int]]:
        """The places of the beats that go in one call each."""
        if self.store.single:
            return [places]
        groups: dict[int, list[int]] = defaultdict(list)
        for place in places:
            groups[self.lane_of(beats[place].node_id)].append(place)
        return list(groups.values())

    def _packed(self, beats: list[Beat], now: int, sent: float) -> tuple[list[str], list[Any]]:
        s, k = self.settings, self.keys
        places: dict[int, int] = {}
        head: list[str] = []
        tail: list[str] = []
        body: list[bytes] = []
        for b in beats:
            p, record, history, ttl = k.beaten(b.node_id)
            place = places.get(p)
            if place is None:
                place = places[p] = len(places) + 1
                head += (k.unobserved(p), k.todo(p), k.bell(p))
            tail += (record, history, ttl)
            age = round((sent - b.arrived) * 1000) if sent > b.arrived else 0
            # One argument a beat, as each costs the client more than the whole rest of it.
            said = (
                f"{place} {b.session} {b.seq} {age} {b.verdict} {b.jobs} {b.capacity} "
                f"{b.relayed} {b.sid}\n"
            )
            body.append(said.encode() + b.report)
        args: list[Any] = [
            len(places), ms(s.heartbeat_timeout_s), ms(2 * s.heartbeat_interval_s),
            s.history_length, s.window_length, now, ms(s.max_lag_s), *body,
        ]  # fmt: skip
        return head + tail, args

    async def update(
        self,
        node_id: str,
        sid: str,
        old_digest: str,
        old_capabilities: tuple[str, ...],
        registration: bytes,
        digest: str,
        capabilities: tuple[str, ...],
        public: bool,
        capacity: int,
        gpu_memory_gb: float = 0.0,
        label_stamp: str = "",
    ) -> bool:
        """Replaces what a node can do, with its index places; False if the store moved on.
        `label_stamp` is that of the operator's labels which digest and capabilities are made
        with."""
        k, p = self.keys, partition_of(node_id)
        former = self.ready_sets(node_id, old_capabilities)
        reply = await self.store.call(
            "update",
            [
                k.node(node_id), k.intent(node_id), k.names(p), k.events(p), *former,
                *self.ready_sets(node_id, capabilities),
            ],
            [
                node_id, sid, old_digest, registration, digest, "\n".join(capabilities),
                int(public), capacity, len(former), self.settings.events_per_partition,
                gpu_memory_gb, label_stamp,
            ],
        )  # fmt: skip
        return bool(reply)

    async def closed(self, node_id: str, sid: str) -> bool:
        """Notes that the session's socket is known closed; False if another holds the record."""
        return bool(await self.store.call("closed", [self.keys.node(node_id)], [sid]))

    async def job_result(
        self, node_id: str, sid: str, *, failed: bool, jobs: int | None, job_id: str = ""
    ) -> bool:
        """Notes a finished task, and ends its hold: `job_id` is the hold's id, or the id of the
        request that took it. Never refreshes liveness."""
        k, p, s = self.keys, partition_of(node_id), self.settings
        ended = [job_id, hold_of(job_id, node_id)] if job_id else []
        reply = await self.store.call(
            "job",
            [k.node(node_id), k.history(node_id), k.holds(node_id), k.todo(p), k.bell(p)],
            [
                node_id, sid, int(failed), "" if jobs is None else jobs,
                ms(s.heartbeat_interval_s), s.window_length, s.history_length, *ended,
            ],
        )  # fmt: skip
        return bool(reply)

    async def unregister(
        self,
        node_id: str,
        sid: str,
        *,
        drain: bool,
        why: str,
        digest: str,
        capabilities: tuple[str, ...],
    ) -> bool:
        """Takes a node out of the ready indexes at once and asks the sweeper to word it.
        False: the digest or the session moved on."""
        k, p = self.keys, partition_of(node_id)
        reply = await self.store.call(
            "leave",
            [
                k.node(node_id), k.todo(p), k.bell(p), k.unobserved(p),
                *self.ready_sets(node_id, capabilities),
            ],
            [node_id, sid, digest, int(drain), ms(self.settings.drain_timeout_s), why],
        )  # fmt: skip
        return bool(reply)

    async def mend(self, node_id: str, sid: str, relayed: int, intent: str) -> Change | None:
        """The store is behind what the node was told: restores the intent, rises above it."""
        seen = await self.existing(node_id)
        if seen is None or seen.sid != sid:
            return None
        k, p = self.keys, partition_of(node_id)
        reply = await self.store.call(
            "mend",
            [
                k.node(node_id), k.intent(node_id), k.todo(p), k.bell(p), k.unobserved(p),
                k.events(p), *self.ready_sets(node_id, seen.capabilities),
            ],
            [
                node_id, sid, seen.digest, relayed, intent, ms(self.settings.drain_timeout_s),
                self.settings.events_per_partition,
            ],
        )  # fmt: skip
        if reply == 0:
            return None
        return Change(
            node_id, sid, int(reply[0]), text(reply[1]), text(reply[2]), text(reply[3]),
            int(reply[4]),
        )  # fmt: skip

    async def tell(self, gateway_id: str, node_id: str, message: dict[str, Any]) -> int:
        """Publishes a message on a gateway's channel in the node's partition."""
        channel = self.keys.channel(partition_of(node_id), gateway_id)
        reply = await self.store.commands([("SPUBLISH", channel, json.dumps(message))])
        return int(reply[0])


def _answered(beat: Beat, answer: list[Any]) -> BeatAnswer:
    change = Change(
        beat.node_id, beat.sid, int(answer[1]), text(answer[2]), text(answer[3]), text(answer[4]),
        int(answer[5]),
    )  # fmt: skip
    return BeatAnswer(BeatOutcome(text(answer[0])), change)
