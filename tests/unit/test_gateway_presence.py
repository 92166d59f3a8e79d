"""When a gateway says that it lives, and when it had better not yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from gateway import presence as module
from gateway.batcher import Batcher
from gateway.clock import StallClock
from gateway.presence import Presence
from registry.errors import StoreUnavailable
from registry.model import Beat, BeatAnswer

TTL_S = 10.0
INTERVAL_S = 15.0


class Store:
    """A roll, and where beats go."""

    def __init__(self) -> None:
        self.away = False
        self.announced = 0

    async def announce(self, gateway_id: str, info: dict[str, str]) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.announced += 1

    async def withdraw(self, gateway_id: str) -> None: ...

    async def beat(self, beats: Sequence[Beat]) -> list[BeatAnswer | None]:
        raise StoreUnavailable("away")

    def lane_of(self, node_id: str) -> int:
        return 0


class Time:
    """A clock, and a process that ticks while it runs."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.clock = StallClock(lambda: self.now, self._soon)

    def _soon(self, call: Callable[[], None]) -> None: ...

    def runs(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.clock.tick()

    def stands_still(self, seconds: float) -> None:
        self.now += seconds


class Waiting(Batcher):
    """A batcher with beats it can't get rid of, or without any."""

    stuck = False

    async def drain(self, timeout_s: float) -> bool:
        return not self.stuck


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(module, "monotonic", lambda: made.now)
    return made


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def batcher(store: Store) -> Waiting:
    return Waiting(store, window_s=0, batch_max=10, pending_per_node=4)


@pytest.fixture
def presence(time: Time, store: Store, batcher: Waiting) -> Presence:
    return Presence(store, batcher, time.clock, "gw", {}, ttl_s=TTL_S, interval_s=INTERVAL_S)


async def test_a_gateway_that_was_cut_off_sends_what_it_holds_before_it_is_back(
    presence: Presence, time: Time, store: Store, batcher: Waiting
) -> None:
    assert await presence.announce()
    store.away = batcher.stuck = True
    time.runs(TTL_S + 1)
    assert not await presence.announce() and not presence.ok
    store.away = False
    assert not await presence.announce()
    batcher.stuck = False
    assert await presence.announce() and presence.ok


async def test_a_gateway_that_stood_still_is_back_when_every_node_had_time_to_beat(
    presence: Presence, time: Time, store: Store
) -> None:
    """Frames that lay in its sockets count as old as the standstill."""
    assert await presence.announce()
    time.stands_still(60)
    assert not await presence.announce()
    time.runs(INTERVAL_S)
    assert not await presence.announce() and not presence.ok
    time.runs(INTERVAL_S)
    assert await presence.announce() and presence.ok


async def test_a_second_standstill_prolongs_the_first(presence: Presence, time: Time) -> None:
    assert await presence.announce()
    time.stands_still(20)
    assert not await presence.announce()
    time.runs(INTERVAL_S)
    time.stands_still(20)
    assert not await presence.announce()
    time.runs(INTERVAL_S)
    assert not await presence.announce()
    time.runs(INTERVAL_S)
    assert await presence.announce()


async def test_a_short_standstill_is_no_lapse(presence: Presence, time: Time) -> None:
    assert await presence.announce()
    time.stands_still(TTL_S - 1)
    assert await presence.announce()


async def test_a_store_that_does_not_take_the_announcement_counts_as_away(
    presence: Presence, store: Store
) -> None:
    answered = []
    for store.away in (False, True, False):
        await presence.announce()
        answered.append(presence.answered)
    assert answered == [True, False, True]
