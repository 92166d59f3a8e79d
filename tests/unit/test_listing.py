"""Which nodes a list shows, and cursors."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from registry.listing import SORTS, CursorError, Filter, Order
from registry.requirement import Requirement
from registry.subject import Intent
from tests.unit.test_requirement import TIMEOUT, subject

REGISTRATION = {
    "version": "1.2",
    "platform": "linux",
    "hardware": {"gpus": [{"name": "RTX 4090", "memory_gb": 24}]},
}


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        (Filter(), True),
        (Filter(statuses=frozenset({"ready", "degraded"})), True),
        (Filter(statuses=frozenset({"offline"})), False),
        (Filter(ids=frozenset({"node-A"})), True),
        (Filter(ids=frozenset({"node-B"})), False),
        (Filter(public=True), True),
        (Filter(public=False), False),
        (Filter(live=True), True),
        (Filter(live=False), False),
        (Filter(intent=False), True),
        (Filter(intent=True), False),
        (Filter(gateway="gw"), True),
        (Filter(gateway="g"), False),
        (Filter(program_version="1.2"), True),
        (Filter(program_version="1.3"), False),
        (Filter(platform="linux"), True),
        (Filter(platform="windows"), False),
        (Filter(gpu="rtx 40"), True),
        (Filter(gpu="A100"), False),
        (Filter(id_part="DE-a"), True),
        (Filter(id_part="x"), False),
        (Filter(available=True), True),
        (Filter(available=False), False),
        (Filter(Requirement(("asr:zh",), public=None)), True),
        (Filter(Requirement(("asr:fr",), public=None)), False),
    ],
)
def test_each_condition_shows_and_hides(wanted: Filter, shown: bool) -> None:
    node = subject(packed_registration=msgspec.msgpack.encode(REGISTRATION))
    assert wanted.shows(node, TIMEOUT) is shown


def test_a_drained_node_is_found_by_its_intent() -> None:
    node = subject(intent=Intent("s", 1, "op", "why", 1))
    assert Filter(intent=True).shows(node, TIMEOUT)
    assert not Filter(available=True).shows(node, TIMEOUT)


def test_a_removed_node_is_shown_to_nobody() -> None:
    assert not Filter().shows(subject(status="offline", reason="removed"), TIMEOUT)


@pytest.mark.parametrize("name", SORTS)
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_cursor_marks_the_place_behind_its_node(name: str, sign: str) -> None:
    order = Order.of(sign + name)
    nodes = sorted(
        (subject(node_id=i, since=len(i), jobs=1) for i in ("b", "aa", "c")), key=order.key
    )
    mark = order.mark(order.cursor(nodes[1]))
    behind = [s.node_id for s in nodes if order.behind(s, mark)]
    assert behind == [nodes[0 if sign else 2].node_id]


@pytest.mark.parametrize("cursor", ["", "x", "W10", "WzEsMl0", "é", "_" * 400])
def test_a_cursor_that_nobody_gave_is_refused(cursor: str) -> None:
    with pytest.raises(CursorError):
        Order.of("since").mark(cursor)


def test_a_cursor_of_another_order_is_refused() -> None:
    cursor = Order.of("since").cursor(subject())
    for other in ("-since", "load", "node_id"):
        with pytest.raises(CursorError):
            Order.of(other).mark(cursor)


def test_an_unknown_order_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="node_id, status, since, last_heartbeat, load"):
        Order.of("--since")


def test_a_subject_opens_what_was_read_and_nothing_else() -> None:
    bare: Any = subject()
    assert (bare.registration, bare.report, bare.operator_labels, bare.gpu_names) == (
        {},
        {},
        {},
        [],
    )
    assert subject(packed_report=msgspec.msgpack.encode([1])).report == {}
