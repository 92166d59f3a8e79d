"""Fences that only a failover or an unlucky instant would try: each is tried here on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from registry.model import BeatOutcome, Change, Reason, Stale, Status
from registry.registry import Registry
from tests.support.fleet import Fleet, registration


async def test_a_session_number_given_twice_lets_nobody_in(registry: Registry) -> None:
    """A failover can reissue a number; a session id it can not."""
    fleet = Fleet(registry)
    await fleet.make_ready()
    told = fleet.told["node-A"]
    stranger = fleet.beat_of(sid="another", session=told.session)
    (answer,) = await registry.beat([stranger])
    assert answer is not None and answer.outcome is BeatOutcome.FOREIGN
    assert not await registry.job_result("node-A", "another", failed=True, jobs=7)
    assert (await fleet.facts()).jobs == 0
    seen = await registry.existing("node-A")
    assert seen is not None
    stale = replace(seen, sid="another")
    assert isinstance(await registry.register(registration(sid="new"), stale), Stale)


async def test_a_mark_made_while_its_facts_are_read_is_not_lost(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken from the marks before it is read, not after: what comes in between marks it anew."""
    fleet = Fleet(registry)
    await fleet.register()
    await fleet.beat()
    assert await fleet.marked()
    call = registry.store.call

    async def then_a_beat(
        name: str, keys: Sequence[str], args: Sequence[Any], *, urgent: bool = False
    ) -> Any:
        reply = await call(name, keys, args, urgent=urgent)
        if name == "facts":
            monkeypatch.undo()
            await fleet.beat()
        return reply

    monkeypatch.setattr(registry.store, "call", then_a_beat)
    facts = await fleet.facts()
    assert len(facts.window) == 1
    assert await fleet.marked()


async def test_a_node_called_offline_has_no_key_left(registry: Registry) -> None:
    """Not even if its key would still stand, as when it was taken off."""
    fleet = Fleet(registry)
    await fleet.make_ready()
    change = await fleet.commit(Status.OFFLINE, Reason.REMOVED)
    assert isinstance(change, Change)
    assert not await registry.store.client.exists(registry.keys.ttl("node-A"))
