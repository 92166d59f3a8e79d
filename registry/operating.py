"""What operators intend: drain, resume, remove. Intent outlives the record."""

from __future__ import annotations

import secrets

from registry.base import ms
from registry.keys import partition_of
from registry.writing import Writing

_TRIES = 8


class Operating(Writing):
    """Operator's intent is written at once; the sweeper words what follows from it."""

    async def drain(self, node_id: str, who: str, why: str, timeout_s: float | None = None) -> bool:
        """Takes a node out of selection until resumed; jobs it has may end within `timeout_s`."""
        timeout = self.settings.drain_timeout_s if timeout_s is None else timeout_s
        k, p = self.keys, partition_of(node_id)
        stamp = secrets.token_hex(8)
        for _ in range(_TRIES):
            seen = await self.existing(node_id)
            sets = self.ready_sets(node_id, seen.capabilities if seen else ())
            reply = await self.store.call(
                "intend",
                [k.node(node_id), k.intent(node_id), k.todo(p), k.bell(p), k.unobserved(p), *sets],
                [node_id, seen.digest if seen else "", stamp, who, why, ms(timeout)],
            )
            if reply:
                return True
        return False

    async def resume(self, node_id: str, who: str, why: str) -> bool:
        """Ends the operator's drain; False if there was none."""
        k, p = self.keys, partition_of(node_id)
        reply = await self.store.call(
            "unintend", [k.node(node_id), k.intent(node_id), k.todo(p), k.bell(p)], [node_id]
        )
        return bool(reply)

    async def remove(self, node_id: str, who: str, why: str) -> bool:
        """Takes a node off at once, whatever it runs; False if it is unknown or offline."""
        for _ in range(_TRIES):
            seen = await self.existing(node_id)
            if seen is None or seen.status == "offline":
                return False
            if await self.unregister(
                node_id, "", kind="remove", drain=False, why=f"{who}: {why}", digest=seen.digest,
                capabilities=seen.capabilities,
            ):  # fmt: skip
                return True
        return False
