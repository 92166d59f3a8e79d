"""The history of kept benchmarks: its lines, and the picture of them."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.history import HISTORY, Kept, add, commit, drawn, read


def report(when: str, **ratios: float | None) -> dict[str, Any]:
    return {
        "when": when, "machine": "a <machine>", "load_average_before": 0.5,
        "rows": [{"what": what, "ratio": ratio} for what, ratio in ratios.items()],
    }  # fmt: skip


def points(picture: str, colour: str) -> list[tuple[float, float]]:
    (line,) = re.findall(rf'<polyline points="([^"]+)" fill="none" stroke="{colour}"', picture)
    pairs = (point.split(",") for point in line.split(" "))
    return [(float(x), float(y)) for x, y in pairs]


def test_a_run_is_added_behind_those_before_it_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert read(path) == []
    add(report("2026-01-01 10:00 UTC", beat=2.0, none=None), path)
    first = path.read_text()
    add(report("2026-01-02 10:00 UTC", beat=1.5, boot=4.0), path)
    assert path.read_text().startswith(first)
    assert [(run.when, run.ratios) for run in read(path)] == [
        ("2026-01-01 10:00 UTC", {"beat": 2.0}),
        ("2026-01-02 10:00 UTC", {"beat": 1.5, "boot": 4.0}),
    ]
    assert {run.commit for run in read(path)} == {commit()}


def test_the_commit_is_a_word_and_says_whether_files_differ() -> None:
    assert re.fullmatch(r"[0-9a-f]{7,}\+?|unknown", commit())


def test_without_a_repository_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.history._ROOT", Path("/"))
    assert commit() == "unknown"


def test_what_became_dearer_climbs_in_the_picture_and_later_runs_stand_to_the_right() -> None:
    runs = [
        Kept("2026-01-01 10:00 UTC", "m", "abc1234", 0.1, {"dear": 5.0, "cheap": 1.0}),
        Kept("2026-01-02 10:00 UTC", "m", "abc1235", 0.1, {"dear": 50.0, "cheap": 1.0}),
    ]
    (early_x, early_y), (late_x, late_y) = points(drawn(runs), "#1b6ca8")
    assert early_x < late_x
    assert late_y < early_y
    (_, level), (_, again) = points(drawn(runs), "#c0392b")
    assert level == again


def test_a_row_that_is_new_begins_at_its_first_run() -> None:
    runs = [
        Kept("2026-01-01 10:00 UTC", "m", "a", 0.1, {"old": 5.0}),
        Kept("2026-01-02 10:00 UTC", "m", "b", 0.1, {"old": 5.0, "new": 2.0}),
    ]
    ((x, _),) = points(drawn(runs), "#c0392b")
    assert x == points(drawn(runs), "#1b6ca8")[1][0]


def test_names_of_many_rows_lie_on_no_other() -> None:
    run = Kept("2026-01-01 10:00 UTC", "m", "a", 0.1, {f"row {n}": 2.0 for n in range(20)})
    heights = sorted(float(y) for y in re.findall(r'y="([0-9.]+)"[^>]*>2  row', drawn([run])))
    assert len(heights) == 20
    assert min(b - a for a, b in pairwise(heights)) >= 12


def test_no_run_and_a_hundred_runs_can_be_drawn() -> None:
    assert drawn([]).endswith("</svg>\n")
    many = [
        Kept(f"2026-01-{n % 28 + 1:02d} 10:00 UTC", "m", f"c{n}", 0.1, {"<a>": 2.0})
        for n in range(100)
    ]
    assert "&lt;a&gt;" in drawn(many)
    assert len(re.findall(">c[0-9]+<", drawn(many))) <= 8


def test_the_kept_history_can_be_read_and_its_runs_are_in_order() -> None:
    lines = HISTORY.read_text(encoding="utf-8").splitlines()
    assert [run.line().strip() for run in read()] == lines
