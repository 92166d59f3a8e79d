"""The age of frames after this process stood still."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.clock import GAP_S, TICK_S, StallClock


class Loop:
    """A loop that runs one turn when told, and a clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._next: list[Callable[[], None]] = []

    def soon(self, call: Callable[[], None]) -> None:
        self._next.append(call)

    def turn(self) -> None:
        due, self._next = self._next, []
        for call in due:
            call()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def clock(loop: Loop) -> StallClock:
    return StallClock(lambda: loop.now, loop.soon)


def test_in_a_running_process_frames_arrive_when_read(loop: Loop, clock: StallClock) -> None:
    for _ in range(20):
        loop.now += TICK_S
        clock.tick()
        assert clock.arrived(clock.look()) == loop.now


def test_a_frame_read_after_a_stall_may_be_as_old_as_the_stall(
    loop: Loop, clock: StallClock
) -> None:
    clock.tick()
    before = loop.now
    loop.now += 60
    assert clock.arrived(clock.look()) == before
    assert clock.suspect


def test_the_ticker_may_find_the_stall_first(loop: Loop, clock: StallClock) -> None:
    before = loop.now
    loop.now += 60
    clock.tick()
    assert clock.arrived(clock.look()) == before


def test_suspicion_ends_after_the_loop_polled_all_sockets(loop: Loop, clock: StallClock) -> None:
    before = loop.now
    loop.now += 60
    clock.tick()
    loop.turn()
    loop.turn()
    assert clock.arrived(clock.look()) == before
    loop.turn()
    assert clock.arrived(clock.look()) == loop.now


def test_a_second_stall_prolongs_the_first(loop: Loop, clock: StallClock) -> None:
    before = loop.now
    loop.now += 60
    clock.tick()
    loop.turn()
    loop.now += 60
    assert clock.arrived(clock.look()) == before
    for _ in range(4):
        loop.turn()
    assert not clock.suspect


def test_short_gaps_are_no_stalls(loop: Loop, clock: StallClock) -> None:
    clock.tick()
    loop.now += GAP_S
    assert clock.arrived(clock.look()) == loop.now


def test_time_stood_still_is_not_observed(loop: Loop, clock: StallClock) -> None:
    clock.tick()
    before = clock.observed()
    loop.now += 60
    assert clock.observed() - before == pytest.approx(TICK_S)
