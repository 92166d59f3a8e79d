"""Waiting times: full jitter up to a bound that doubles."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from muster.agent.backoff import Backoff


def bounds(backoff: Backoff, tries: int) -> list[float]:
    return [backoff.next() for _ in range(tries)]


def highest(_low: float, high: float) -> float:
    return high


def test_the_bound_doubles_from_one_second_to_thirty() -> None:
    assert bounds(Backoff(uniform=highest), 7) == [1, 2, 4, 8, 16, 30, 30]


@given(tries=st.integers(0, 2000))
def test_every_wait_is_drawn_from_zero_to_thirty_seconds(tries: int) -> None:
    drawn: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        drawn.append((low, high))
        return low

    assert bounds(Backoff(uniform=draw), tries) == [0.0] * tries
    assert len(drawn) == tries
    assert all(low == 0 and 1 <= high <= 30 for low, high in drawn)


def test_after_a_reset_the_next_failure_is_a_first_one() -> None:
    backoff = Backoff(uniform=highest)
    bounds(backoff, 5)
    backoff.reset()
    assert backoff.next() == 1


def test_a_wait_that_was_asked_for_is_kept_to_and_spread() -> None:
    drawn: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        drawn.append((low, high))
        return low

    assert Backoff(uniform=draw).after(8.0) == 8.0
    assert drawn == [(8.0, 10.0)]


def test_soon_is_no_failure() -> None:
    backoff = Backoff(uniform=highest)
    backoff.soon()
    assert backoff.next() == 1
