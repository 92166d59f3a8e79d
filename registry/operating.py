"""What operators do: drain, resume, remove, label.

Each act is one script that changes what is asked of the node, takes or moves its index places, and
adds an event that says who, when and why. What an operator asked for stands beside the record and
outlives it. The sweeper words what follows from it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping

from registry import capabilities as can
from registry.base import ms
from registry.errors import Contended
from registry.keys import partition_of
from registry.labels import changed
from registry.subject import Subject
from registry.surveying import Surveying

_TRIES = 20


class Operating(Surveying):
    """One act = one script; what was decided on an old view is looked at again."""

    async def drain(self, node_id: str, who: str, why: str, timeout_s: float | None = None) -> bool:
        """Takes a node out of selection until resumed; jobs it has may end within `timeout_s`.
        One that is drained already gets the new reason and the new time, from now on. False: there
        is no such node."""
        timeout = self.settings.drain_timeout_s if timeout_s is None else timeout_s
        k, p = self.keys, partition_of(node_id)
        stamp = secrets.token_hex(8)
        for _ in range(_TRIES):
            seen = await self._seen(node_id)
            if seen is None:
                return False
            reply = await self.store.call(
                "intend",
                [
                    k.node(node_id), k.intent(node_id), k.todo(p), k.bell(p), k.unobserved(p),
                    k.events(p), *self.ready_sets(node_id, tuple(seen.capabilities)),
                ],
                [
                    node_id, seen.digest, stamp, who, why, ms(timeout),
                    self.settings.events_per_partition,
                ],
            )  # fmt: skip
            if reply:
                return True
        raise _moving()

    async def resume(self, node_id: str, who: str, why: str) -> bool:
        """Ends the operator's drain, also that of an id without a record; False if there is
        none."""
        k, p = self.keys, partition_of(node_id)
        stamp = secrets.token_hex(8)
        for _ in range(_TRIES):
            seen = (await self.subjects([node_id]))[0]
            reply = await self.store.call(
                "unintend",
                [
                    k.node(node_id), k.intent(node_id), k.todo(p), k.bell(p), k.events(p),
                    k.names(p),
                    *self.ready_sets(node_id, tuple(seen.capabilities) if seen else ()),
                ],
                [
                    node_id, seen.digest if seen else "", stamp, who, why,
                    self.settings.events_per_partition,
                ],
            )  # fmt: skip
            if reply >= 0:
                return bool(reply)
        raise _moving()

    async def remove(self, node_id: str, who: str, why: str) -> bool:
        """Takes a node away at once, whatever it runs, until it registers again; what an operator
        asked for stands. False: there is no such node (any more)."""
        k, p, s = self.keys, partition_of(node_id), self.settings
        stamp = secrets.token_hex(8)
        for _ in range(_TRIES):
            seen = await self._seen(node_id)
            if seen is None:
                return False
            reply = await self.store.call(
                "remove",
                [
                    k.node(node_id), k.holds(node_id), k.due(p), k.todo(p), k.bell(p), k.events(p),
                    k.unobserved(p), k.counts(p), k.channel(p, seen.gateway),
                    *self.ready_sets(node_id, tuple(seen.capabilities)),
                ],
                [
                    node_id, seen.digest, stamp, who, why, ms(s.retention_s),
                    s.events_per_partition,
                ],
            )  # fmt: skip
            if reply:
                return True
        raise _moving()

    async def label(
        self, node_id: str, changes: Mapping[str, str | None], who: str, why: str
    ) -> dict[str, str] | None:
        """Changes the operator's labels, which lie over the node's own and outlive its record; None
        as a value takes one away. Returns all labels in force then; None: there is no such node.

        Raises LabelError or TooManyLabels naming a label that cannot be."""
        k, p = self.keys, partition_of(node_id)
        stamp = secrets.token_hex(8)
        for _ in range(_TRIES):
            seen = await self._seen(node_id, detail=True)
            if seen is None:
                return None
            labels = changed(seen.operator_labels, changes)
            register = can.unpack_register(seen.packed_registration)
            in_force = {**register.labels, **labels}
            if labels == seen.operator_labels:
                return in_force
            capabilities = can.capabilities(register, labels)
            left = self.ready_sets(node_id, tuple(seen.capabilities.difference(capabilities)))
            entered = tuple(c for c in capabilities if c not in seen.capabilities)
            reply = await self.store.call(
                "labels",
                [
                    k.node(node_id), k.intent(node_id), k.names(p), k.events(p), *left,
                    *self.ready_sets(node_id, entered),
                ],
                [
                    node_id, seen.digest, seen.label_stamp, seen.packed_registration, stamp,
                    can.pack_labels(labels) if labels else b"", can.digest(register, labels),
                    "\n".join(capabilities), len(left), who, why, json.dumps(dict(changes)),
                    self.settings.events_per_partition,
                ],
            )  # fmt: skip
            if reply:
                return in_force
        raise _moving()

    async def _seen(self, node_id: str, *, detail: bool = False) -> Subject | None:
        """The node as it is now; None for one that was removed, as for one that never was."""
        found = (await self.subjects([node_id], detail=detail))[0]
        return None if found is None or found.removed else found


def _moving() -> Contended:
    return Contended("the record changes faster than it can be read")
