"""What `beat` promises, on every store."""

from __future__ import annotations

import asyncio

from registry.base import text
from registry.keys import partition_of
from registry.model import BeatOutcome, Reason, Status, Verdict
from registry.registry import Registry
from tests.support.fleet import Fleet, asks, until


async def test_every_beat_is_one_verdict(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    beats = [fleet.beat_of() for _ in range(3)]
    answers = await registry.beat(beats)
    assert [a and a.outcome for a in answers] == [BeatOutcome.FINE] * 3
    assert (await fleet.facts()).window == "PPP"
    detail = await registry.node("node-A")
    assert detail is not None and len(detail.verdicts) == 3


async def test_the_last_verdicts_are_shown_and_not_many_more_are_kept(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    shown = registry.settings.history_length
    for _ in range(3):
        await registry.beat([fleet.beat_of() for _ in range(shown)])
        await fleet.beat(verdict=Verdict.SELF_REPORTED)
        detail = await registry.node("node-A")
        assert detail is not None
        assert [verdict for _, verdict in detail.verdicts] == ["s"] + ["P"] * (shown - 1)
        key = registry.keys.history("node-A")
        (kept,) = await registry.store.commands([("LRANGE", key, 0, -1)])
        assert len(kept) <= shown + 4


async def test_beats_of_many_nodes_travel_together_and_are_answered_in_order(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    names = [f"node-{i}" for i in range(20)]
    for name in names[:-1]:
        await fleet.register(name)
    fleet.told[names[-1]], fleet.sids[names[-1]], fleet.seqs[names[-1]] = (
        fleet.told[names[0]],
        "never-registered",
        0,
    )
    answers = await registry.beat([fleet.beat_of(name) for name in names])
    assert [a and a.outcome for a in answers] == [BeatOutcome.FINE] * 19 + [BeatOutcome.MISSING]


async def test_a_beat_leaves_what_the_next_judgement_needs_though_it_writes_only_what_changed(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.register()

    async def left() -> tuple[str, str, str]:
        key = registry.keys.node("node-A")
        ((seen, window, last),) = await registry.store.commands(
            [("HMGET", key, "bun", "win", "lastv")]
        )
        return text(seen), text(window), text(last)

    await fleet.beat()
    assert await left() == ("0", "P", "P")
    await registry.store.client.set(registry.keys.unobserved(partition_of("node-A")), 7_000)
    await fleet.beat()
    assert await left() == ("7000", "PP", "P")
    await fleet.beat(verdict=Verdict.SELF_REPORTED)
    assert await left() == ("7000", "sPP", "s")
    for _ in range(6):
        await fleet.beat()
    assert await left() == ("7000", "PPPPP", "P")


async def test_a_resent_beat_counts_once(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    beat = fleet.beat_of()
    await registry.beat([beat])
    await registry.beat([beat, beat])
    assert (await fleet.facts()).window == "P"


async def test_a_superseded_socket_changes_nothing(registry: Registry) -> None:
    fleet = Fleet(registry)
    old = await fleet.register(sid="old")
    await fleet.register(sid="new")
    before = await fleet.facts()
    answer = await fleet.beat(sid="old", session=old.session, verdict=Verdict.GPU_UNAVAILABLE)
    after = await fleet.facts()
    assert answer.outcome is BeatOutcome.FOREIGN
    assert (after.window, after.last_beat) == (before.window, before.last_beat)


async def test_a_foreign_sid_with_a_lower_session_means_the_store_lost_ours(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.register(sid="stored")
    answer = await fleet.beat(sid="mine", session=9_000_000_000_000)
    assert answer.outcome is BeatOutcome.OLDER


async def test_a_frame_as_old_as_the_time_out_changes_nothing(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    old = registry.clock.monotonic() - registry.settings.heartbeat_timeout_s
    answer = await fleet.beat(arrived=old)
    assert answer.outcome is BeatOutcome.TOO_OLD
    assert (await fleet.facts()).window == ""


async def test_a_frame_that_waited_gives_only_what_is_left_of_its_time(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register(arrived=registry.clock.monotonic() - 30)
    await fleet.beat(arrived=registry.clock.monotonic() - 20)
    facts = await fleet.facts()
    assert 20_000 < facts.ttl_ms <= 25_000
    assert facts.now - facts.last_beat >= 20_000


async def test_a_beat_in_a_late_call_is_packed_again_with_its_true_age(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    registry.clock._offset_ms = (registry.clock._offset_ms or 0) - 60_000
    answer = await fleet.beat()
    assert answer.outcome is BeatOutcome.FINE
    facts = await fleet.facts()
    assert facts.ttl_ms > 40_000 and facts.window == "P"


async def test_a_beat_tells_what_its_node_was_not_told(registry: Registry) -> None:
    fleet = Fleet(registry)
    first = await fleet.register()
    for _ in range(3):
        await fleet.beat()
    await fleet.commit(Status.READY, Reason.HEALTHY)
    answer = await fleet.beat(relayed=first.version)
    assert answer.outcome is BeatOutcome.TELL and answer.change is not None
    assert (answer.change.status, answer.change.previous) == ("ready", "registering")
    assert (await fleet.beat(relayed=answer.change.version)).outcome is BeatOutcome.FINE


async def test_a_lower_version_in_the_store_is_mended_above_what_was_told(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    told = fleet.told["node-A"].version + 1_000_000
    answer = await fleet.beat(relayed=told)
    assert answer.outcome is BeatOutcome.LOWER
    change = await registry.mend("node-A", "sid-node-A", told, "operator")
    assert change is not None and change.version > told
    assert (await fleet.facts()).intent == "operator"
    assert await registry.select(asks(), 3) == []


async def test_beats_after_leaving_are_told_so_and_undo_nothing(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await fleet.commit(Status.OFFLINE, Reason.UNREGISTERED)
    answer = await fleet.beat()
    assert answer.outcome is BeatOutcome.LEFT
    assert (await fleet.facts()).status is Status.OFFLINE


async def test_a_beat_of_a_silent_node_asks_for_a_new_life(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT)
    assert (await fleet.beat()).outcome is BeatOutcome.SILENT
    assert (await fleet.facts()).ttl_ms == -2


async def test_late_frames_do_not_revive_a_dead_node(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await fleet.commit(Status.OFFLINE, Reason.HEARTBEAT_TIMEOUT)
    late = registry.clock.monotonic() - registry.settings.heartbeat_timeout_s
    assert (await fleet.beat(arrived=late)).outcome is BeatOutcome.TOO_OLD


async def test_a_failing_beat_of_a_ready_node_is_marked_and_a_passing_one_is_not(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await fleet.marked()
    await fleet.beat()
    assert not await fleet.marked()
    await fleet.beat(verdict=Verdict.MODEL_MISSING)
    assert await fleet.marked()
    assert (await fleet.facts()).last_failure == "m"


async def test_a_gap_of_more_than_two_intervals_is_one_failure_before_the_verdict(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.register(
        arrived=registry.clock.monotonic() - 2.5 * registry.settings.heartbeat_interval_s
    )
    await fleet.beat()
    assert (await fleet.facts()).window == "Pb"


async def test_a_gap_nobody_observed_is_no_failure(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register(
        arrived=registry.clock.monotonic() - 2.5 * registry.settings.heartbeat_interval_s
    )
    await registry.store.client.incrby(registry.keys.unobserved(partition_of("node-A")), 60_000)
    await fleet.beat()
    assert (await fleet.facts()).window == "P"


async def test_the_ttl_key_goes_by_itself_when_beats_stop(quick: Registry) -> None:
    fleet = Fleet(quick)
    await fleet.make_ready()
    assert len(await quick.select(asks(), 3)) == 1

    async def unselectable() -> bool:
        return await quick.select(asks(), 3) == []

    await until(unselectable, "no selection without the TTL key")
    assert (await fleet.facts()).status is Status.READY


async def test_job_failures_count_once_an_interval_and_never_refresh_liveness(
    registry: Registry,
) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    before = await fleet.facts()
    for _ in range(3):
        assert await registry.job_result("node-A", "sid-node-A", failed=True, jobs=0, job_id="x")
    after = await fleet.facts()
    assert after.window == "j" and after.last_beat == before.last_beat
    assert await fleet.marked()


async def test_a_stranger_reports_no_jobs(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    assert not await registry.job_result("node-A", "other", failed=True, jobs=9)
    assert (await fleet.facts()).jobs == 0


async def test_concurrent_batches_keep_every_verdict(registry: Registry) -> None:
    fleet = Fleet(registry)
    names = [f"node-{i}" for i in range(8)]
    for name in names:
        await fleet.register(name)
    for _ in range(3):
        await asyncio.gather(*(fleet.beat(name) for name in names))
    for name in names:
        assert (await fleet.facts(name)).window == "PPP"
