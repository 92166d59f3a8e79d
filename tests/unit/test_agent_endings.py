"""What follows each way a conversation may end: the close table obeyed, refusals told apart."""

from __future__ import annotations

import pytest

from muster.agent.conversation import Moving, Refused, Then
from muster.agent.endings import (
    Again,
    ClosedBy,
    Left,
    Lost,
    Removed,
    Renewing,
    Stop,
    Wait,
    what_next,
)
from muster.agent.trouble import Trouble
from muster.wire.closing import CloseCode, Retry, retry_policy

BY_POLICY: dict[Retry, Again | Stop] = {
    "jitter": Again(Wait.SOON, elsewhere=True),
    "backoff": Again(Wait.BACK_OFF, elsewhere=True),
    "never": Stop.REFUSED,
    "none": Again(Wait.BACK_OFF, elsewhere=True),
}


@pytest.mark.parametrize("close", CloseCode)
def test_a_close_is_followed_by_what_the_table_says(close: CloseCode) -> None:
    assert what_next(ClosedBy(close.code, close.reason)) == BY_POLICY[close.retry]


@pytest.mark.parametrize("code", [1006, 1011, 3000, 4000, 4499, 4500, 4999])
def test_a_code_no_table_knows_is_followed_by_its_range(code: int) -> None:
    assert what_next(ClosedBy(code, "")) == BY_POLICY[retry_policy(code)]


@pytest.mark.parametrize("trouble", Trouble)
def test_a_connection_lost_or_never_made_is_tried_elsewhere(trouble: Trouble) -> None:
    assert what_next(Lost(trouble, "")) == Again(Wait.BACK_OFF, elsewhere=True)


@pytest.mark.parametrize(
    ("then", "step"),
    [
        (Then.NEVER, Stop.REFUSED),
        (Then.MEND_HARDWARE, Again(Wait.NONE, mend=True)),
        (Then.FORGET, Again(Wait.NONE, forget=True)),
        (Then.WAIT, Again(Wait.ASKED, asked_s=7.0)),
        (Then.AGAIN, Again(Wait.SOON)),
        (Then.BACK_OFF, Again(Wait.BACK_OFF, elsewhere=True)),
    ],
)
def test_a_refusal_is_followed_by_what_it_asks(then: Then, step: Again | Stop) -> None:
    assert what_next(Refused("CODE", None, "", then, 7.0)) == step


def test_a_server_that_asks_to_move_says_when() -> None:
    step = what_next(Moving(1.5, "restart"))
    assert step == Again(Wait.ASKED, asked_s=1.5, elsewhere=True)


def test_a_node_that_left_or_was_removed_does_not_come_back() -> None:
    assert what_next(Left()) is Stop.LEFT
    assert what_next(Removed()) is Stop.REFUSED


def test_what_must_be_said_anew_is_said_at_once_and_to_the_same_server() -> None:
    assert what_next(Renewing()) == Again(Wait.NONE)
