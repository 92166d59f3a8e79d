"""A transition may call for the next one at once: a drain with nothing to wait for, a resumption
after which the node has long been healthy. Then the node is marked in the same script, and waits
neither for its next beat nor for an alarm."""

from __future__ import annotations

from registry.keys import partition_of
from registry.model import Change, Reason, Status
from registry.registry import Registry
from registry.settings import RegistrySettings
from sweeper.rules import Limits, judge
from tests.support.fleet import Fleet

LIMITS = Limits.of(RegistrySettings())


async def swept(fleet: Fleet) -> list[Change]:
    """What a sweeper does that looks, once and again, while anything is marked."""
    made = []
    while await fleet.marked():
        facts = await fleet.facts()
        decision = judge(facts, LIMITS, gateway_present=True)
        if decision is not None:
            done = await fleet.registry.commit(facts, decision)
            assert isinstance(done, Change), done
            made.append(done)
    return made


def worded(made: list[Change]) -> list[tuple[str, str]]:
    return [(change.status, change.reason) for change in made]


async def report_what_is_newer_than_the_drain(fleet: Fleet) -> None:
    """A beat of the same millisecond says nothing of a drain."""
    facts = await fleet.facts()
    while facts.reported_at <= facts.intent_at:
        await fleet.beat()
        facts = await fleet.facts()


async def test_a_drain_with_nothing_to_wait_for_is_drained_without_another_beat(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await registry.drain("node-A", "op", "why")
    await report_what_is_newer_than_the_drain(fleet)
    assert worded(await swept(fleet)) == [
        (Status.DRAINING, Reason.OPERATOR),
        (Status.DRAINING, Reason.DRAINED),
    ]


async def test_one_that_passed_while_it_was_drained_is_ready_as_soon_as_it_is_resumed(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    await registry.drain("node-A", "op", "why")
    await swept(fleet)
    for _ in range(3):
        await fleet.beat()
    await registry.resume("node-A", "op", "why")
    assert worded(await swept(fleet))[-2:] == [
        (Status.REGISTERING, Reason.RESUMED),
        (Status.READY, Reason.HEALTHY),
    ]


async def test_a_transition_that_calls_for_nothing_marks_nobody(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await fleet.marked()
    await fleet.commit(Status.DEGRADED, Reason.GPU_UNAVAILABLE)
    assert not await fleet.marked()
    await registry.remove("node-A", "op", "why")
    await registry.patrol([partition_of("node-A")], "test", observe=False, limit=9)
    await fleet.commit(Status.OFFLINE, Reason.REMOVED)
    assert not await fleet.marked()


async def test_one_that_was_drained_and_is_gone_is_looked_at_no_more(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await registry.drain("node-A", "op", "why")
    await swept(fleet)
    assert (await fleet.facts()).status == Status.DRAINING
    await registry.remove("node-A", "op", "why")
    await registry.patrol([partition_of("node-A")], "test", observe=False, limit=9)
    change = await fleet.commit(Status.OFFLINE, Reason.REMOVED)
    assert isinstance(change, Change), change
    assert not await fleet.marked()
