"""The hub: who is in which session."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.hub import NodeConnectionManager


@dataclass
class Socket:
    node_id: str | None


def test_a_connection_is_found_by_its_session() -> None:
    hub: NodeConnectionManager[Socket] = NodeConnectionManager()
    socket = Socket("node-A")
    hub.put("s1", socket)
    assert hub.get("node-A", "s1") is socket
    assert hub.get("node-A", "s2") is None
    assert hub.get("node-B", "s1") is None


def test_a_newcomer_displaces_nobody_until_it_is_accepted() -> None:
    hub: NodeConnectionManager[Socket] = NodeConnectionManager()
    old, new = Socket("node-A"), Socket("node-A")
    hub.put("s1", old)
    hub.put("s2", new)
    assert hub.get("node-A", "s1") is old
    assert hub.remove("s2", new)
    assert hub.get("node-A", "s1") is old


def test_a_late_close_cannot_touch_its_successor() -> None:
    hub: NodeConnectionManager[Socket] = NodeConnectionManager()
    old, new = Socket("node-A"), Socket("node-A")
    hub.put("s2", new)
    assert not hub.remove("s2", old)
    assert not hub.remove("s1", old)
    assert hub.get("node-A", "s2") is new
    assert len(hub) == 1
