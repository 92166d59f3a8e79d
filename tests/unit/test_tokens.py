"""Node tokens and join tokens."""

from __future__ import annotations

import pytest

from gateway.tokens import JoinTokens, NodeTokens, TokenCheck


def test_what_was_issued_is_right_for_its_id_only() -> None:
    tokens = NodeTokens(["s3cret"])
    token = tokens.issue("node-A")
    assert tokens.check("node-A", token) is TokenCheck.RIGHT
    assert tokens.check("node-B", token) is TokenCheck.WRONG


def test_an_older_secret_still_checks_after_rotation() -> None:
    token = NodeTokens(["old"]).issue("node-A")
    assert NodeTokens(["new", "old"]).check("node-A", token) is TokenCheck.RIGHT
    assert NodeTokens(["new"]).check("node-A", token) is TokenCheck.WRONG


def test_without_a_secret_nothing_is_issued_or_checked() -> None:
    tokens = NodeTokens([])
    assert tokens.issue("node-A") is None
    assert tokens.check("node-A", "anything") is TokenCheck.NONE


@pytest.mark.parametrize("token", ["", None])
def test_no_token_is_not_a_wrong_token(token: str | None) -> None:
    assert NodeTokens(["s"]).check("node-A", token) is TokenCheck.NONE


def test_a_token_that_is_not_ascii_is_wrong() -> None:
    assert NodeTokens(["s"]).check("node-A", "令牌") is TokenCheck.WRONG


@pytest.mark.parametrize(
    ("headers", "query", "admitted"),
    [
        ({"authorization": "Bearer j1"}, b"", True),
        ({"authorization": "bearer j2"}, b"", True),
        ({}, b"token=j2", True),
        ({}, b"token=j3", False),
        ({"authorization": "Basic j1"}, b"", False),
        ({}, b"", False),
    ],
)
def test_join_tokens_come_by_header_or_query(
    headers: dict[str, str], query: bytes, admitted: bool
) -> None:
    assert JoinTokens(["j1", "j2"]).admits(headers, query) is admitted


def test_without_join_tokens_everybody_may_join() -> None:
    assert JoinTokens([]).admits({}, b"")
