"""Which beats hurry on their way to the store, and who hurries them."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.pulse import Pulse
from gateway.session import Session
from muster.wire.codec import JSON
from muster.wire.messages import Heartbeat, Register
from muster.wire.reading import read
from registry.model import Beat, Status
from tests.support.node import EXAMPLE


class Batcher:
    """Notes what is offered, and whether it hurries."""

    def __init__(self) -> None:
        self.hurried: list[bool] = []
        self.called = 0

    def offer(self, beat: Beat, owner: Any, *, hurry: bool = True) -> None:
        self.hurried.append(hurry)

    def hurry(self) -> None:
        self.called += 1


def pulse(batcher: Batcher) -> Pulse:
    services = SimpleNamespace(
        settings=SimpleNamespace(required_models=()),
        metrics=SimpleNamespace(verdicts=Counter()),
        batcher=batcher,
    )
    return Pulse(SimpleNamespace(services=services))  # type: ignore[arg-type]


def session(status: str) -> Session:
    register = read(json.dumps(EXAMPLE), JSON, max_report_bytes=65_536)
    assert isinstance(register, Register)
    return Session("sid", register, "", (), "", status=status)


def heartbeat(**more: Any) -> Heartbeat:
    said = {"type": "node_heartbeat", **more}
    message = read(json.dumps(said), JSON, max_report_bytes=65_536)
    assert isinstance(message, Heartbeat)
    return message


UNWELL = {"health": {"ok": False}}


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("more", [{}, UNWELL], ids=["well", "unwell"])
def test_only_a_ready_nodes_good_heartbeat_may_wait(status: Status, more: dict[str, Any]) -> None:
    batcher = Batcher()
    pulse(batcher).offer(session(status.value), "node", heartbeat(**more), 0.0)
    assert batcher.hurried == [(status, more) != (Status.READY, {})]


async def test_who_waits_for_the_beats_under_way_hurries_them() -> None:
    batcher = Batcher()
    one = pulse(batcher)
    assert await one.settle(0.0)
    assert batcher.called == 0
    one.offer(session("ready"), "node", heartbeat(), 0.0)
    assert not await one.settle(0.001)
    assert batcher.called == 1
