"""What a gateway remembers of a session, and what it tells a node only once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gateway.session import Session
from muster.wire.codec import JSON
from muster.wire.messages import Register
from muster.wire.reading import read
from registry.model import Change
from tests.support.node import EXAMPLE


@pytest.fixture
def session() -> Session:
    message = read(JSON.encode(EXAMPLE), JSON, max_report_bytes=10_000)
    assert isinstance(message, Register)
    return Session("sid", message, "d", (), "h", version=10)


def change(version: int, status: str = "ready", reason: str = "healthy") -> Change:
    return Change("node-A", "sid", version, status, "registering", reason, 1)


def test_what_a_node_knows_already_or_better_is_not_told_again(session: Session) -> None:
    assert session.told(change(11))
    assert not session.told(change(11, "degraded"))
    assert not session.told(change(9, "degraded"))
    assert (session.version, session.status) == (11, "ready")


def test_a_drain_told_of_is_remembered_until_the_node_is_told_otherwise(session: Session) -> None:
    session.told(change(11, "draining", "operator"))
    assert session.intent
    session.told(change(12, "ready", "resumed"))
    assert not session.intent


def test_two_processes_never_give_the_same_session_id() -> None:
    """A counter would: what one gateway fences out, another would let in."""
    program = "from gateway.session import new_sid; print(*(new_sid() for _ in range(20)))"
    said = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert len({*said[0], *said[1]}) == 40
