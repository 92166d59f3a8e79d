"""The page that a full run writes: everything the run said, and nothing it did not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.report import Line, document, sentence_of

ROW: dict[str, Any] = {
    "seed": 4711, "pace": "1:10", "breaches": {}, "recover_s": 1.25, "settle_s": 4.0,
    "unselectable_s": 96.0, "truth_s": 9.9,
    "counts": {
        "machines": 25, "acks": 31, "transitions": 27, "offline": 2, "closed_1006": 2,
        "tellings": 50, "selects": 100, "beats": 300, "statuses": 33, "selects_unanswered": 7,
    },
}  # fmt: skip


def line(place: int, fault: str, *, section: str = "Alone", **changes: Any) -> Line:
    passed = not changes.get("breaches")
    return Line(fault, passed, ROW | changes, 13.0, section, place)


def test_a_world_is_told_with_what_was_measured_and_its_seed() -> None:
    page = document([line(1, "The store is paused")], took_s=600)
    (row,) = [text for text in page.splitlines() if text.startswith("| The store is paused")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:] == ["0", "1.2", "4.0", "96", "9.9", "13", "4711"]
    assert "25 machines, 31 registrations, 27 transitions (2 offline); closed: 1006 × 2" in row
    assert "10 minutes" in page
    assert "1 passed, 0 failed" in page


def test_a_broken_law_is_counted_and_its_world_stands_out() -> None:
    lines = [line(1, "A"), line(2, "B", breaches={"falsely offline": 3})]
    page = document(lines, took_s=1)
    assert "1 passed, 1 failed" in page
    assert "| 1 | 4 transitions to `offline` | 3 |" in page
    assert "| 2 | 200 answers of `select` | 0 |" in page
    (row,) = [text for text in page.splitlines() if text.startswith("| B ")]
    assert "**failed**" in row


def test_a_world_that_did_not_settle_is_not_left_out_nor_is_its_seed() -> None:
    page = document([Line("C", False, None, 20.0, "Alone", 1, "4711")], took_s=1)
    assert "| C | | **did not settle** | | | | | 20 | 4711 |" in page
    assert "0 passed, 1 failed" in page


def test_worlds_stand_in_the_order_of_their_tests_under_what_they_have_in_common() -> None:
    lines = [
        line(3, "Z", section="At once"),
        line(2, "A"),
        line(1, "B"),
        line(4, "Y", section="True", pace="true speed"),
    ]
    told = [
        text.split(" |")[0]
        for text in document(lines, took_s=1).splitlines()
        if text.startswith(("## A", "## T", "| A ", "| B ", "| Y ", "| Z "))
    ]
    assert told == [
        "## The last full run",
        *("## Alone (pace 1:10)", "| B", "| A"),
        *("## At once (pace 1:10)", "| Z"),
        *("## True", "| Y"),
    ]


@pytest.mark.parametrize("lasts_s", [10])
def test_a_sentence_has_its_parameters_in_it(lasts_s: int, request: pytest.FixtureRequest) -> None:
    """For {lasts_s} s ({which})."""
    assert sentence_of(request.node) == f"For {lasts_s} s (10)"
