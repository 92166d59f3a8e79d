"""Finished jobs on their way: as fast as a gateway hears, again where it did not, and bounded."""

from __future__ import annotations

import pytest

from gateway.limits import TokenBucket
from gateway.settings import GatewaySettings
from muster.agent.outbox import KEPT_MOST, LIVES_MOST, SENT_MOST, Outbox


class Box:
    """An outbox and its clock."""

    def __init__(self, results: int = 0) -> None:
        self.now = 1000.0
        self.outbox = Outbox(lambda: self.now)
        self.outbox.begin()
        for at in range(results):
            assert self.outbox.put({"job_id": f"job-{at}"})

    def sent(self) -> list[str]:
        """All that may leave now."""
        ids = []
        while (result := self.outbox.take()) is not None:
            ids.append(result["job_id"])
        return ids


def test_a_gateway_as_it_is_delivered_refuses_nothing_and_everything_arrives() -> None:
    settings = GatewaySettings()
    box = Box(500)
    hears = TokenBucket(settings.messages_burst, settings.messages_per_s, box.now)
    arrived: list[str] = []
    beat_at = box.now
    while len(arrived) < 500:
        if box.now >= beat_at:
            assert not hears.take(box.now)
            box.outbox.beaten()
            beat_at += 1.0
        for job_id in box.sent():
            assert not hears.take(box.now), f"refused after {len(arrived)}"
            arrived.append(job_id)
        due = box.outbox.due()
        box.now = min(beat_at, beat_at if due is None else max(due, box.now + 1e-6))
    assert arrived == [f"job-{at}" for at in range(500)]
    assert box.now - 1000.0 < 200


def test_what_was_not_acknowledged_is_sent_again_first_and_in_order() -> None:
    box = Box(2)
    assert box.sent() == ["job-0", "job-1"]
    box.outbox.beaten()
    box.outbox.put({"job_id": "job-2"})
    assert box.sent() == ["job-2"]
    box.outbox.acknowledged()
    box.outbox.put({"job_id": "job-3"})
    box.outbox.begin()
    assert box.sent() == ["job-2", "job-3"]


def test_a_refusal_has_them_sent_again_after_the_wait_it_asks_for() -> None:
    box = Box(3)
    box.sent()
    box.outbox.refused(5.0)
    assert box.outbox.due() == box.now + 5.0
    assert box.sent() == []
    box.now += 5.0
    assert box.sent() == ["job-0", "job-1", "job-2"]


def test_beyond_the_bound_nothing_is_taken_and_what_was_not_is_counted() -> None:
    box = Box(KEPT_MOST)
    assert not box.outbox.put({"job_id": "one too many"})
    assert box.outbox.lost == 1
    assert box.sent()[0] == "job-0"


def test_a_result_that_ends_every_socket_is_given_up() -> None:
    box = Box(1)
    for _ in range(LIVES_MOST):
        assert box.sent() == ["job-0"]
        box.outbox.begin()
    assert box.sent() == []
    assert box.outbox.lost == 1


def test_of_a_server_that_acknowledges_nothing_the_oldest_count_as_told() -> None:
    box = Box(SENT_MOST + 10)
    while box.outbox.due() is not None:
        box.sent()
        box.now += 1.0
    box.outbox.begin()
    assert box.outbox.waiting == SENT_MOST
    assert box.sent()[0] == "job-10"


def test_after_the_session_nothing_is_taken_and_what_waited_is_lost() -> None:
    box = Box(2)
    box.outbox.close()
    assert not box.outbox.put({"job_id": "late"})
    assert box.outbox.lost == 3


def test_what_cannot_be_sent_is_refused_where_it_is_handed_in() -> None:
    with pytest.raises(TypeError):
        Box().outbox.put({"job_id": "x", "error": {"code": object()}})
