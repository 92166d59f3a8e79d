"""What the gate on costs lets pass."""

from __future__ import annotations

from bench.gate import TOLERANCE, dearer, kept


def test_what_costs_as_much_as_it_did_passes() -> None:
    was = kept()
    assert was.keys() == TOLERANCE.keys()
    assert dearer(was, was) == []
    assert dearer({what: ratio * 0.5 for what, ratio in was.items()}, was) == []


def test_what_costs_more_than_is_allowed_is_named() -> None:
    was = kept()
    for what in was:
        (line,) = dearer(was | {what: was[what] * TOLERANCE[what] + 0.01}, was)
        assert line.startswith(what)
