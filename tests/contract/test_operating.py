"""What operators' acts promise, on every store: who, when and why; nothing half done or undone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from muster.wire.messages import Gpu, Hardware, Model, Register
from muster.wire.registering import LABELS_MOST
from registry import capabilities as can
from registry.capabilities import label_name
from registry.errors import Contended
from registry.keys import PARTITIONS, partition_of
from registry.listing import Filter
from registry.model import (
    UNLABELLED,
    BeatOutcome,
    Change,
    Reason,
    Registered,
    Stale,
    Status,
)
from registry.registry import Registry
from registry.requirement import LabelTest, Requirement
from sweeper.repair import Repair
from sweeper.rules import Limits, judge
from tests.support.fleet import Fleet, asks, registration, until
from tests.support.socket import Socket, able

MACHINE = Register(
    hardware=Hardware(cpu_cores=8, memory_gb=32.0, gpus=(Gpu(name="RTX 4090", memory_gb=24.0),)),
    installed_models=(Model(model_id="m-asr", kind="asr", version="1", src_lang="zh"),),
    labels={"region": "eu", "rack": "7"},
)


def labelled(**labels: str) -> Requirement:
    return Requirement(labels=tuple(LabelTest(k, "in", (v,)) for k, v in labels.items()))


async def events(registry: Registry, kind: str, node_id: str = "node-A") -> list[dict[str, Any]]:
    """A node's last events of a kind, newest first."""
    return [e for e in await registry._events(node_id) if e["type"] == kind]


async def word(fleet: Fleet, node_id: str = "node-A") -> Change | None:
    """Does what a sweeper does once; the last change it made, or None."""
    done = None
    for _ in range(4):
        facts = await fleet.facts(node_id)
        decision = judge(facts, Limits.of(fleet.registry.settings), gateway_present=True)
        if decision is None:
            break
        change = await fleet.registry.commit(facts, decision)
        assert isinstance(change, Change), change
        done = change
    return done


async def counts(registry: Registry) -> dict[str, int]:
    found = await registry.counts(list(range(PARTITIONS)))
    return {status: count for status, count in found.items() if count}


async def evidence(registry: Registry) -> dict[str, Any]:
    newest = (await events(registry, "transition"))[0]
    found: dict[str, Any] = json.loads(newest["evidence"])
    return found


# Drain and resume


async def test_a_drain_says_who_when_and_why_to_everybody_who_asks(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    assert await registry.drain("node-A", "alice", "new card", timeout_s=7)
    (event,) = await events(registry, "operator_drain")
    assert (event["who"], event["why"], event["timeout"]) == ("alice", "new card", "7000")
    change = await word(fleet)
    assert change is not None and (change.status, change.reason) == ("draining", "operator")
    by = (await evidence(registry))["by"]
    assert by == {"who": "alice", "why": "new card", "at": int(event["at"])}
    detail = await registry.node("node-A")
    assert detail is not None and detail.subject.intent is not None
    intent = detail.subject.intent
    assert (intent.who, intent.why, intent.at, intent.timeout_ms) == (
        "alice", "new card", int(event["at"]), 7000,
    )  # fmt: skip


async def test_draining_again_replaces_reason_and_time_and_what_is_drained_stays_so(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await registry.drain("node-A", "alice", "new card", timeout_s=7)
    await word(fleet)

    async def drained() -> bool:
        await fleet.beat()
        await word(fleet)
        return (await fleet.facts()).reason == "drained"

    await until(drained, "it is drained")
    assert await registry.drain("node-A", "bob", "new board", timeout_s=9)
    assert await fleet.marked()
    assert await word(fleet) is None, "it is as safe to take away as before"
    facts = await fleet.facts()
    assert (facts.status, facts.reason, facts.intent_timeout_ms) == ("draining", "drained", 9000)
    assert facts.intended is not None and facts.intended.who == "bob"
    assert len(await events(registry, "operator_drain")) == 2


async def test_a_drain_that_ran_out_of_time_may_be_given_more(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await fleet.beat(jobs=1)
    await registry.drain("node-A", "alice", "new card", timeout_s=0)
    change = await word(fleet)
    assert change is not None and change.reason == "drain_timeout"
    await registry.drain("node-A", "alice", "the job is long", timeout_s=60)
    change = await word(fleet)
    assert change is not None and (change.status, change.reason) == ("draining", "operator")
    assert (await evidence(registry))["by"]["why"] == "the job is long"
    await registry.rearm(await fleet.facts())
    due = (await fleet.facts()).due
    assert due <= (await fleet.facts()).intent_at + 60_000, "and then its alarm rings again"


async def test_a_typo_drains_nothing(registry: Registry) -> None:
    assert not await registry.drain("node-Z", "alice", "new card")
    assert await registry.store.client.exists(registry.keys.intent("node-Z")) == 0
    assert await events(registry, "operator_drain", "node-Z") == []


async def test_a_drain_sent_twice_is_one_event(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await _resend(registry, "intend")
    assert await registry.drain("node-A", "alice", "new card")
    assert len(await events(registry, "operator_drain")) == 1


async def test_resuming_says_who_and_why(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await registry.drain("node-A", "alice", "new card")
    await word(fleet)
    assert await registry.resume("node-A", "bob", "it is in")
    assert not await registry.resume("node-A", "bob", "again")
    assert await registry.index_members(partition_of("node-A"), "any") == set(), "not ready yet"
    (event,) = await events(registry, "operator_resume")
    assert (event["who"], event["why"]) == ("bob", "it is in")
    change = await word(fleet)
    assert change is not None and change.reason == "resumed"
    assert (await evidence(registry))["by"] == {
        "who": "bob", "why": "it is in", "at": int(event["at"]),
    }  # fmt: skip
    await registry.drain("node-A", "alice", "once more")
    assert (await fleet.facts()).resumed is None


async def test_a_resumption_sent_twice_still_tells_that_it_ended_the_drain(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await registry.drain("node-A", "alice", "new card")
    await _resend(registry, "unintend")
    assert await registry.resume("node-A", "bob", "it is in")
    assert len(await events(registry, "operator_resume")) == 1


@pytest.mark.parametrize("meanwhile", ["nothing", "another capability", "it leaves"])
async def test_a_drain_that_ends_before_a_sweeper_worded_it_leaves_the_node_as_it_was(
    registry: Registry, meanwhile: str
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await registry.drain("node-A", "alice", "the wrong node")
    if meanwhile == "another capability":

        async def learn() -> None:
            facts = await fleet.facts()
            assert await registry.update(
                "node-A", "sid-node-A", "d1", facts.capabilities, b"", "d2", ("any", "tts:en"),
                True, 1,
            )  # fmt: skip

        _before(registry, "unintend", learn)
    elif meanwhile == "it leaves":
        await registry.unregister(
            "node-A", "sid-node-A", drain=True, why="", digest="d1", capabilities=()
        )
    assert await registry.resume("node-A", "alice", "sorry")
    facts = await fleet.facts()
    assert facts.status is Status.READY
    p = partition_of("node-A")
    names = set() if meanwhile == "it leaves" else set(facts.capabilities)
    for name in await registry.index_names(p):
        assert ("node-A" in await registry.index_members(p, name)) == (name in names), name
    found = await registry.select(asks(), 5)
    assert len(found) == (0 if meanwhile == "it leaves" else 1)


async def test_what_an_operator_asked_for_outlives_the_record_and_can_be_lifted_without_it(
    quick: Registry,
) -> None:
    fleet = Fleet(quick)
    await fleet.make_ready(**able(MACHINE))
    await quick.label("node-A", {"tier": "gold"}, "alice", "paid")
    await quick.drain("node-A", "alice", "new card")
    await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT)
    await _expired(fleet)
    known = await quick.known("node-A")
    assert known.record is None and known.labels.values == {"tier": "gold"}
    assert not await quick.drain("node-A", "alice", "it is unknown now")
    answer = await fleet.register(sid="back", **able(MACHINE, known.labels))
    assert answer.status == "draining"
    await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT)
    await _expired(fleet)
    assert await quick.resume("node-A", "bob", "sold")
    assert not await quick.resume("node-A", "bob", "again")
    answer = await fleet.register(sid="again", **able(MACHINE, known.labels))
    assert answer.status == "registering", "and the labels have outlived the drain"


async def _expired(fleet: Fleet, node_id: str = "node-A") -> None:
    registry = fleet.registry

    async def gone() -> bool:
        found = (await registry.facts(partition_of(node_id), [node_id]))[0]
        return found is None or await registry.expire_all([found]) == [True]

    await until(gone, "retention ends")


async def _resend(registry: Registry, script: str) -> None:
    """The first answer of a script is lost, and the script is sent again."""
    call, lost = registry.store.call, [script]

    async def twice(name: str, keys: Any, args: Any, *, urgent: bool = False) -> Any:
        reply = await call(name, keys, args, urgent=urgent)
        if name in lost:
            lost.remove(name)
            return await call(name, keys, args, urgent=urgent)
        return reply

    registry.store.call = twice  # type: ignore[method-assign]


def _before(registry: Registry, script: str, happens: Callable[[], Awaitable[None]]) -> None:
    """Something happens between the look and the first run of a script."""
    call, waiting = registry.store.call, [happens]

    async def late(name: str, keys: Any, args: Any, *, urgent: bool = False) -> Any:
        if name == script and waiting:
            await waiting.pop()()
        return await call(name, keys, args, urgent=urgent)

    registry.store.call = late  # type: ignore[method-assign]


# Removal


async def test_a_removed_node_is_gone_at_once_and_for_everybody(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await fleet.make_ready("node-B")
    assert await registry.remove("node-A", "alice", "scrapped")
    for _ in range(2):  # before a sweeper words it, and after
        assert await registry.node("node-A") is None
        assert [s.node_id for s in (await registry.listed(Filter(), 10))[0]] == ["node-B"]
        assert [s.node_id for s in await registry.select(asks(), 5)] == ["node-B"]
        assert (await registry.overview()).examined == 1
        assert not await registry.remove("node-A", "alice", "again")
        assert not await registry.drain("node-A", "alice", "why")
        assert await registry.label("node-A", {"a": "b"}, "alice", "why") is None
        await word(fleet)
    assert await counts(registry) == {"ready": 1}
    (event,) = await events(registry, "operator_remove")
    assert (event["who"], event["why"]) == ("alice", "scrapped")
    assert (await evidence(registry))["by"]["who"] == "alice"
    assert not await registry.remove("node-Z", "alice", "unknown")


async def test_the_node_is_told_that_it_was_removed_and_no_late_beat_brings_it_back(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await registry.remove("node-A", "alice", "scrapped")
    change = await word(fleet)
    assert change is not None and (change.status, change.reason) == ("offline", "removed")
    answer = await fleet.beat()
    assert answer.outcome is BeatOutcome.LEFT
    assert answer.change is not None and answer.change.reason == "removed"
    assert (await fleet.facts()).removed


@pytest.mark.parametrize("reason", [Reason.HEARTBEAT_TIMEOUT, Reason.UNREGISTERED])
async def test_a_node_that_is_offline_already_is_removed_by_the_act_itself(
    registry: Registry, reason: Reason
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    gone = await fleet.commit(Status.OFFLINE, reason)
    assert isinstance(gone, Change)
    async with registry.subscription(registry.keys.gateway_channels("gw1")) as heard:

        async def healthy() -> bool:
            return heard.healthy

        await until(healthy, "the subscription hears itself")
        assert await registry.remove("node-A", "alice", "scrapped")
        message = json.loads(await anext(aiter(heard)))
    assert (message["t"], message["status"], message["reason"]) == ("status", "offline", "removed")
    assert message["version"] > gone.version
    facts = await fleet.facts()
    assert facts.removed and facts.version == message["version"]
    assert facts.due >= facts.since + registry.settings.retention_s * 1000
    assert await counts(registry) == {}
    assert await registry.node("node-A") is None
    assert (await fleet.beat()).outcome is BeatOutcome.LEFT
    assert not await registry.remove("node-A", "alice", "again")


async def test_a_revival_that_had_begun_does_not_undo_a_removal(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT)
    seen = await registry.existing("node-A")
    await registry.remove("node-A", "alice", "scrapped")
    new = registration(sid="revived", kind="revive")
    assert await registry.register(new, seen) == Stale("left")
    assert (await fleet.facts()).removed


@pytest.mark.parametrize("was", ["ready", "offline", "not worded yet"])
async def test_a_removed_node_that_registers_again_is_counted_as_one(
    registry: Registry, was: str
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(token_shown=True)
    await registry.drain("node-A", "alice", "new card")
    if was == "offline":
        await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT)
    await registry.remove("node-A", "alice", "scrapped")
    if was != "not worded yet":
        await word(fleet)
        assert await counts(registry) == {}
    seen = await registry.existing("node-A")
    assert seen is not None and seen.token_shown, "whose id it is stands"
    answer = await fleet.register(sid="again", kind="resume")
    assert (answer.status, answer.resumed) == ("draining", False), "and so does the drain"
    assert await counts(registry) == {"draining": 1}
    assert await registry.node("node-A") is not None


async def test_a_removed_record_goes_after_its_retention_and_was_not_counted(
    quick: Registry,
) -> None:
    fleet = Fleet(quick)
    await fleet.make_ready()
    await quick.remove("node-A", "alice", "scrapped")
    await word(fleet)
    await Repair(quick, 10).partition(partition_of("node-A"))
    assert await counts(quick) == {}
    await _expired(fleet)
    assert await quick.existing("node-A") is None
    assert await counts(quick) == {}


async def test_retention_of_a_removed_record_begins_with_its_removal(quick: Registry) -> None:
    fleet = Fleet(quick)
    await fleet.make_ready()
    await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT)
    before = await fleet.facts()

    async def over() -> bool:
        return (await fleet.facts()).now - before.since > quick.settings.retention_s * 1000

    await until(over, "retention ends")
    assert await quick.remove("node-A", "alice", "scrapped")
    assert await quick.expire_all([before, await fleet.facts()]) == [False, False]


async def test_a_removal_on_an_old_view_is_looked_at_again(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    k, p = registry.keys, partition_of("node-A")
    keys = [
        k.node("node-A"), k.holds("node-A"), k.due(p), k.todo(p), k.bell(p), k.events(p),
        k.unobserved(p), k.counts(p), k.channel(p, "gw1"),
    ]  # fmt: skip
    assert await registry.store.call("remove", keys, ["node-A", "d0", "s", "op", "w", 1, 9]) == 0
    assert (await fleet.facts()).leave == ""
    assert len(await registry.select(asks(), 5)) == 1


@pytest.mark.parametrize("offline", [False, True])
async def test_a_removal_sent_twice_is_one_event_and_still_tells_that_it_removed(
    registry: Registry, offline: bool
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    if offline:
        await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT)
    await _resend(registry, "remove")
    assert await registry.remove("node-A", "alice", "scrapped")
    assert len(await events(registry, "operator_remove")) == 1


@pytest.mark.parametrize("drain", [True, False])
async def test_a_node_that_unregisters_while_it_is_removed_is_removed(
    registry: Registry, drain: bool
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await registry.remove("node-A", "alice", "scrapped")
    before = await fleet.facts()
    assert await registry.unregister(
        "node-A", "sid-node-A", drain=drain, why="bye", digest="d1", capabilities=()
    )
    after = await fleet.facts()
    assert (after.leave, after.leave_kind, after.left) == (before.leave, "remove", before.left)


async def test_a_node_that_unregisters_says_why_in_its_event(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await registry.unregister(
        "node-A", "sid-node-A", drain=False, why="its owner wants it", digest="d1",
        capabilities=(),
    )  # fmt: skip
    await word(fleet)
    by = (await evidence(registry))["by"]
    assert (by["who"], by["why"]) == ("node-A", "its owner wants it")


# Holds


@pytest.mark.parametrize("offline", [False, True])
async def test_holds_go_with_a_removed_node(registry: Registry, offline: bool) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    assert await registry.select(asks(), 1, hold_ms=60_000)
    if offline:
        await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT)
    await registry.remove("node-A", "alice", "scrapped")
    await word(fleet)
    assert await registry.holds("node-A") == []


async def test_holds_stay_with_a_node_that_only_fell_silent(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    assert await registry.select(asks(), 1, hold_ms=60_000)
    await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT)
    assert len(await registry.holds("node-A")) == 1


async def test_a_new_life_keeps_open_holds_until_their_time_and_a_report(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(capacity=2)
    await fleet.beat(capacity=2)
    (first,) = await registry.select(asks(), 1, hold_ms=60_000)
    (second,) = await registry.select(asks(), 1, hold_ms=1)
    await fleet.make_ready(sid="second life", capacity=2)

    async def over() -> bool:
        await fleet.beat(capacity=2)
        return (await fleet.facts()).reported_at > second.hold_expires

    await until(over, "a report comes after the second hold's time")
    (again,) = await registry.select(asks(), 1)
    assert again.load == 1
    assert await registry.release_hold(first.hold_id)


# Labels


async def test_an_operators_labels_lie_over_the_nodes_own(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(**able(MACHINE))
    before = await fleet.facts()
    in_force = await registry.label("node-A", {"region": "us", "tier": "gold"}, "alice", "moved")
    assert in_force == {"region": "us", "rack": "7", "tier": "gold"}
    for wanted, found in [
        (labelled(region="us"), 1),
        (labelled(region="eu"), 0),
        (labelled(tier="gold", rack="7"), 1),
    ]:
        assert len(await registry.select(wanted, 5)) == found, wanted
    former = label_name("region", "eu")
    assert await registry.index_members(partition_of("node-A"), former) == set()
    facts = await fleet.facts()
    assert facts.digest == can.digest(MACHINE, {"region": "us", "tier": "gold"}) != before.digest
    assert await registry.label("node-A", {"region": None}, "bob", "back") == {
        "region": "eu", "rack": "7", "tier": "gold",
    }  # fmt: skip
    assert len(await registry.select(labelled(region="eu"), 5)) == 1
    assert await registry.select(labelled(region="us"), 5) == []
    said = [(e["who"], e["why"], e["labels"]) for e in await events(registry, "operator_labels")]
    assert said == [
        ("bob", "back", '{"region": null}'),
        ("alice", "moved", '{"region": "us", "tier": "gold"}'),
    ]
    detail = await registry.node("node-A")
    assert detail is not None and detail.labelled is not None
    assert (detail.labelled.who, detail.labelled.why) == ("bob", "back")
    assert detail.subject.operator_labels == {"tier": "gold"}
    assert detail.subject.labels == {"region": "eu", "rack": "7", "tier": "gold"}
    assert detail.subject.registration["labels"] == {"region": "eu", "rack": "7"}


async def test_when_the_last_label_goes_nothing_of_it_stays(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(**able(MACHINE))
    before = await fleet.facts()
    await registry.label("node-A", {"tier": "gold"}, "alice", "paid")
    await registry.label("node-A", {"tier": None, "unheard": None}, "alice", "over")
    assert (await fleet.facts()).digest == before.digest
    assert await registry.store.client.exists(registry.keys.intent("node-A")) == 0
    assert (await registry.known("node-A")).labels == UNLABELLED


async def test_labels_of_a_node_nobody_knows_are_not_kept(registry: Registry) -> None:
    assert await registry.label("node-Z", {"tier": "gold"}, "alice", "typo") is None
    assert await registry.store.client.exists(registry.keys.intent("node-Z")) == 0


async def test_a_change_that_changes_nothing_is_no_event(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(**able(MACHINE))
    for _ in range(2):
        await registry.label("node-A", {"tier": "gold"}, "alice", "paid")
    await registry.label("node-A", {"other": None}, "alice", "was never there")
    assert len(await events(registry, "operator_labels")) == 1


async def test_a_change_of_labels_sent_twice_is_one_event(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(**able(MACHINE))
    await _resend(registry, "labels")
    assert await registry.label("node-A", {"tier": "gold"}, "alice", "paid")
    await _resend(registry, "labels")
    assert await registry.label("node-A", {"tier": None}, "alice", "over")
    assert len(await events(registry, "operator_labels")) == 2


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tier": "x" * 257}, "'tier'"),
        ({"tier": "界" * 86}, "'tier'"),
        ({"": "x"}, "''"),
        ({"n" * 257: "x"}, "nnn"),
        ({"tier": "\ud800"}, "'tier'"),
        ({"tier": "gold\n"}, "'tier': its value holds a control character"),
        ({"ti\x7fer": "gold"}, r"'ti\\x7fer': its name holds a control character"),
        ({f"l{i:02}": "x" for i in range(LABELS_MOST)}, "'l31'"),
    ],
)
async def test_a_label_that_cannot_be_is_refused_by_its_name(
    registry: Registry, changes: dict[str, str | None], named: str
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(**able(MACHINE))
    await registry.label("node-A", {"first": "x"}, "alice", "one is there")
    with pytest.raises(ValueError, match=named):
        await registry.label("node-A", changes, "alice", "why")
    assert (await registry.known("node-A")).labels.values == {"first": "x"}


@pytest.mark.parametrize("how", ["registering", "drained", "leaving", "offline"])
async def test_labels_of_a_node_that_may_not_be_given_work_are_not_indexed(
    registry: Registry, how: str
) -> None:
    fleet = Fleet(registry)
    if how == "registering":
        await fleet.register(**able(MACHINE))
    else:
        await fleet.make_ready(**able(MACHINE))
    facts = await fleet.facts()
    if how == "drained":
        await registry.drain("node-A", "alice", "why")
    elif how == "leaving":
        await registry.unregister(
            "node-A", "sid-node-A", drain=True, why="", digest=facts.digest,
            capabilities=facts.capabilities,
        )  # fmt: skip
    elif how == "offline":
        await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT)
    await registry.label("node-A", {"tier": "gold"}, "alice", "paid")
    p, name = partition_of("node-A"), label_name("tier", "gold")
    assert await registry.index_members(p, name) == set()
    assert name in (await fleet.facts()).capabilities


async def test_labels_come_into_force_with_the_state_that_is_indexed(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register(**able(MACHINE))
    await registry.label("node-A", {"tier": "gold"}, "alice", "paid")
    for _ in range(3):
        await fleet.beat()
    await word(fleet)
    assert len(await registry.select(labelled(tier="gold"), 5)) == 1
    await Repair(registry, 10).partition(partition_of("node-A"))
    assert len(await registry.select(labelled(tier="gold"), 5)) == 1


async def test_a_registration_made_without_the_labels_in_force_is_made_again(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(**able(MACHINE))
    await registry.label("node-A", {"tier": "gold"}, "alice", "paid")
    seen = await registry.existing("node-A")
    new = registration(sid="second", kind="resume", **able(MACHINE))
    assert await registry.register(new, seen) == Stale("labels")
    labels = (await registry.known("node-A")).labels
    new = registration(sid="second", kind="resume", **able(MACHINE, labels))
    assert isinstance(await registry.register(new, seen), Registered)
    assert len(await registry.select(labelled(tier="gold"), 5)) == 1


async def test_an_update_made_without_the_labels_in_force_is_refused(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(**able(MACHINE))
    await registry.label("node-A", {"tier": "gold"}, "alice", "paid")
    facts = await fleet.facts()
    assert not await registry.update(
        "node-A", "sid-node-A", facts.digest, facts.capabilities, can.pack(MACHINE),
        can.digest(MACHINE), can.capabilities(MACHINE), True, 1, 24.0, "",
    )  # fmt: skip
    assert len(await registry.select(labelled(tier="gold"), 5)) == 1


@pytest.mark.parametrize("wrong", [1, 2, 3])
async def test_a_change_of_labels_on_an_old_view_is_refused(registry: Registry, wrong: int) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(**able(MACHINE))
    facts, k, p = await fleet.facts(), registry.keys, partition_of("node-A")
    keys = [k.node("node-A"), k.intent("node-A"), k.names(p), k.events(p)]
    args: list[Any] = [
        "node-A", facts.digest, "", can.pack(MACHINE), "stamp", can.pack_labels({"a": "b"}), "d",
        "any", 0, "alice", "why", "{}", 9,
    ]  # fmt: skip
    right = args[wrong]
    args[wrong] = "another"
    assert await registry.store.call("labels", keys, args) == 0
    assert (await registry.known("node-A")).labels == UNLABELLED
    assert (await fleet.facts()).digest == facts.digest
    args[wrong] = right
    assert await registry.store.call("labels", keys, args) == 1


async def test_a_removal_comes_before_a_change_under_way(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(**able(MACHINE))

    async def remove() -> None:
        assert await registry.remove("node-A", "bob", "scrapped")

    _before(registry, "labels", remove)
    assert await registry.label("node-A", {"tier": "gold"}, "alice", "paid") is None
    await word(fleet)
    _before(registry, "intend", remove)
    await fleet.make_ready(sid="again", **able(MACHINE))
    assert not await registry.drain("node-A", "alice", "why")
    assert await registry.store.client.exists(registry.keys.intent("node-A")) == 0


async def test_of_two_who_remove_a_node_one_did(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()

    async def remove() -> None:
        assert await registry.remove("node-A", "bob", "scrapped")

    _before(registry, "remove", remove)
    assert not await registry.remove("node-A", "alice", "scrapped")
    assert len(await events(registry, "operator_remove")) == 1


async def test_a_change_of_labels_looks_again_when_what_it_rests_on_moved_on(
    registry: Registry,
) -> None:
    """Of two operators neither undoes the other; a label of the node's own that was hidden under
    the operator's is the one it has now, though no digest told that it changed."""
    fleet = Fleet(registry)
    await fleet.make_ready(**able(MACHINE))
    await registry.label("node-A", {"rack": "9"}, "alice", "moved")
    moved: list[Any] = []

    async def another_operator() -> None:
        await registry.label("node-A", {"tier": "gold"}, "bob", "paid")

    async def another_rack() -> None:
        labels = (await registry.known("node-A")).labels
        rack8 = replace_labels(MACHINE, rack="8")
        assert can.digest(rack8, labels.values) == can.digest(MACHINE, labels.values)
        await fleet.register(sid="second", kind="resume", **able(rack8, labels))

    async def another_capability() -> None:
        facts, labels = await fleet.facts(), (await registry.known("node-A")).labels
        more = replace_labels(MACHINE, rack="8", extra="yes")
        assert await registry.update(
            "node-A", "second", facts.digest, facts.capabilities, can.pack(more),
            can.digest(more, labels.values), can.capabilities(more, labels.values), True, 1, 24.0,
            labels.stamp,
        )  # fmt: skip

    moved += [another_operator, another_rack, another_capability]
    call = registry.store.call

    async def late(name: str, keys: Any, args: Any, *, urgent: bool = False) -> Any:
        if name == "labels" and args[9] == "alice" and moved:
            await moved.pop(0)()
        return await call(name, keys, args, urgent=urgent)

    registry.store.call = late  # type: ignore[method-assign]
    in_force = await registry.label("node-A", {"rack": None}, "alice", "back")
    assert in_force == {"region": "eu", "rack": "8", "tier": "gold", "extra": "yes"}
    assert moved == []
    assert len(await registry.select(labelled(rack="8", tier="gold", extra="yes"), 5)) == 1
    for rack in "79":
        assert await registry.select(labelled(rack=rack), 5) == []


def replace_labels(register: Register, **labels: str) -> Register:
    return msgspec.structs.replace(register, labels={**register.labels, **labels})


# A gateway under way


async def test_a_gateway_that_saw_older_labels_looks_again_and_keeps_them(
    registry: Registry,
) -> None:
    fleet, socket = Fleet(registry), Socket(registry)
    await socket.register(MACHINE)
    session = socket.session
    assert session is not None
    await registry.label("node-A", {"tier": "gold"}, "alice", "paid")
    tts = Model(model_id="m-tts", kind="tts", version="1", tgt_lang="en")
    updated = Register(hardware=MACHINE.hardware, installed_models=(tts,), labels=MACHINE.labels)
    await socket.report(updated)
    facts = await fleet.facts()
    assert set(facts.capabilities) >= {"tts:en", label_name("tier", "gold")}
    assert facts.digest == session.digest == can.digest(updated, {"tier": "gold"})
    assert session.labels.values == {"tier": "gold"}
    answer = await socket.register(updated)
    assert answer.resumed
    assert label_name("tier", "gold") in (await fleet.facts()).capabilities


async def test_what_a_node_can_do_is_never_written_beside_a_renewal_of_its_session(
    registry: Registry,
) -> None:
    fleet, socket = Fleet(registry), Socket(registry)
    await socket.register(MACHINE)
    updated = msgspec.structs.replace(MACHINE, installed_models=())
    async with socket.renewing():
        report = asyncio.create_task(socket.report(updated))
        await asyncio.sleep(0)
        await socket.register(MACHINE, "register")
    await report
    assert "asr:zh" not in (await fleet.facts()).capabilities


async def test_what_could_not_be_written_is_tried_again_with_the_next_report(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, socket = Fleet(registry), Socket(registry)
    await socket.register(MACHINE)
    updated = msgspec.structs.replace(MACHINE, installed_models=())
    tries = 0

    async def stale(*_: Any, **__: Any) -> bool:
        nonlocal tries
        tries += 1
        return False

    with monkeypatch.context() as patched:
        patched.setattr(registry, "update", stale)
        await socket.report(updated)
    assert tries == 20
    assert socket.session is not None and socket.session.register == MACHINE
    assert "asr:zh" in (await fleet.facts()).capabilities
    await socket.report(updated)
    assert socket.session.register == updated
    assert "asr:zh" not in (await fleet.facts()).capabilities


@pytest.mark.parametrize("act", ["drain", "resume", "remove", "label"])
async def test_an_act_on_a_record_that_never_keeps_still_is_given_up(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready(**able(MACHINE))

    async def stale(*_: Any, **__: Any) -> int:
        return -1 if act == "resume" else 0

    acts: dict[str, Callable[[], Awaitable[Any]]] = {
        "drain": lambda: registry.drain("node-A", "alice", "why"),
        "resume": lambda: registry.resume("node-A", "alice", "why"),
        "remove": lambda: registry.remove("node-A", "alice", "why"),
        "label": lambda: registry.label("node-A", {"a": "b"}, "alice", "why"),
    }
    seen = (await registry.subjects(["node-A"], detail=True))[0]

    async def subjects(*_: Any, **__: Any) -> list[Any]:
        return [seen]

    monkeypatch.setattr(registry, "subjects", subjects)
    monkeypatch.setattr(registry.store, "call", stale)
    with pytest.raises(Contended):
        await acts[act]()
