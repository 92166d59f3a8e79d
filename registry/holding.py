"""Holds: places on nodes, kept for jobs about to come.

A hold ends when it is released, by the `job_result` of its job, or with the first report after its
time. Its id names the node it is on, so that whoever knows the id needs nothing else. A hold taken
for a request has an id made of the request's, so that taking it twice takes it once, and so that a
node may name the request when the job is done.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

from registry.base import Base, ms, number, text
from registry.keys import partition_of
from registry.model import Selected
from registry.subject import Subject

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_HOLD_ID = re.compile(r"([0-9a-f]{24})~([A-Za-z0-9._-]{1,64})")


@dataclass(frozen=True, slots=True)
class Hold:
    """One open hold: when its time is over, ms. It counts until the next report after that."""

    hold_id: str
    expires: int


def hold_of(request_id: str, node_id: str) -> str:
    """The id of the hold that a request takes on a node; '' = one without a request."""
    if not request_id:
        return f"{secrets.token_hex(12)}~{node_id}"
    digest = hashlib.blake2b(f"{request_id}\n{node_id}".encode(), digest_size=12)
    return f"{digest.hexdigest()}~{node_id}"


def node_of(hold_id: str) -> str | None:
    """The node a hold is on; None if this is no hold's id."""
    found = _HOLD_ID.fullmatch(hold_id)
    return found[2] if found else None


class Holding(Base):
    """Takes and ends holds; one method = one script."""

    async def hold(self, subject: Subject, hold_id: str, hold_ms: int) -> Selected | str:
        """Takes a place on a node, if it still is what was judged and has room; else why not:
        `status_not_ready`, `not_live`, `capacity_exceeded`, or `changed` since it was judged."""
        k, id_ = self.keys, subject.node_id
        reply = await self.store.call(
            "hold",
            [k.node(id_), k.intent(id_), k.ttl(id_), k.holds(id_)],
            [
                hold_id, hold_ms, subject.digest, subject.label_stamp,
                ms(self.settings.heartbeat_timeout_s),
            ],
        )  # fmt: skip
        if reply[0] != b"ok":
            return text(reply[1])
        load, capacity, age, expires = (int(value) for value in reply[1:5])
        return Selected(id_, load, capacity, age, text(reply[5]), hold_id, expires)

    async def release_hold(self, hold_id: str) -> bool:
        """Ends a hold; False if it is not there (any more)."""
        id_ = node_of(hold_id)
        if id_ is None:
            return False
        k, p = self.keys, partition_of(id_)
        reply = await self.store.call(
            "unhold", [k.node(id_), k.holds(id_), k.todo(p), k.bell(p)], [id_, hold_id]
        )
        return bool(reply)

    async def holds(self, node_id: str) -> list[Hold]:
        """A node's open holds, the one whose time is over first first."""
        found, reported = await self.store.commands(
            [
                ("ZRANGE", self.keys.holds(node_id), 0, -1, "WITHSCORES"),
                ("HGET", self.keys.node(node_id), "rat"),
            ]
        )
        flat = [part for pair in found for part in pair] if _paired(found) else found
        holds = [
            Hold(text(name), int(float(end)))
            for name, end in zip(flat[::2], flat[1::2], strict=True)
        ]
        return [hold for hold in holds if hold.expires > number(reported)]


def _paired(reply: list[object]) -> bool:
    """RESP3 answers scores in pairs, RESP2 in a row."""
    return bool(reply) and isinstance(reply[0], list | tuple)
