"""A sweeper whose store becomes another one without an error, which knows what it heard itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from registry import primary
from registry.embedded import EmbeddedStore
from registry.keys import partition_of
from registry.model import Snoozed, Verdict
from registry.registry import Registry
from registry.store import Store
from tests.contract.test_sweeping import Scene, running
from tests.support.fleet import Fleet, until
from tests.support.launching import caught_up, follows, launcher, said

DEPOSED = "deposed"
GRACE_S = 3.0


@asynccontextmanager
async def of_two_servers(
    directory: Path, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> AsyncIterator[tuple[EmbeddedStore, EmbeddedStore, Store]]:
    """A primary, its replica, whose clock is so far ahead, and a store whose sentinels name the
    primary until it is called deposed, then the replica."""
    former = EmbeddedStore.start(directory / "former", extra=["--repl-diskless-sync-delay", "0"])
    new = EmbeddedStore.start(
        directory / "new",
        extra=["--replicaof", "127.0.0.1", str(former.port)],
        server=launcher(directory / "server", clock_offset_s=ahead_s),
    )
    monkeypatch.setattr(primary, "ASKED_EVERY_S", 0.05)
    store = await Store.connect("redis+sentinel://127.0.0.1:1/muster/0")

    async def discover(service: str) -> tuple[str, int]:
        return "127.0.0.1", (new if former.command("EXISTS", DEPOSED) else former).port

    monkeypatch.setattr(store.client.connection_pool.sentinel_manager, "discover_master", discover)
    try:
        yield former, new, store
    finally:
        await store.close()
        for server in (former, new):
            server.kill()


@dataclass
class Deposing:
    """A sweeper, and a node that is ready; the former primary's replica no longer follows it."""

    former: EmbeddedStore
    new: EmbeddedStore
    scene: Scene
    fleet: Fleet  # speaks with the former primary
    hears_of_it: asyncio.Event


async def nothing(scene: Scene, fleet: Fleet) -> None:
    """The node just goes on."""


@asynccontextmanager
async def deposing(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    ahead_s: float = 0.0,
    jobs: int = 0,
    verdict: Verdict = Verdict.PASS,
    begins: Callable[[Scene, Fleet], Awaitable[None]] = nothing,
    **changes: Any,
) -> AsyncIterator[Deposing]:
    """The gateway announces itself at the former primary, and the node beats, until they hear."""
    async with of_two_servers(directory, monkeypatch, ahead_s) as (former, new, store):
        lasts: dict[str, Any] = {"gateway_grace_s": GRACE_S, "heartbeat_timeout_s": GRACE_S}
        scene = Scene(store, **lasts | changes)
        scene.gateway = False  # of the new primary
        to_former = Registry(await Store.connect(former.url), scene.settings)
        fleet = Fleet(to_former)

        hears_of_it = asyncio.Event()  # not a cancellation: the store's client may swallow one

        async def speak() -> None:
            while not hears_of_it.is_set():
                await to_former.announce("gw1", {})
                await fleet.beat(jobs=jobs, verdict=verdict)
                await asyncio.sleep(0.1)

        async def replicated() -> bool:
            return follows(new, former) and caught_up(new, former)

        await fleet.register()
        speaking = asyncio.create_task(speak())
        async with running(scene):
            await until(scene.observed, "every partition was observed")
            try:
                await scene.becomes("ready" if verdict.passed else "registering")
                await begins(scene, fleet)
                await until(replicated, "the replica has everything")
                new.command("REPLICAOF", "NO", "ONE")
                yield Deposing(former, new, scene, fleet, hears_of_it)
            finally:
                hears_of_it.set()
                await speaking
        await to_former.close()


async def judged_amid_a_pass(on: Deposing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweeper looks at the former primary, and reads and commits at the new one; until what it
    commits there is refused, or becomes true."""
    scene = on.scene
    snooze, pool = scene.registry.snooze, scene.registry.store.client.connection_pool
    amid = asyncio.Event()

    async def switched() -> bool:
        return bool(pool.master_address == ("127.0.0.1", on.new.port))

    async def snooze_elsewhere(pages: Any) -> Snoozed:
        if not amid.is_set():
            amid.set()
            on.former.command("SET", DEPOSED, "1")
            await until(switched, "it is heard of")
        return await snooze(pages)

    began = await scene.word()
    stale = scene.metrics.stale._value.get()
    monkeypatch.setattr(scene.registry, "snooze", snooze_elsewhere)

    async def judged() -> bool:
        refused: float = scene.metrics.stale._value.get()
        return amid.is_set() and (refused > stale or await scene.word() != began)

    await until(judged, "it is judged at the new primary")


async def test_nobody_is_silent_because_a_new_primary_did_not_hear_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway speaks with the former primary for longer than its grace."""
    async with deposing(tmp_path, monkeypatch) as on:
        scene = on.scene
        on.new.command("CONFIG", "RESETSTAT")
        await asyncio.sleep(GRACE_S + 0.3)
        on.former.command("SET", DEPOSED, "1")

        async def looked() -> bool:
            return "cmdstat_eval" in said(on.new, "commandstats")

        await until(looked, "the sweeper looks at the new primary")
        await asyncio.sleep(0.5)
        assert await scene.status() == "ready"

        on.hears_of_it.set()
        on.fleet.registry = scene.registry
        await on.fleet.beat()
        scene.gateway = True
        await asyncio.sleep(0.5)
        assert await scene.status() == "ready"
        await scene.becomes("offline")


async def test_nobody_is_silent_because_the_primary_changed_amid_a_sweepers_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked at the former primary, and reads and commits at the new one."""
    # A busy machine's pass may last longer than a quick gap; then nothing is committed at all.
    async with deposing(tmp_path, monkeypatch, unobserved_gap_s=2.0, lease_ttl_s=3.0) as on:
        scene = on.scene
        await asyncio.sleep(GRACE_S + 0.3)  # longer than a time-out the new one heard nothing
        await judged_amid_a_pass(on, monkeypatch)
        assert await scene.status() == "ready"
        await asyncio.sleep(0.5)
        assert await scene.status() == "ready"


@pytest.mark.parametrize("what", ["warm-up", "own drain", "operator's drain"])
async def test_no_warm_up_and_no_drain_is_over_because_a_new_primarys_clock_is_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """By more than the time allowed, of which next to nothing has passed."""

    async def begins(scene: Scene, fleet: Fleet) -> None:
        if what == "own drain":
            assert await fleet.leave()
            await scene.becomes("draining")
        elif what == "operator's drain":
            assert await fleet.registry.drain("node-A", "ann", "a new card")
            await scene.becomes("draining")

    async with deposing(
        tmp_path,
        monkeypatch,
        ahead_s=100.0,
        jobs=1,
        verdict=Verdict.SELF_REPORTED if what == "warm-up" else Verdict.PASS,
        begins=begins,
        heartbeat_timeout_s=600.0,
        warmup_timeout_s=60.0,
        drain_timeout_s=60.0,
        unobserved_gap_s=2.0,
        lease_ttl_s=3.0,
    ) as on:
        scene = on.scene

        async def written_down() -> bool:
            key = scene.registry.keys.unobserved(partition_of("node-A"))
            return int(on.new.command("GET", key) or 0) > 90_000

        began = await scene.word()
        await judged_amid_a_pass(on, monkeypatch)
        assert await scene.word() == began
        on.hears_of_it.set()
        on.fleet.registry, scene.gateway = scene.registry, True
        await until(written_down, "it is written down that nobody observed the lead")
        await on.fleet.beat(jobs=1, verdict=Verdict.SELF_REPORTED)
        await asyncio.sleep(0.5)
        assert await scene.word() == began
