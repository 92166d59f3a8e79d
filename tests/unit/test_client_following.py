"""What a client reads from a stream of events, and where it goes on."""

from __future__ import annotations

import msgspec
import pytest
from httpx_sse import ServerSentEvent

from muster.client.answers import Node, NodePage
from muster.client.errors import UnexpectedAnswerError
from muster.client.following import Event, Following, Gap, Pages


def frame(event: str, data: object, id_: str = "c2") -> ServerSentEvent:
    return ServerSentEvent(event, msgspec.json.encode(data).decode(), id_)


def test_an_event_has_what_was_told_and_the_cursor_behind_it() -> None:
    stream = Following({}, (), "c1")
    told = {"type": "transition", "node_id": "n", "from": "ready", "to": "offline", "version": 7}
    event = stream.read(frame("transition", {**told, "at": 5, "a_later_field": [1]}))
    assert isinstance(event, Event)
    assert (event.node_id, event.from_, event.to, event.version) == ("n", "ready", "offline", 7)
    assert event.data["a_later_field"] == [1]
    assert event.cursor == stream.cursor == "c2"


def test_where_the_stream_is_is_known_without_anything_having_happened() -> None:
    stream = Following({}, (), None)
    assert "Last-Event-ID" not in stream.call.headers
    assert stream.read(ServerSentEvent("", "", "c1", 750)) is None
    assert stream.call.headers["Last-Event-ID"] == "c1"
    assert stream.pause_s == 0.75
    assert stream.read(ServerSentEvent("", "", "c2")) is None
    assert stream.call.headers["Last-Event-ID"] == "c2"
    assert stream.pause_s == 0.75


def test_a_cursor_that_was_given_is_asked_for_by_the_name_it_was_given_under() -> None:
    stream = Following({}, (), "c1")
    assert ("after", "c1") in stream.call.query
    assert "Last-Event-ID" not in stream.call.headers
    stream.read(ServerSentEvent("", "", "c2"))
    assert not [name for name, _ in stream.call.query if name == "after"]
    assert stream.call.headers["Last-Event-ID"] == "c2"


def test_the_end_of_a_stream_is_no_event_and_keeps_the_place() -> None:
    stream = Following({}, (), "c1")
    assert stream.read(frame("end", {"reason": "slow_reader", "cursor": "c1"}, "")) is None
    assert stream.cursor == "c1"


def test_a_gap_is_told_and_gone_on_behind() -> None:
    stream = Following({}, (), "c1")
    gap = stream.read(frame("gap", {"type": "gap", "reason": "too_old", "cursor": "c9"}, "c9"))
    assert gap == Gap("too_old", "c9")
    assert stream.cursor == "c9"


def test_what_no_gateway_sends_is_an_error() -> None:
    stream = Following({}, (), "c1")
    for data in ("no JSON", "[]", '{"at": {}}'):
        with pytest.raises(msgspec.DecodeError):
            stream.read(ServerSentEvent("transition", data, "c2"))


def test_a_stream_is_asked_for_by_kind_node_status_and_label() -> None:
    about = {"node_ids": ["a", "b"], "status": "ready", "labels": {"region": "eu"}}
    call = Following(about, ["transition", "register"], None).call  # type: ignore[arg-type]
    assert sorted(call.query) == [
        ("label", "region=eu"),
        ("node_id", "a"),
        ("node_id", "b"),
        ("status", "ready"),
        ("types", "transition,register"),
    ]


def test_a_snapshot_is_watched_from_where_its_first_page_was_read() -> None:
    pages = Pages({"status": "ready"})
    for number, cursor in enumerate(("p1", "p2", None)):
        assert pages.call is not None
        assert ("snapshot", "1") in pages.call.query
        assert ("status", "ready") in pages.call.query
        node = Node(node_id=f"n{number}", status="ready")
        page = NodePage(nodes=(node,), cursor=cursor, events_cursor=f"e{number}", now=number)
        pages.add(page, "http://a")
    assert pages.call is None
    assert [node.node_id for node in pages.snapshot.nodes] == ["n0", "n1", "n2"]
    assert (pages.snapshot.cursor, pages.snapshot.now) == ("e0", 0)


def test_a_gateway_that_knows_no_snapshots_is_an_error() -> None:
    with pytest.raises(UnexpectedAnswerError, match="snapshot"):
        Pages({}).add(NodePage(nodes=()), "http://a")


def test_a_stream_since_an_instant_goes_on_behind_its_cursor_once_it_has_one() -> None:
    stream = Following({}, (), None, 1000, until_now=True)
    assert stream.call.query == [("since", "1000"), ("until", "now")]
    stream.read(ServerSentEvent("", "", "c1"))
    assert stream.call.query == [("until", "now")]
    assert stream.call.headers["Last-Event-ID"] == "c1"


def test_a_stream_that_was_asked_for_until_now_knows_when_it_has_told_all() -> None:
    stream = Following({}, (), "c1", until_now=True)
    stream.read(frame("end", {"reason": "slow_reader", "cursor": "c1"}, ""))
    assert not stream.up_to_date
    stream.read(frame("end", {"reason": "up_to_date", "cursor": "c1"}, ""))
    assert stream.up_to_date
