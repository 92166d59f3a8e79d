"""The fleet simulator's pure parts: who is struck when, frames, books, figures, the verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from bench.scale.sockets import blamed
from muster.cli import exits
from muster.cli.main import app
from muster.simulate import frames
from muster.simulate.books import Book, Spread, summed
from muster.simulate.herd import Herd
from muster.simulate.order import Order, OrderError, Server
from muster.simulate.run import Plan
from muster.simulate.scenarios import LOST_REGION, SCENARIOS, Fault, region, struck, timeline
from muster.simulate.usage import Reading, Spent, quantile_s, read_page, spent
from muster.simulate.verdict import Outcome, judged
from muster.simulate.words import hear, heartbeat, register
from muster.wire.codec import JSON
from muster.wire.messages import Heartbeat, Register, RegisterAck
from muster.wire.reading import read

STEADY = Outcome(
    scenario="steady", nodes=1000, book=Book(now=Counter(ready=1000, registered=1000)),
    ready_after_s=40.0, registered_after_s=10.0, held_s=120.0, interval_s=15.0,
    slowest_beat_s=0.1,
)  # fmt: skip


def broken(outcome: Outcome) -> set[str]:
    return {finding.what for finding in judged(outcome).findings if not finding.kept}


# Scenarios


def test_nodes_of_a_server_that_went_spread_over_all_others() -> None:
    servers = tuple(Server.of(f"http://127.0.0.1:{port}") for port in (1, 2, 3, 4))
    herd = Herd(Plan(servers, "steady", 400, processes=1).order(0))
    of_the_first = [node for node in herd.nodes if node.server is servers[0]]
    for node in of_the_first:
        node._elsewhere()
    went = Counter(node.server.port for node in of_the_first)
    assert sorted(went) == [2, 3, 4]
    assert max(went.values()) < 60


def test_a_broken_run_says_what_its_sweepers_said_of_themselves() -> None:
    calm = {"unobserved_s": 3.0, "held_back_by_the_brake": 0.0, "most_overdue_s": 0.1}
    said = {"quiet to": calm, "before the kill": calm}
    assert blamed(said) == [
        "the sweepers said: all was observed, no brake, every alarm answered in time"
    ]
    starved = {"unobserved_s": 23.5, "held_back_by_the_brake": 4.0, "most_overdue_s": 7.5}
    assert blamed(said | {"before the kill": starved}) == [
        "the sweepers said: 20.5 s of the run were observed by nobody",
        "the sweepers said: 4 nodes were held back by the brake",
        "the sweepers said: they answered alarms up to 7.5 s late",
    ]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_seed_decides_whom_a_scenario_strikes(name: str) -> None:
    scenario = SCENARIOS[name]
    hit = struck(scenario, 1000, 7)
    assert hit == struck(scenario, 1000, 7)
    assert len(hit) == round(1000 * scenario.share)
    assert all(0 <= number < 1000 for number in hit)


def test_another_seed_strikes_others_and_a_small_fleet_is_struck_too() -> None:
    assert struck(SCENARIOS["gpu-loss"], 1000, 1) != struck(SCENARIOS["gpu-loss"], 1000, 2)
    assert len(struck(SCENARIOS["gpu-loss"], 3, 1)) == 1


def test_a_regional_loss_strikes_exactly_one_label() -> None:
    scenario = SCENARIOS["regional-loss"]
    hit = struck(scenario, 500, 1)
    assert hit == {n for n in range(500) if region(scenario, n) == LOST_REGION}
    assert len({region(scenario, n) for n in range(500)}) == 5


@pytest.mark.parametrize("name", SCENARIOS)
@settings(max_examples=30)
@given(duration=st.floats(1, 10_000), interval=st.floats(0.2, 60), timeouts=st.floats(2, 5))
def test_a_fault_lasts_long_enough_to_be_seen_and_to_be_recovered_from(
    name: str, duration: float, interval: float, timeouts: float
) -> None:
    scenario, timeout = SCENARIOS[name], interval * timeouts
    plan = timeline(scenario, duration, interval, timeout)
    lasts, after = plan.fault_ends_s - plan.fault_at_s, plan.ends_s - plan.fault_ends_s
    assert plan.ends_s >= duration
    if scenario.fault is not Fault.NONE:
        assert after > interval
        least = timeout + interval if scenario.fault is Fault.SILENT else 3 * interval
        assert lasts > least


# Frames


@settings(max_examples=30)
@given(st.binary(max_size=70_000), st.sampled_from((frames.TEXT, frames.PONG)))
def test_a_masked_frame_is_what_rfc_6455_says(data: bytes, opcode: int) -> None:
    frame = frames.masked(data, opcode)
    assert frame[0] == 0x80 | opcode
    size, at = frame[1] & 0x7F, 2
    assert frame[1] & 0x80
    if size == 126:
        size, at = int.from_bytes(frame[2:4], "big"), 4
        assert size >= 126
    elif size == 127:
        size, at = int.from_bytes(frame[2:10], "big"), 10
        assert size >= 65_536
    key, masked = frame[at : at + 4], frame[at + 4 :]
    assert bytes(b ^ key[i % 4] for i, b in enumerate(masked)) == data
    assert size == len(data)


def server_frame(opcode: int, data: bytes) -> bytes:
    size = len(data)
    if size < 126:
        return bytes((0x80 | opcode, size)) + data
    if size < 65_536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + data
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + data


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=70_000), max_size=3), st.integers(100, 5000))
def test_frames_are_read_however_they_arrive(payloads: list[bytes], piece: int) -> None:
    sent = b"".join(server_frame(frames.TEXT, data) for data in payloads)
    buffer, got = bytearray(), []
    for low in range(0, len(sent), piece):
        buffer += sent[low : low + piece]
        got += list(frames.frames(buffer))
    assert got == [(frames.TEXT, data) for data in payloads]
    assert not buffer


@pytest.mark.parametrize(
    "wrong", [b"\x01\x00", b"\xc1\x00", b"\x81\x80", b"\x81\x7f" + (1 << 40).to_bytes(8, "big")]
)
def test_a_frame_a_server_may_not_send_is_refused(wrong: bytes) -> None:
    with pytest.raises(frames.FrameError):
        list(frames.frames(bytearray(wrong)))


def test_what_a_node_says_is_what_the_wire_understands() -> None:
    said = register(
        3, {"region": "sim-1"}, node_id=None, token=None, boot_id="b", acks=True
    ).decode()
    message = read(said, JSON, max_report_bytes=100_000)
    assert isinstance(message, Register)
    assert message.warnings == ()
    assert message.labels == {"region": "sim-1", "simulated": "true"}
    for well in (True, False):
        beat = read(heartbeat("node-A", well=well).decode(), JSON, max_report_bytes=100_000)
        assert isinstance(beat, Heartbeat)
        assert beat.warnings == ()
        gpus = beat.usage.gpus or ()
        assert [gpu.healthy for gpu in gpus] == ([] if well else [False])
    ack = hear(b'{"type":"node_register_ack","node_id":"node-A","status":"ready","new":1}')
    assert isinstance(ack, RegisterAck)


# Books


@given(st.lists(st.floats(0, 1000), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_never_too_little_and_at_most_five_percent_too_much(
    seconds: list[float], part: float
) -> None:
    spread = Spread()
    for each in seconds:
        spread.add(each)
    true = sorted(seconds)[max(0, -(-int(part * 1e9) * len(seconds) // 1_000_000_000) - 1)]
    found = spread.quantile(part)
    assert found is not None
    assert found >= true * 0.999 - 1e-9 or found == spread.greatest
    assert found <= max(true, 1e-4) * 1.051 or len(seconds) > 1


def test_books_of_several_processes_add_up_also_after_their_way_as_json() -> None:
    one, two = Book(), Book()
    one.counts["beats"], two.counts["beats"] = 2, 3
    one.now["ready"], two.now["ready"] = 1, 1
    one.interval_ms, two.first_error = 15_000, "later"
    for book, seconds in ((one, 0.1), (two, 0.2)):
        book.took("away", seconds)
    whole = summed(Book.of(book.as_dict()) for book in (one, two))
    assert (whole.counts["beats"], whole.now["ready"]) == (5, 2)
    assert (whole.interval_ms, whole.first_error) == (15_000, "later")
    assert (whole.spread("away").count, whole.spread("away").greatest) == (2, 0.2)
    assert Spread().quantile(0.5) is None


# Usage

PAGE = """\
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 4.0
process_start_time_seconds 100.0
process_resident_memory_bytes 2.0e+06
process_max_fds 1000.0
muster_gateway_sockets{state="registered"} 30.0
muster_gateway_sockets{state="unregistered"} 2.0
muster_heartbeats_total{outcome="fine"} 90.0
muster_heartbeats_total{outcome="tell"} 10.0
muster_beat_wait_seconds_bucket{le="0.01"} 90.0
muster_beat_wait_seconds_bucket{le="+Inf"} 100.0
"""


def test_a_page_of_metrics_is_read_and_one_of_somebody_elses_is_not() -> None:
    reading = read_page(PAGE, 1.0)
    assert reading is not None
    assert (reading.kind, reading.cpu_s, reading.sockets, reading.beats) == ("gateway", 4, 32, 100)
    assert quantile_s(reading.waits, 0.9) == 0.01
    assert quantile_s(reading.waits, 0.99) == float("inf")
    assert quantile_s({}, 0.99) is None
    assert read_page("process_cpu_seconds_total 1.0\n", 1.0) is None
    assert read_page("<html>", 1.0) is None


def test_a_process_that_was_started_anew_counts_from_its_start() -> None:
    before = Reading("gateway", at=0.0, started=1.0, cpu_s=100.0, memory=1.0, beats=1000.0)
    same = replace(before, at=10.0, cpu_s=105.0, beats=1100.0)
    anew = replace(before, at=10.0, started=2.0, cpu_s=3.0, beats=50.0)
    assert [(s.cores, s.beats) for s in spent({"a": before}, {"a": same})] == [(0.5, 100.0)]
    assert [(s.cores, s.beats) for s in spent({"a": before}, {"a": anew})] == [(0.3, 50.0)]
    assert spent({}, {"a": same}) == []


# Verdicts


def a_gateway(cores: float, **changes: Any) -> Spent:
    waits = {0.025: 990.0, 0.25: 1000.0, float("inf"): 1000.0}
    plain = Spent("gateway", cores, 1e9, 20_000, 8000.0, 0.0, 1000.0, waits)
    return replace(plain, **changes)


def test_a_run_in_which_nothing_went_wrong_kept_every_promise() -> None:
    verdict = judged(replace(STEADY, holding=[a_gateway(0.3), a_gateway(0.3)]))
    assert verdict.kept
    assert "for 1000 nodes at 60% of a core each: 2" in verdict.sizing[0]
    assert {text.split(":")[0] for text in verdict.missing} == {"sweepers", "stores"}


@pytest.mark.parametrize(
    ("count", "promise"),
    [
        ("falsely offline", "falsely offline"),
        ("falsely degraded", "falsely degraded"),
        ("offline by the simulator's own fault", "the simulator kept its own pace"),
        ("unreadable", "frames understood"),
    ],
)
def test_one_node_that_was_wronged_breaks_a_promise(count: str, promise: str) -> None:
    book = Book(now=STEADY.book.now, counts=Counter({count: 1}))
    assert broken(replace(STEADY, book=book)) == {promise}


def test_who_did_not_come_or_was_lost_breaks_a_promise() -> None:
    book = Book(now=Counter(registered=999, ready=998))
    assert broken(replace(STEADY, book=book)) == {"ready at the end"}
    late = replace(STEADY, book=book, registered_after_s=None, ready_after_s=None)
    assert broken(late) == {"all registered", "all ready"}


def test_a_simulator_that_was_late_itself_does_not_blame_the_deployment() -> None:
    book = Book(now=STEADY.book.now)
    book.took("beat sent late", 1.5)
    assert broken(replace(STEADY, book=book)) == {"the simulator kept its own pace"}


@pytest.mark.parametrize(
    ("scenario", "seen", "promise"),
    [
        ("gpu-loss", "degraded", "struck nodes called degraded"),
        ("flapping", "degraded", "struck nodes called degraded"),
        ("regional-loss", "offline", "silent nodes called offline"),
        ("cloned-ids", "doubted", "doubles noticed"),
    ],
)
def test_a_fault_that_nobody_noticed_breaks_a_promise(
    scenario: str, seen: str, promise: str
) -> None:
    now = Counter({"ready": 1000, "registered": 1000, "struck": 50, f"struck and {seen}": 49})
    outcome = replace(STEADY, scenario=scenario, book=Book(now=now))
    assert broken(outcome) == {promise}
    now[f"struck and {seen}"] = 50
    assert judged(outcome).kept


def test_offline_too_soon_or_too_late_breaks_a_promise() -> None:
    now = Counter({"ready": 1000, "registered": 1000, "struck": 1, "struck and offline": 1})
    book = Book(now=now, counts=Counter({"offline too soon": 1}))
    book.took("offline after the time-out", 1.5)
    found = broken(replace(STEADY, scenario="regional-loss", book=book))
    assert found == {"called offline before the time-out", "offline after the time-out, p99"}


def test_slow_beats_break_a_promise_and_descriptors_bound_a_gateway() -> None:
    slow = a_gateway(0.1, waits={0.1: 900.0, 0.25: 1000.0})
    assert broken(replace(STEADY, holding=[slow])) == {"beat to store, p99"}
    tight = a_gateway(0.1, descriptors_most=250)
    assert "60% of a core each: 5" in judged(replace(STEADY, holding=[tight])).sizing[0]


def test_what_was_not_measured_is_not_sized() -> None:
    short = replace(STEADY, held_s=20.0, holding=[a_gateway(0.3)])
    assert judged(short).sizing == []
    assert judged(STEADY).sizing == []
    assert any("could be asked" in text for text in judged(STEADY).missing)


# Orders and the command


def test_an_order_is_the_same_after_its_way_to_a_process() -> None:
    plan = Plan((Server.of("wss://gw.example/x"),), "steady", 100, labels={"a": "b"})
    assert Order.of(plan.order(0).as_dict()) == plan.order(0)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://127.0.0.1:8080", ("127.0.0.1", 8080, "/ws/node", False)),
        ("https://gw.example", ("gw.example", 443, "/ws/node", True)),
        ("wss://gw.example:1/deep", ("gw.example", 1, "/deep", True)),
    ],
)
def test_a_servers_address_is_understood(url: str, where: tuple[object, ...]) -> None:
    server = Server.of(url)
    assert (server.host, server.port, server.path, server.tls) == where


@pytest.mark.parametrize("url", ["gw:8080", "redis://x", "http://", "http://gw:0", "http://gw:x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(OrderError, match=r"http://127\.0\.0\.1:8080"):
        Server.of(url)


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["simulate", *arguments], env={"MUSTER_SERVER": ""})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--nodes"),
        (["--nodes", "0"], "--nodes"),
        (["--nodes", "1", "--scenario", "earthquake"], "regional-loss"),
        (["--nodes", "1", "--server", "gw:80"], "--server"),
        (["--nodes", "1", "--label", "x"], "--label"),
        (["--nodes", "1", "--server", "http://192.0.2.1"], "--yes-load-this-server"),
        (["--nodes", "1", "--server", "http://127.0.0.1,http://gw"], "--yes-load-this-server"),
        (["--nodes", "1000000", "--processes", "1"], "--processes"),
    ],
)
def test_wrong_usage_ends_with_two_and_names_what_is_wrong(
    arguments: list[str], named: str
) -> None:
    said = simulate(*arguments)
    assert said.exit_code == exits.USAGE
    assert named in said.stderr
    assert "Traceback" not in said.stderr


def test_where_nobody_answers_it_ends_with_five_and_a_next_step() -> None:
    said = simulate("--nodes", "1", "--server", "http://127.0.0.1:9")
    assert said.exit_code == exits.NOBODY_ANSWERS
    assert "muster up" in said.stderr
