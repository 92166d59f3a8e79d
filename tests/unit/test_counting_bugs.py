"""What is counted as a bug of ours, from what is logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from registry.logs import count_bugs, log
from registry.measuring import Measures


@pytest.fixture
def bugs() -> Iterator[Measures]:
    root = logging.getLogger()
    before = list(root.handlers)
    measures = Measures()
    count_bugs(measures.bugs.inc)
    yield measures
    root.handlers[:] = before


def counted(measures: Measures) -> float | None:
    return measures.registry.get_sample_value("muster_bugs_total")


def test_what_our_own_modules_log_with_a_traceback_is_counted(bugs: Measures) -> None:
    assert counted(bugs) == 0
    log(logging.getLogger("muster.gateway"), logging.ERROR, "x_failed", exc_info=KeyError("x"))
    log(logging.getLogger("muster.sweeper"), logging.ERROR, "y_failed", exc_info=KeyError("y"))
    assert counted(bugs) == 2


@pytest.mark.parametrize(
    ("name", "level", "error"),
    [
        ("asyncio", logging.ERROR, KeyError("a stranger's handshake")),
        ("mustering", logging.ERROR, KeyError("somebody else")),
        ("muster.gateway", logging.ERROR, False),
        ("muster.gateway", logging.WARNING, KeyError("foreseen")),
    ],
)
def test_nothing_else_is(
    bugs: Measures, name: str, level: int, error: bool | BaseException
) -> None:
    log(logging.getLogger(name), level, "happened", exc_info=error)
    assert counted(bugs) == 0
