"""Short ways to put nodes into a registry under test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from msgspec import structs

from registry.keys import partition_of
from registry.model import (
    Beat,
    BeatAnswer,
    Change,
    Decision,
    Facts,
    NewRegistration,
    Reason,
    Registered,
    Stale,
    Status,
    Verdict,
)
from registry.registry import Registry
from registry.requirement import Requirement

CAPABILITIES = ("any", "asr:zh", "nmt:zh:en")


def registration(node_id: str = "node-A", **changes: Any) -> NewRegistration:
    """A registration as gateway `gw1` would admit it."""
    plain = NewRegistration(
        node_id=node_id,
        sid=f"sid-{node_id}",
        gateway="gw1",
        kind="register",
        registration=b"\x80",
        digest="d1",
        capabilities=CAPABILITIES,
        hardware_digest="h1",
        public=True,
        capacity=1,
    )
    return replace(plain, **changes)


def asks(*capabilities: str) -> Requirement:
    """A request for some capabilities, of a node in the public pool."""
    return Requirement(capabilities)


class Fleet:
    """Nodes of one registry, with the little a gateway would remember of each."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.told: dict[str, Registered] = {}
        self.sids: dict[str, str] = {}
        self.seqs: dict[str, int] = {}

    async def register(self, node_id: str = "node-A", **changes: Any) -> Registered:
        new = registration(node_id, **changes)
        seen = await self.registry.existing(node_id)
        answer = await self.registry.register(new, seen)
        assert isinstance(answer, Registered), answer
        self.told[node_id], self.sids[node_id], self.seqs[node_id] = answer, new.sid, 0
        return answer

    def beat_of(self, node_id: str = "node-A", **changes: Any) -> Beat:
        self.seqs[node_id] += 1
        told = self.told[node_id]
        plain = Beat(
            node_id=node_id,
            sid=self.sids[node_id],
            seq=self.seqs[node_id],
            arrived=self.registry.clock.monotonic(),
            verdict=Verdict.PASS,
            jobs=0,
            capacity=1,
            relayed=told.version,
            report=b"{}",
            session=told.session,
        )
        return structs.replace(plain, **changes)

    async def beat(self, node_id: str = "node-A", **changes: Any) -> BeatAnswer:
        (answer,) = await self.registry.beat([self.beat_of(node_id, **changes)])
        assert answer is not None
        return answer

    async def leave(self, node_id: str = "node-A", *, drain: bool = True, sid: str = "") -> bool:
        """The node unregisters (or whoever has that `sid`); False if it may not."""
        seen = await self.registry.existing(node_id)
        assert seen is not None
        return await self.registry.unregister(
            node_id,
            sid or self.sids[node_id],
            drain=drain,
            why="test",
            digest=seen.digest,
            capabilities=seen.capabilities,
        )

    async def facts(self, node_id: str = "node-A") -> Facts:
        found = (await self.registry.facts(partition_of(node_id), [node_id]))[0]
        assert found is not None
        return found

    async def commit(
        self, to: Status, reason: Reason, node_id: str = "node-A", **changes: Any
    ) -> Change | Stale:
        facts = await self.facts(node_id)
        return await self.registry.commit(facts, Decision(to=to, reason=reason, **changes))

    async def make_ready(self, node_id: str = "node-A", **changes: Any) -> Change:
        await self.register(node_id, **changes)
        for _ in range(3):
            await self.beat(node_id)
        change = await self.commit(Status.READY, Reason.HEALTHY, node_id, resets_window=True)
        assert isinstance(change, Change), change
        self.told[node_id] = replace(self.told[node_id], version=change.version)
        return change

    async def marked(self, node_id: str = "node-A") -> bool:
        found = await self.registry.patrol(
            [partition_of(node_id)], "test", observe=False, limit=100
        )
        return node_id in found[0].marked


async def until(
    true: Callable[[], Awaitable[bool]], what: str, timeout_s: float = 20.0, every_s: float = 0.01
) -> None:
    """Waits for something to become true; fails with its name when it does not. The bound is far
    beyond what a busy machine needs, and before what would put it right in the end, as repairs do,
    or a page that gives a silent stream up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while not await true():
        if loop.time() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        await asyncio.sleep(every_s)
