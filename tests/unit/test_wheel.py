"""The wheel: what is due for a socket, and when."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from gateway.wheel import Due, Wheel, judge


@dataclass
class Spoke:
    registered: bool = True
    heard: float = 0.0
    unregistered_since: float = 0.0
    done: list[Due] = field(default_factory=list)

    def ping(self) -> None:
        self.done.append(Due.PING)

    def reap(self, due: Due) -> None:
        self.done.append(due)


@pytest.mark.parametrize(
    ("spoke", "now", "due"),
    [
        (Spoke(), 44.9, Due.NOTHING),
        (Spoke(), 45.0, Due.PING),
        (Spoke(), 89.9, Due.PING),
        (Spoke(), 90.0, Due.SILENT),
        (Spoke(heard=50.0), 90.0, Due.NOTHING),
        (Spoke(registered=False), 59.9, Due.NOTHING),
        (Spoke(registered=False), 60.0, Due.UNREGISTERED),
        (Spoke(registered=False, heard=59.0), 60.0, Due.UNREGISTERED),
        (Spoke(registered=False, unregistered_since=30.0), 60.0, Due.NOTHING),
    ],
)
def test_what_is_due(spoke: Spoke, now: float, due: Due) -> None:
    assert judge(spoke, now, timeout_s=45, factor=2, register_timeout_s=60) is due


def test_one_turn_looks_at_every_socket() -> None:
    spokes = [Spoke(), Spoke(heard=40.0), Spoke(registered=False)]
    wheel = Wheel(lambda: spokes, lambda: 90.0, timeout_s=45, factor=2, register_timeout_s=60)
    wheel.turn()
    assert [s.done for s in spokes] == [[Due.SILENT], [Due.PING], [Due.UNREGISTERED]]
