"""What people and schedulers ask: lists, one node, and which ready node can do this."""

from __future__ import annotations

import random
from typing import Any

from registry.base import Base, lines, ms, number, text
from registry.keys import PARTITIONS, partition_of
from registry.model import NodeDetail, NodeRow, Selected

_ROW = ("st", "rs", "since", "beat", "gw", "ver", "reg", "cap", "jobs", "pub")
_DETAIL = ("sid", "ses", "ever", "win", "rep", "caps")
_EVENT_PAGE = 500
_EVENT_PAGES = 4
_EVENTS_SHOWN = 10


class Reading(Base):
    """Reads only; what it says was true at the store's instant of reading."""

    async def nodes(
        self, status: str | None, limit: int, cursor: str | None
    ) -> tuple[list[NodeRow], str | None]:
        """One page of nodes, partition by partition, in lexical order; None ends the cursor.

        Raises ValueError for a cursor that is none of ours."""
        partition, after = _cursor(cursor)
        rows: list[NodeRow] = []
        while partition < PARTITIONS:
            low = f"({after}" if after else "-"
            reply = await self.store.commands(
                [("ZRANGEBYLEX", self.keys.roll(partition), low, "+", "LIMIT", 0, limit)]
            )
            ids = [text(i) for i in reply[0]]
            for row in await self._rows(ids):
                after = row.node_id
                if status is None or row.status == status:
                    rows.append(row)
                    if len(rows) == limit:
                        return rows, f"{partition}:{after}"
            if len(ids) < limit:
                partition, after = partition + 1, ""
            else:
                after = ids[-1]
        return rows, None

    async def _rows(self, ids: list[str]) -> list[NodeRow]:
        k = self.keys
        commands: list[tuple[Any, ...]] = []
        for id_ in ids:
            commands += (
                ("HMGET", k.node(id_), *_ROW),
                ("PTTL", k.ttl(id_)),
                ("HGET", k.intent(id_), "stamp"),
            )
        replies = await self.store.commands(commands)
        timeout = ms(self.settings.heartbeat_timeout_s)
        rows = []
        for i, id_ in enumerate(ids):
            r, left, stamp = replies[3 * i : 3 * i + 3]
            if r[0] is None:
                continue
            rows.append(
                NodeRow(
                    node_id=id_,
                    status=text(r[0]),
                    live=0 < int(left) <= timeout,
                    reason=text(r[1]),
                    since=number(r[2]),
                    last_beat=number(r[3]),
                    gateway=text(r[4]),
                    version=number(r[5]),
                    registration=r[6] or b"",
                    intent=text(stamp),
                    capacity=number(r[7]),
                    jobs=number(r[8]),
                    public=r[9] == b"1",
                )
            )
        return rows

    async def node(self, node_id: str) -> NodeDetail | None:
        """One node with its verdicts (at most 20) and last transitions; None if unknown."""
        rows = await self._rows([node_id])
        if not rows:
            return None
        more, verdicts = await self.store.commands(
            [
                ("HMGET", self.keys.node(node_id), *_DETAIL),
                ("LRANGE", self.keys.history(node_id), 0, -1),
            ]
        )
        return NodeDetail(
            row=rows[0],
            sid=text(more[0]),
            session=number(more[1]),
            ever_ready=more[2] == b"1",
            window=text(more[3]),
            report=more[4] or b"",
            capabilities=lines(more[5]),
            verdicts=tuple((int(v[:-1]), text(v[-1:])) for v in verdicts),
            events=tuple(await self._events(node_id)),
            now=self.clock.now_ms(),
        )

    async def _events(self, node_id: str) -> list[dict[str, Any]]:
        """The node's last events, newest first, as far back as a few pages of its partition."""
        key, newest, found = self.keys.events(partition_of(node_id)), "+", []
        wanted = node_id.encode()
        for _ in range(_EVENT_PAGES):
            reply = await self.store.commands(
                [("XREVRANGE", key, newest, "-", "COUNT", _EVENT_PAGE)]
            )
            for event_id, fields in reply[0]:
                pairs = (
                    fields
                    if isinstance(fields, dict)
                    else dict(zip(fields[::2], fields[1::2], strict=True))
                )
                if pairs.get(b"id") == wanted:
                    event = {text(k): text(v) for k, v in pairs.items()}
                    found.append({"event_id": text(event_id), **event})
                    if len(found) == _EVENTS_SHOWN:
                        return found
            if len(reply[0]) < _EVENT_PAGE:
                break
            newest = f"({text(reply[0][-1][0])}"
        return found

    async def select(
        self, capabilities: list[str], limit: int, public: bool = True
    ) -> list[Selected]:
        """Ready, live nodes with all the capabilities and room for a job, the least loaded of a
        random sample first; empty only if no node of the whole fleet qualifies."""
        for most in (max(2, -(-4 * limit // PARTITIONS)), 0):
            found = await self._candidates(capabilities, limit, public, most)
            if len(found) >= limit or most == 0:
                found.sort(key=lambda s: s.load / s.capacity)
                return found[:limit]
        return []

    async def _candidates(
        self, capabilities: list[str], limit: int, public: bool, most: int
    ) -> list[Selected]:
        partitions = list(range(PARTITIONS))
        random.shuffle(partitions)
        groups = [partitions] if self.store.single else [[p] for p in partitions]
        replies = await self.store.call_many(
            "sample",
            [
                (
                    [self.keys.ready(p, c) for p in group for c in capabilities],
                    [len(capabilities), most],
                )
                for group in groups
            ],
        )
        ids = [text(i) for reply in replies for i in reply]
        random.shuffle(ids)
        found: list[Selected] = []
        page = max(4 * limit, 16)
        for start in range(0, len(ids), page):
            found += await self._checked(ids[start : start + page], capabilities, public)
            if len(found) >= limit:
                break
        return found

    async def _checked(
        self, ids: list[str], capabilities: list[str], public: bool
    ) -> list[Selected]:
        k = self.keys
        groups = [ids] if self.store.single else [[i] for i in ids]
        args = [ms(self.settings.heartbeat_timeout_s), int(public), "\n".join(capabilities)]
        replies = await self.store.call_many(
            "check",
            [
                (
                    [key for i in group for key in (k.node(i), k.intent(i), k.ttl(i), k.holds(i))],
                    args,
                )
                for group in groups
            ],
        )
        found = []
        for group, reply in zip(groups, replies, strict=True):
            for id_, answer in zip(group, reply, strict=True):
                if isinstance(answer, list):
                    load, capacity, age, gateway = answer
                    found.append(Selected(id_, int(load), int(capacity), int(age), text(gateway)))
        return found


def _cursor(cursor: str | None) -> tuple[int, str]:
    if not cursor:
        return 0, ""
    partition, _, after = cursor.partition(":")
    if not partition.isdigit() or int(partition) >= PARTITIONS:
        raise ValueError("cursor: expected one that an earlier answer gave")
    return int(partition), after
