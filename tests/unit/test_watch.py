"""What a sweeper may say of the time that passed: by what it saw of each partition since when."""

from __future__ import annotations

import pytest

from registry.model import Looked, Patrolled
from sweeper.watch import Watch

GAP_S, GRACE_S = 5.0, 90.0
BEGAN_MS = 1_800_000_000_000


class Watching:
    """A watch over some partitions, and the clocks: ours (s), and the store's that goes with it."""

    def __init__(self) -> None:
        self.watch = Watch(GAP_S, GRACE_S)
        self.now = 1000.0
        self.ahead_ms = BEGAN_MS
        self.run = "one"

    def looks(
        self,
        *partitions: int,
        after_s: float = 1.0,
        observe: bool = False,
        away: tuple[int, ...] = (),
        held: bool = True,
    ) -> None:
        """A look at some partitions, of which some can't be asked."""
        self.now += after_s
        at = self.ahead_ms + round(self.now * 1000)
        found = [
            Patrolled(p, held, at, self.run, (), (), 0, 0, 0, 0)
            for p in partitions
            if p not in away
        ]
        self.watch.saw(partitions, found, self.now, observe=observe)

    def counts(self, partition: int = 7, *, silence: bool = True) -> bool:
        """Whether anybody there may be judged by the time that passed."""
        return self.watch.may_judge_by_time(partition, self.now, silence=silence)


def test_nobody_is_judged_by_time_where_nobody_ever_looked() -> None:
    watching = Watching()
    assert not watching.counts()
    watching.looks(7)
    assert not watching.counts(8)
    with pytest.raises(KeyError):
        watching.watch.looked_at(8)


def test_a_look_that_observes_is_enough_and_one_that_does_not_is_not() -> None:
    watching = Watching()
    watching.looks(7)
    assert not watching.counts()
    watching.looks(7, observe=True)
    assert watching.counts()
    watching.looks(7)
    assert watching.counts(), "what was observed stays so while somebody looks"


def test_where_nobody_can_observe_it_is_watched_for_a_whole_grace() -> None:
    watching = Watching()
    watching.looks(7)
    for _ in range(int(GRACE_S) - 1):
        watching.looks(7)
        assert not watching.counts()
    watching.looks(7)
    assert watching.counts()
    assert not watching.counts(silence=False), "a warm-up and a drain can wait for a gateway"


def test_while_no_gateway_is_there_no_warm_up_and_no_drain_is_over() -> None:
    watching = Watching()
    watching.looks(7, observe=True)
    assert watching.counts(silence=False)
    watching.watch.nobody_hears()
    watching.looks(7)
    assert not watching.counts(silence=False)
    watching.looks(7, observe=True)
    assert watching.counts(silence=False)


def test_a_sweeper_that_missed_a_look_begins_anew() -> None:
    watching = Watching()
    watching.looks(7, observe=True)
    watching.looks(7, after_s=GAP_S + 0.1)
    assert not watching.counts()


def test_a_sweeper_that_stands_still_since_its_look_says_nothing_of_it() -> None:
    watching = Watching()
    watching.looks(7, observe=True)
    watching.now += GAP_S + 0.1
    assert not watching.counts()


def test_a_grace_watched_before_an_outage_does_not_count_after_it() -> None:
    watching = Watching()
    for _ in range(int(GRACE_S) + 1):
        watching.looks(7)
    assert watching.counts()
    watching.watch.blink()
    assert not watching.counts()
    watching.looks(7)
    assert not watching.counts()


def test_a_partition_that_could_not_be_asked_begins_anew_and_no_other() -> None:
    watching = Watching()
    watching.looks(7, 8, observe=True)
    watching.looks(7, 8, away=(7,))
    assert watching.watch.unasked == {7}
    watching.looks(7, 8)
    assert watching.watch.unasked == set()
    assert not watching.counts(7) and watching.counts(8)


def test_a_look_that_found_nothing_at_all_is_none() -> None:
    watching = Watching()
    watching.looks(7, observe=True)
    looked = watching.now
    watching.looks(7, away=(7,))
    assert watching.watch.last_look == looked
    assert not watching.counts()


def test_a_partition_that_another_held_meanwhile_begins_anew() -> None:
    watching = Watching()
    watching.looks(7, 8, observe=True)
    assert watching.watch.held == {7, 8}
    watching.looks(7, held=False)
    assert watching.watch.held == {8}
    watching.looks(7)
    assert watching.watch.held == {7, 8}
    assert not watching.counts(7) and watching.counts(8)


@pytest.mark.parametrize("steps_ms", [-6_000, 6_000])
def test_a_clock_that_stepped_is_not_believed_before_it_was_observed(steps_ms: int) -> None:
    watching = Watching()
    watching.looks(7, observe=True)
    watching.ahead_ms += steps_ms
    watching.looks(7)
    assert not watching.counts()
    watching.looks(7, observe=True)
    assert watching.counts()


def test_a_clock_that_drifts_by_less_than_a_gap_is_believed() -> None:
    watching = Watching()
    watching.looks(7, observe=True)
    for _ in range(3):
        watching.ahead_ms += 4_000
        watching.looks(7)
        assert watching.counts()


def test_another_server_is_not_believed_before_it_was_observed() -> None:
    watching = Watching()
    watching.looks(7, observe=True)
    for run in ("two", "one"):
        watching.run = run
        watching.looks(7)
        assert not watching.counts()
        watching.looks(7, observe=True)
        assert watching.counts()


def test_the_last_look_is_the_one_that_a_commit_names() -> None:
    watching = Watching()
    for run in ("one", "two"):
        watching.run = run
        watching.looks(7)
        at = BEGAN_MS + round(watching.now * 1000)
        assert watching.watch.looked_at(7) == Looked(at, run)
