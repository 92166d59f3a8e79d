"""What `register` promises, on every store."""

from __future__ import annotations

from dataclasses import replace

from registry.model import Reason, Registered, Stale, Status
from registry.registry import Registry
from tests.support.fleet import Fleet, asks, registration


async def test_a_free_id_is_unknown(registry: Registry) -> None:
    assert await registry.existing("node-A") is None


async def test_a_registration_begins_registering_live_and_unselectable(registry: Registry) -> None:
    fleet = Fleet(registry)
    answer = await fleet.register()
    assert (answer.status, answer.reason, answer.resumed) == ("registering", "registered", False)
    detail = await registry.node("node-A")
    assert detail is not None and detail.subject.live(45_000)
    assert await registry.select(asks(), 3) == []


async def test_an_id_is_given_once_of_two_that_find_it_free(registry: Registry) -> None:
    first = await registry.register(registration(sid="one"), None)
    second = await registry.register(registration(sid="two"), None)
    assert isinstance(first, Registered)
    assert second == Stale("sid")


async def test_a_resent_registration_finds_itself(registry: Registry) -> None:
    first = await registry.register(registration(), None)
    again = await registry.register(registration(), None)
    assert first == again


async def test_a_registration_judged_on_an_older_session_is_stale(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    seen = await registry.existing("node-A")
    await fleet.register(sid="second")
    assert await registry.register(registration(sid="late"), seen) == Stale("sid")


async def test_a_registration_with_an_old_digest_is_stale(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register()
    seen = await registry.existing("node-A")
    assert seen is not None
    answer = await registry.register(registration(sid="x"), replace(seen, digest="other"))
    assert answer == Stale("digest")


async def test_sessions_and_versions_never_go_back_even_on_an_emptied_store(
    registry: Registry,
) -> None:
    far = 9_000_000_000_000
    answer = await Fleet(registry).register(floor_session=far, floor_version=far)
    assert answer.session > far and answer.version > far


async def test_registering_anew_takes_a_ready_node_out_of_selection(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    assert [s.node_id for s in await registry.select(asks("nmt:zh:en"), 3)] == ["node-A"]
    await fleet.register(sid="new-life")
    assert await registry.select(asks("nmt:zh:en"), 3) == []
    assert (await fleet.facts()).status is Status.REGISTERING
    assert (await fleet.facts()).window == ""


async def test_resuming_keeps_state_history_and_selection(registry: Registry) -> None:
    fleet = Fleet(registry)
    ready = await fleet.make_ready()
    answer = await fleet.register(sid="second", kind="resume")
    assert answer.resumed and answer.status == "ready" and answer.version == ready.version
    assert [s.node_id for s in await registry.select(asks(), 3)] == ["node-A"]


async def test_resuming_with_other_models_moves_the_index_places(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await fleet.register(sid="second", kind="resume", digest="d2", capabilities=("any", "tts:en"))
    assert await registry.select(asks("nmt:zh:en"), 3) == []
    assert [s.node_id for s in await registry.select(asks("tts:en"), 3)] == ["node-A"]


async def test_resuming_with_other_hardware_is_a_new_life(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    answer = await fleet.register(sid="second", kind="resume", hardware_digest="other")
    assert not answer.resumed and answer.status == "registering"


async def test_resuming_an_offline_node_is_a_new_life(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.make_ready()
    await fleet.commit(Status.OFFLINE, Reason.REMOVED)
    answer = await fleet.register(sid="second", kind="resume")
    assert not answer.resumed and answer.status == "registering"


async def test_a_superseded_gateway_is_told(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register(sid="old")
    async with registry.subscription(registry.keys.gateway_channels("gw1")) as heard:
        await _healthy(heard)
        await fleet.register(sid="new", gateway="gw2")
        message = await anext(aiter(heard))
    assert b"superseded" in message and b"old" in message


async def test_a_frame_as_old_as_the_time_out_registers_nothing(registry: Registry) -> None:
    arrived = registry.clock.monotonic() - registry.settings.heartbeat_timeout_s
    assert await registry.register(registration(arrived=arrived), None) == Stale("age")
    assert await registry.existing("node-A") is None


async def test_a_restored_node_keeps_the_verdicts_its_gateway_held(registry: Registry) -> None:
    fleet = Fleet(registry)
    await fleet.register(kind="restore", window="PPP")
    facts = await fleet.facts()
    assert facts.window == "PPP" and facts.status is Status.REGISTERING
    assert await fleet.marked()


async def test_a_restored_node_under_intent_is_draining(registry: Registry) -> None:
    fleet = Fleet(registry)
    answer = await fleet.register(kind="restore", window="PPP", intent="stamp")
    assert (answer.status, answer.reason, answer.intent) == ("draining", "operator", "stamp")
    assert (await fleet.facts()).intent == "stamp"


async def _healthy(heard: object) -> None:
    from tests.support.fleet import until

    async def healthy() -> bool:
        return bool(getattr(heard, "healthy", False))

    await until(healthy, "the subscription hears itself")
