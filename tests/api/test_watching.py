"""Requests for the stream of events: what is let in, what is refused, and how the stream begins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.access import Principal
from gateway.api import asking
from gateway.api.questions import EventsQuery
from muster.wire.bearer import Role
from registry.cursor import Cursor
from registry.events import Event, EventType
from registry.registry import Registry
from tests.support.api import Api, Machines
from tests.support.watcher import Frame, Frames


async def frames(api: Api, query: str = "", **more: Any) -> list[Frame]:
    answer = await api.ask("GET", f"/v1/events{query}", **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store"
    return Frames().feed(answer.content)


async def test_a_stream_begins_with_its_place_and_ends_with_a_reason(api: Api) -> None:
    first, last = await frames(api)
    assert Cursor.read(str(first.id))
    assert 500 <= int(first.retry) <= 2000
    assert (last.event, '"reason":"gateway_stopping"' in last.data) == ("end", True)
    assert str(first.id) in last.data


@pytest.mark.parametrize(
    "query",
    [
        "?types=transition",
        "?types=transition,register&types=expired",
        "?node_id=node-A,node-B&node_id=node-C",
        "?status=ready,offline",
        "?label=region=eu,us&label=owner!=x",
        "?since=0",
        "?since=1795575486920&until=now",
    ],
)
async def test_conditions_are_let_in_alone_repeated_and_with_commas(api: Api, query: str) -> None:
    assert len(await frames(api, query)) == 2


@pytest.mark.parametrize(
    ("query", "parameter", "expected"),
    [
        ("?types=transitions", "types", "one of register, resume"),
        ("?type=transition", "type", "one of types, node_id, status, label, after"),
        ("?node_id=no~node", "node_id", "a node id"),
        ("?status=gone", "status", "one of"),
        ("?label=region", "label", "name=value"),
        ("?since=-1", "since", "a whole number from 0"),
        ("?since=yesterday", "since", "a whole number from 0"),
        ("?since=0&after=1.00c0ffee.AAAA", "since", "to be given without after"),
        ("?until=2026", "until", "one of now"),
        ("?after=", "after", "a text of 1 to 2048 characters"),
        ("?after=0", "after", "the id of an event, or the events_cursor of a list"),
        ("?after=1.00c0ffee.AAAA", "after", "the id of an event"),
    ],
)
async def test_what_is_no_condition_is_refused(
    api: Api, query: str, parameter: str, expected: str
) -> None:
    answer = await api.ask("GET", f"/v1/events{query}")
    problem = answer.json()
    assert (answer.status_code, problem["parameter"]) == (400, parameter)
    assert problem["expected"].startswith(expected)


@pytest.mark.parametrize(
    ("owner", "query", "told"),
    [
        (None, EventsQuery(), {"unobserved", "mass_expiry"}),
        ("x", EventsQuery(), {"unobserved"}),
        ("x", EventsQuery(label=("region=eu",)), set()),
        ("x", EventsQuery(types=(EventType.TRANSITION,)), set()),
        (None, EventsQuery(label=("region=eu",)), set()),
    ],
)
def test_of_the_fleet_an_owner_is_told_only_when_nobody_watched(
    owner: str | None, query: EventsQuery, told: set[str]
) -> None:
    wanted = asking.interest(query, Principal("who", Role.READ, owner))
    kinds = ("unobserved", "mass_expiry")
    assert {kind for kind in kinds if wanted.takes(Event(0, (1, 0), {"type": kind}))} == told


async def test_an_empty_remembered_id_is_none(api: Api) -> None:
    assert len(await frames(api, headers={"Last-Event-ID": ""})) == 2


async def test_a_list_says_where_to_watch_from_only_if_asked_and_on_every_page(
    api: Api, machines: Machines, registry: Registry
) -> None:
    for name in ("node-A", "node-B", "node-C"):
        await machines.ready(name)
    plain = (await api.ask("GET", "/v1/nodes?limit=2")).json()
    assert "events_cursor" not in plain
    first = (await api.ask("GET", "/v1/nodes?limit=2&snapshot=1")).json()
    assert Cursor.read(first["events_cursor"]) == await registry.event_cursor()
    await machines.register("node-D")
    query = f"limit=2&snapshot=1&cursor={first['cursor']}"
    second = (await api.ask("GET", f"/v1/nodes?{query}")).json()
    assert Cursor.read(second["events_cursor"]) == await registry.event_cursor()
    assert second["events_cursor"] != first["events_cursor"]
    refused = await api.ask("GET", "/v1/nodes?snapshot=yes")
    assert (refused.status_code, refused.json()["expected"]) == (400, "one of 1")


WORDS = st.one_of(
    st.sampled_from([*EventType, "ready", "node-A", "region=eu", "owner!=x", "1.00c0ffee.AAAA"]),
    st.text(max_size=40),
)
NAMES = st.sampled_from(
    ["types", "node_id", "status", "label", "after", "since", "until", "limit", ""]
)


@given(pairs=st.lists(st.tuples(NAMES, WORDS), max_size=4), remembered=st.none() | WORDS)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_whatever_is_asked_is_let_in_or_refused_with_the_parameter(
    api: Api, pairs: list[tuple[str, str]], remembered: str | None
) -> None:
    headers = {}
    if remembered is not None and remembered.isascii() and remembered.isprintable():
        headers["Last-Event-ID"] = remembered
    answer = await api.ask("GET", "/v1/events", params=pairs, headers=headers)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        named = answer.json()["parameter"]
        assert named == "Last-Event-ID" or named[:64] in {name[:64] for name, _ in pairs}
