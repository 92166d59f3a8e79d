"""What a boot of a fleet comes to, and what its heartbeats cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.boot import boot
from bench.booted import Moment, pairs, slices, summary
from bench.scale import beats
from registry.embedded import EmbeddedStore


def moment(at_s: float, judged: int, waiting: int = 0, overdue_s: float = 0.0) -> Moment:
    """50 µs of the store and 100 of the sweepers for each node."""
    return Moment(at_s, judged, waiting, overdue_s, judged * 50.0, judged * 100.0)


def test_each_slice_has_its_own_cost_of_a_node() -> None:
    moments = [moment(float(n), n * 10) for n in range(11)]
    assert slices(moments, 5) == [(50.0, 100.0)] * 5
    slow = [*moments[:-1], Moment(11.0, 100, 0, 0.0, 5000.0, 12_000.0)]
    assert slices(slow, 5)[-1] == (50.0, 200.0)


def test_a_boot_that_was_looked_at_twice_has_one_slice() -> None:
    assert slices([moment(0, 0), moment(1, 10)], 5) == [(50.0, 100.0)]


def test_a_fleet_that_grew_counts_its_new_nodes_only() -> None:
    begun = Moment(0.0, 1000, 0, 0.0, 0.0, 0.0)
    end = Moment(5.0, 1100, 0, 0.0, 5000.0, 10_000.0)
    assert slices([begun, end], 5) == [(50.0, 100.0)]
    assert summary(100, 4.0, [begun, end], [7] * 100)["sweeper_us_a_node"] == 100.0


def test_the_most_that_waited_and_the_latest_are_kept() -> None:
    moments = [moment(0, 0), moment(1, 10, 400, 1.5), moment(2, 100, 3, 0.1)]
    found = summary(100, 1.8, moments, range(100))
    assert found["ready"] == 100
    assert found["nodes_per_s"] == 50.0
    assert found["most_waiting"] == 400
    assert found["most_overdue_s"] == 1.5
    assert found["ready_after_last_beat_ms"] == {"p50": 50, "p99": 99, "max": 99}
    assert ("ready", "all, after 2 s") in pairs(found)


def test_nodes_that_did_not_become_ready_are_named_as_such() -> None:
    found = summary(1200, 1.8, [moment(0, 0), moment(2, 90)], [5] * 90)
    assert ("ready", "**90 of 1 200**") in pairs(found)
    assert pairs(summary(1200, 1.8, [moment(0, 0), moment(2, 0)], []))


async def test_a_small_fleet_boots_on_real_sweepers(tmp_path: Path) -> None:
    found, rows = await boot(tmp_path, 60)
    assert (found["nodes"], found["ready"]) == (60, 60)
    assert found["ready_after_last_beat_ms"]["max"] is not None
    assert [row.what for row in rows] == [
        "sweeper CPU per node that boots",
        "store CPU per node that boots",
    ]
    assert all(row.floor for row in rows)
    assert all(row.reached is None for row in rows)


async def test_heartbeats_are_measured_as_a_fleet_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"_FEW": 20, "_BEATS": 200, "_BATCH": 50, "_PER_S": 50_000.0, "_REST_S": 0.05}
    for name, value in small.items():
        monkeypatch.setattr(beats, name, value)
    store = EmbeddedStore.start(tmp_path)
    try:
        rows = await beats.measured(store, [30, 60])
        sent = int(
            store.command("INFO", "commandstats").split("cmdstat_lpush:calls=")[1].split(",")[0]
        )
    finally:
        store.kill()
    assert [row["nodes"] for row in rows] == [30, 60]
    assert all(row["beat_of_all"]["in_scripts_us"] > 0 for row in rows)
    assert sent == 60 * 3 + 2 * 5 * 200 + 5 * 30 + 5 * 60, "three to become ready, then every run"
