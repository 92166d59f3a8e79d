"""Many nodes silent at once: when that is noticed, and how the brake paces and ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.keys import PARTITIONS
from sweeper.brake import Brake, BrakeLimits

LIMITS = BrakeLimits(
    on=True, fraction=0.3, at_least=20, within_ms=45_000, per_s=1.0, most_ms=300_000
)
NOW = 1_000_000


def fallen(brake: Brake, count: int, now: int = NOW, partitions: int = PARTITIONS) -> int:
    """So many nodes, live until `NOW`, are found silent; how many of them may be marked."""
    return sum(brake.may_mark(f"node-{i}", NOW, now, partitions) for i in range(count))


def braking(count: int = 40) -> Brake:
    """Of fifty nodes so many are silent, and twenty of them were called so."""
    brake = Brake(LIMITS)
    brake.look(NOW - 1000, 50, PARTITIONS, 0)
    assert fallen(brake, count) == 20
    assert brake.look(NOW, 30, PARTITIONS, 0)
    return brake


def test_few_or_scattered_silences_are_no_mass_expiry() -> None:
    for lost, living in ((19, 0), (25, 75), (30, 70)):
        brake = Brake(LIMITS)
        fallen(brake, lost)
        assert not brake.look(NOW, living, PARTITIONS, 0)
        assert not brake.mass and not brake.since


def test_much_of_the_fleet_at_once_is_one_mass_expiry() -> None:
    brake = Brake(LIMITS)
    fallen(brake, 31)
    assert brake.look(NOW, 69, PARTITIONS, 0) and brake.mass
    assert not brake.look(NOW + 1000, 69, PARTITIONS, 0), "it begins once"
    assert not brake.look(NOW + 45_001, 69, PARTITIONS, 0)
    assert not brake.mass


def test_who_was_refused_is_not_one_of_those_lost() -> None:
    brake = Brake(LIMITS)
    fallen(brake, 31)
    for i in range(31):
        brake.refused(f"node-{i}")
    assert not brake.look(NOW, 69, PARTITIONS, 0) and not brake.mass


def test_a_sweeper_with_some_partitions_counts_its_share_of_them() -> None:
    brake = Brake(LIMITS)
    fallen(brake, 5, partitions=16)
    assert brake.look(NOW, 5, 16, 0)


def test_without_the_brake_everybody_is_marked_at_once() -> None:
    brake = Brake(replace(LIMITS, on=False))
    brake.look(NOW - 1000, 50, PARTITIONS, 0)
    assert fallen(brake, 50) == 50
    assert brake.look(NOW, 0, PARTITIONS, 0) and not brake.since


def test_the_brake_takes_hold_at_the_node_with_which_too_many_are_silent() -> None:
    brake = Brake(LIMITS)
    brake.look(NOW - 1000, 100, PARTITIONS, 0)
    marked = [brake.may_mark(f"node-{i}", NOW, NOW, PARTITIONS) for i in range(80)]
    assert marked == [True] * 31 + [False] * 49, "30 % of them, and the one that is let through"
    assert brake.waiting == 49


def test_the_brake_lets_so_many_a_second_through() -> None:
    brake = braking()
    assert brake.waiting == 20
    for second in range(1, 6):
        for node in range(40):
            now = NOW + second * 1000
            brake.may_mark(f"late-{node}", now, now, PARTITIONS)
    assert brake._let == 6


def test_half_the_partitions_let_half_as_many_through() -> None:
    brake = braking()
    for tenth in range(100):
        fallen(brake, 40, NOW + tenth * 100, PARTITIONS // 2)
    assert brake._let == 6


@pytest.mark.parametrize(("later", "released"), [(300_000, 0), (5_000, NOW + 4_000)])
def test_the_brake_ends_by_its_deadline_or_by_an_operator(later: int, released: int) -> None:
    brake = braking()
    assert brake.waiting
    brake.look(NOW + later - 1000, 20, PARTITIONS, 0)
    assert brake.since, "not before"
    brake.look(NOW + later, 20, PARTITIONS, released)
    assert not brake.since and not brake.waiting
    assert fallen(brake, 40, NOW + later) == 40
    assert not brake.look(NOW + later + 1, 20, PARTITIONS, released)
    assert not brake.since, "the same expiry does not brake twice"


@pytest.mark.parametrize(("end", "released"), [(300_000, 0), (5_000, NOW + 5_000)])
def test_the_answer_holds_for_who_was_silent_then_and_for_nobody_else(
    end: int, released: int
) -> None:
    brake = braking()
    brake.look(NOW + end, 20, PARTITIONS, released)
    much_later = NOW + end + 90_000  # the sweeper was busy, or its gateways were away
    brake.look(much_later - 1000, 50, PARTITIONS, released)
    assert not brake.mass
    held = [brake.may_mark(f"node-{i}", NOW, much_later, PARTITIONS) for i in range(20, 40)]
    assert all(held), "they were silent when it was let go"
    assert not brake.look(much_later, 50, PARTITIONS, released), "which was noticed then"
    fell = much_later - 500
    marked = [brake.may_mark(f"new-{i}", fell, much_later, PARTITIONS) for i in range(40)]
    assert sum(marked) == 20 and brake.since, "others, later: that is new"


def test_a_release_of_no_brake_hides_no_mass_expiry() -> None:
    """An operator let go in advance, of nobody: all are called so at once, and it is noticed."""
    brake = Brake(LIMITS)
    released = NOW + 15_000
    brake.look(NOW + 44_000, 50, PARTITIONS, released)
    assert fallen(brake, 40, NOW + 45_000) == 40
    assert brake.look(NOW + 45_001, 10, PARTITIONS, released) and brake.mass
    assert not brake.since


def test_the_brake_ends_when_everybody_is_marked_or_came_back() -> None:
    brake = braking()
    for i in range(40):
        brake.heard(f"node-{i}")
    assert not brake.waiting
    brake.look(NOW + 46_000, 60, PARTITIONS, 0)
    assert not brake.since


def test_nodes_that_are_held_back_still_count_as_fallen() -> None:
    brake = braking()
    brake.look(NOW + 60_000, 20, PARTITIONS, 0)
    assert brake.since and brake.waiting
