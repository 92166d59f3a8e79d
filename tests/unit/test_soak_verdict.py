"""What a soak says of samples: a verdict that bites, shown by breaking each promise in turn."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.soak.chaos import plan
from tests.soak.picture import drawn
from tests.soak.sample import Part, Sample, Waits
from tests.soak.sampler import quantile_s
from tests.soak.verdict import Counts, Finding, judged, kept, slope

MIB = 2**20
LASTS_S = 1800
EVERY_S = 10
Change = Callable[[Sample], Sample]


def part(at_s: float, pid: int, sockets: int = 0) -> Part:
    wobble = int(at_s / EVERY_S) % 3 * MIB
    return Part(pid, 100 * MIB + wobble, 30 + sockets, at_s * 0.3, sockets, int(at_s * 10))


def sample(at_s: float) -> Sample:
    """A moment of a run in which all is well; gateway 2 begins a new life every five minutes."""
    waits = Waits(100, 0.002, 0.02 + at_s % 7 / 1000)
    stalled = at_s % 300 == 0
    slow = Waits(100, 0.5, 4.0)
    return Sample(
        at_s=at_s,
        parts={
            "gateway 1": part(at_s, 1, 3500),
            "gateway 2": part(at_s % 300, 100 + int(at_s // 300), 1500),
            "sweeper 1": part(at_s, 3),
            "store": part(at_s, 4),
        },
        store_bytes=40 * MIB + int(at_s) % 40 * 1000, keys=41_000, events=20_000,
        beats=6666, ack=slow if stalled else waits, to_store=waits, select=waits, ready=10_000,
        load=1.0, during=("store stalled",) if stalled else (),
    )  # fmt: skip


def well() -> Counts:
    return Counts(
        nodes=10_000, ready_at_the_end=10_000, silenced=700, called_offline=700,
        called_offline_p99_s=0.05, lost_gpu=700, called_degraded=700, events=50_000,
        selections=18_000, own_lateness_p999_s=0.01, events_bound=22_784, secrets=6,
    )  # fmt: skip


def run_of(change: Change = lambda sample: sample) -> list[Sample]:
    return [change(sample(float(at))) for at in range(EVERY_S, LASTS_S + 1, EVERY_S)]


def broken(samples: list[Sample], counts: Counts) -> set[str]:
    return {finding.what for finding in judged(samples, counts) if finding.kept is False}


def in_part(name: str, change: Callable[[float, Part], Part]) -> Change:
    return lambda s: replace(s, parts={**s.parts, name: change(s.at_s, s.parts[name])})


def test_a_run_in_which_all_is_well_breaks_no_promise_and_shows_all_of_them() -> None:
    found = judged(run_of(), well())
    assert kept(found)
    assert [f for f in found if f.kept is not True] == []


SLOWLY = LASTS_S  # the whole run: what is small in a minute must be found over all of it
GROWING: dict[str, Change] = {
    "memory of gateway 1 is flat": in_part(
        "gateway 1", lambda at, p: replace(p, rss=p.rss + int(10 * MIB * at / SLOWLY))
    ),
    "memory of sweeper 1 is flat": in_part(
        "sweeper 1", lambda at, p: replace(p, rss=p.rss + int(10 * MIB * at / SLOWLY))
    ),
    "memory of the store is flat": lambda s: replace(
        s, store_bytes=s.store_bytes + int(8 * MIB * s.at_s / SLOWLY)
    ),
    "memory of gateway 2 (restarted) peaks no higher": in_part(
        "gateway 2", lambda at, p: replace(p, rss=p.rss + int(200 * MIB * at / SLOWLY))
    ),
    "descriptors of gateway 1 beside its sockets are flat": in_part(
        "gateway 1", lambda at, p: replace(p, descriptors=p.descriptors + int(10 * at / SLOWLY))
    ),
    "keys in the store are flat": lambda s: replace(s, keys=s.keys + int(s.at_s / 3)),
    "events kept are bounded": lambda s: replace(s, events=15_000 + int(s.at_s * 5)),
    "heartbeat to its ack, p50: no slower": lambda s: replace(
        s, ack=replace(s.ack, p50=0.002 + 0.1 * s.at_s / SLOWLY)
    ),
    "heartbeat to its ack, p99: no slower": lambda s: replace(
        s, ack=replace(s.ack, p99=0.02 + 0.3 * s.at_s / SLOWLY)
    ),
    "heartbeat to store, p99: no slower": lambda s: replace(
        s, to_store=replace(s.to_store, p99=0.02 + 0.3 * s.at_s / SLOWLY)
    ),
    "select, p99: no slower": lambda s: replace(
        s, select=replace(s.select, p99=0.02 + 0.3 * s.at_s / SLOWLY)
    ),
    "processor time a heartbeat does not grow": in_part(
        "sweeper 1", lambda at, p: replace(p, cpu_s=at * 0.3 + 3 * at * at / SLOWLY)
    ),
    "logs grow slowly": in_part(
        "gateway 1", lambda at, p: replace(p, log_bytes=int(at * 10_000))
    ),
}  # fmt: skip


@pytest.mark.parametrize("promise", GROWING)
def test_what_grows_breaks_its_promise_and_no_other(promise: str) -> None:
    assert broken(run_of(GROWING[promise]), well()) == {promise}


COUNTED: dict[str, Counts] = {
    "machines told falsely that they are offline": replace(well(), falsely_offline=1),
    "events that say so falsely": replace(well(), falsely_offline_events=["node-A: x"]),
    "machines told falsely that they are degraded": replace(well(), falsely_degraded=1),
    "silenced machines called offline": replace(well(), called_offline=699),
    "machines without their GPU called degraded": replace(well(), called_degraded=0),
    "ready at the end": replace(well(), ready_at_the_end=9_999),
    "called offline after the time-out, p99": replace(well(), called_offline_p99_s=1.1),
    "events lost to a watcher, of 50000": replace(well(), events_lost=1),
    "events told twice": replace(well(), events_twice=1),
    "events of a machine out of order": replace(well(), events_out_of_order=1),
    "gaps told": replace(well(), gaps=1),
    "selections unanswered, of 18000": replace(well(), selections_unanswered=1),
    "selections that found nobody": replace(well(), selections_nobody=1),
    "tracebacks in logs": replace(well(), tracebacks=1),
    "errors of the soak itself": replace(well(), wrong=["OrderError: a process ended"]),
    "places that tell one of 6 secrets": replace(well(), secrets_told=["a log"]),
    "gateways that did not stop in time": replace(well(), stopped_late=1),
    "the simulator kept its own pace": replace(well(), own_lateness_p999_s=2.0),
}


@pytest.mark.parametrize("promise", COUNTED)
def test_what_is_counted_breaks_its_promise_and_no_other(promise: str) -> None:
    assert broken(run_of(), COUNTED[promise]) == {promise}


def test_a_single_burst_is_no_growth() -> None:
    def burst(s: Sample) -> Sample:
        return replace(s, store_bytes=s.store_bytes * (3 if s.at_s > LASTS_S - 60 else 1))

    assert broken(run_of(burst), well()) == set()


def test_a_process_that_was_restarted_while_the_run_warmed_up_is_judged_as_one() -> None:
    samples = [
        replace(s, parts={**s.parts, "gateway 2": part(s.at_s, 7 if s.at_s < 200 else 8)})
        for s in run_of()
    ]
    judges = {finding.what for finding in judged(samples, well()) if "gateway 2" in finding.what}
    assert judges == {"memory of gateway 2 (restarted) peaks no higher"}


def test_a_run_that_was_too_short_says_what_it_could_not_show() -> None:
    found = judged(run_of()[:3], well())
    unshown = {finding.what for finding in found if finding.kept is None}
    assert {"memory of gateway 1 is flat", "memory of the store is flat"} <= unshown
    assert kept(found)


def test_the_line_through_points_is_their_own_slope() -> None:
    assert slope([(float(x), 3.0 * x + 1) for x in range(10)]) == pytest.approx(3.0)
    assert slope([(1.0, 5.0)]) == 0.0


def test_a_wait_is_told_by_a_line_through_its_bucket() -> None:
    waits = {0.01: 50.0, 0.1: 100.0, float("inf"): 100.0}
    assert quantile_s(waits, 0.25) == pytest.approx(0.005)
    assert quantile_s(waits, 0.5) == pytest.approx(0.01)
    assert quantile_s(waits, 0.75) == pytest.approx(0.055)
    assert quantile_s({0.01: 0.0, float("inf"): 9.0}, 0.5) == 0.01


@pytest.mark.parametrize("minutes", [0.0, 1.0, 3.2, 10.0, 30.0])
def test_all_that_is_done_is_over_before_the_run_is(minutes: float) -> None:
    acts = plan(minutes)
    assert [act.at_s for act in acts] == sorted(act.at_s for act in acts)
    assert all(act.at_s + act.lasts_s + 20 <= minutes * 60 for act in acts)
    if minutes == 30.0:
        names = [act.name for act in acts]
        assert {names.count(name) for name in names} == {6}


def test_samples_can_be_read_again_and_drawn() -> None:
    samples = run_of()
    again = [Sample.of(json.loads(json.dumps(s.as_dict()))) for s in samples]
    assert again == samples
    picture = drawn(samples, "a <title>")
    assert "a &lt;title&gt;" in picture
    assert "nan" not in picture
    assert picture.count("<polyline") > 20
    assert picture.startswith("<svg")
    assert drawn([], "nothing").endswith("</svg>\n")


def test_a_finding_that_could_not_be_shown_breaks_nothing() -> None:
    assert kept([Finding("a", "b", None), Finding("a", "b", True)])
    assert not kept([Finding("a", "b", True), Finding("a", "b", False)])
