"""When a call is tried again, where, and when not."""

from __future__ import annotations

import json
from itertools import cycle
from typing import Any

import httpx
import pytest

from muster.client import calls
from muster.client.calls import Call
from muster.client.errors import (
    InvalidParameterError,
    MusterError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
    UnexpectedAnswerError,
    UnreachableError,
)
from muster.client.servers import Servers
from muster.client.trying import PAUSE_MOST_S, Again, Answered, Tries

A, B = "http://a", "http://b"
REFUSED = httpx.ConnectError("[Errno 111] Connection refused")
CUT = httpx.ReadError("")
FLEET = calls.fleet()
DRAIN = calls.drain("node-A", "why", None)
REMOVE = calls.remove("node-A", "why")
CALLS: dict[str, Call[Any]] = {
    "GET": FLEET,
    "select with its request_id": calls.select({}, 1, 1000, "id"),
    "DELETE hold": calls.release("h~n"),
    "DELETE node": REMOVE,
    "dry run": calls.bulk("drain", {}, "r", every=True, dry_run=True, timeout_s=None, labels=None),
}
CHANGES: dict[str, Call[Any]] = {
    "drain": DRAIN,
    "release_brake": calls.release_brake("r"),
    "resume": calls.resume("n", "r"),
    "label": calls.label("n", {}, "r"),
    "bulk": calls.bulk("drain", {}, "r", every=True, dry_run=False, timeout_s=None, labels=None),
}


class Clock:
    """Seconds that pass when somebody waits."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


def servers(*urls: str) -> Servers:
    made = Servers(urls or (A, B))
    made.current = made.urls[0]
    return made


def tries(call: Call[Any], *urls: str, patience_s: float = 20.0) -> tuple[Tries[Any], Clock]:
    clock = Clock()
    return Tries(call, servers(*urls), patience_s, clock), clock


def problem(code: str, **more: Any) -> bytes:
    return json.dumps({"title": "t", "code": code, **more}).encode()


def refused(tried: Tries[Any], status: int, code: str, **headers: str) -> Again | Answered[Any]:
    return tried.answered(status, headers, problem(code))


@pytest.mark.parametrize("call", [*CALLS.values(), *CHANGES.values()], ids=[*CALLS, *CHANGES])
def test_where_nobody_could_be_reached_the_next_is_asked_at_once(call: Call[Any]) -> None:
    tried, _ = tries(call)
    again = tried.failed(REFUSED)
    assert (again.pause_s, tried.server) == (0, B)
    assert isinstance(again.why, UnreachableError)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_may_have_been_done_is_asked_again_where_that_does_no_harm(call: Call[Any]) -> None:
    for fail in (lambda t: t.failed(CUT), lambda t: refused(t, 503, "UNAVAILABLE")):
        tried, _ = tries(call)
        assert isinstance(fail(tried), Again)
        assert tried.server == B


@pytest.mark.parametrize("call", CHANGES.values(), ids=CHANGES)
def test_what_may_have_been_done_is_not_asked_again_where_it_would_be_done_twice(
    call: Call[Any],
) -> None:
    tried, _ = tries(call)
    with pytest.raises(UnreachableError):
        tried.failed(CUT)
    tried, _ = tries(call)
    with pytest.raises(UnavailableError):
        refused(tried, 503, "TIMEOUT")
    tried, _ = tries(call)
    assert isinstance(refused(tried, 429, "RATE_LIMITED"), Again)  # was not done


def test_pauses_come_after_all_servers_grow_and_are_drawn() -> None:
    def pauses() -> list[float]:
        tried, _ = tries(FLEET, patience_s=1000)
        return [tried.failed(REFUSED).pause_s for _ in range(24)]

    first = pauses()
    assert first[::2] == [0] * 12
    for pause, most in zip(first[1::2], [0.2, 0.4, 0.8, 1.6, *[2.0] * 8], strict=True):
        assert most / 2 <= pause <= most
    assert first != pauses()


def test_patience_ends_and_says_what_was_met_at_each_server() -> None:
    tried, clock = tries(FLEET, patience_s=5.0)

    def fail_for_ever() -> None:
        for error in cycle((httpx.ReadTimeout(""), REFUSED)):
            clock.s += tried.failed(error).pause_s

    with pytest.raises(UnreachableError) as raised:
        fail_for_ever()
    assert raised.value.tried == {A: "no answer in time", B: "[Errno 111] Connection refused"}
    assert 5.0 - PAUSE_MOST_S <= clock.s - 1000 <= 5.0


def test_no_patience_means_one_try_at_each_server() -> None:
    tried, _ = tries(FLEET, patience_s=0)
    assert tried.failed(REFUSED).pause_s == 0
    with pytest.raises(UnreachableError):
        tried.failed(REFUSED)


def test_what_a_gateway_asks_to_be_waited_for_is_waited_for() -> None:
    tried, _ = tries(FLEET)
    limited = refused(tried, 429, "RATE_LIMITED", **{"retry-after": "3"})
    assert isinstance(limited, Again)
    assert 3 <= limited.pause_s <= 3.6
    assert tried.server == A
    tried, _ = tries(FLEET, A)
    away = refused(tried, 503, "UNAVAILABLE", **{"retry-after": "1"})
    assert isinstance(away, Again)
    assert 1 <= away.pause_s <= 1.2
    tried, _ = tries(FLEET, patience_s=2)
    with pytest.raises(RateLimitedError):
        refused(tried, 429, "RATE_LIMITED", **{"retry-after": "3"})


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (400, problem("INVALID_PARAMETER"), InvalidParameterError),
        (404, problem("NODE_NOT_FOUND"), NotFoundError),
        (500, problem("INTERNAL_ERROR", trace_id="x"), MusterError),
        (418, problem("BREWING"), MusterError),
        (404, b"<html>nginx</html>", UnexpectedAnswerError),
        (307, b"", UnexpectedAnswerError),
        (200, b"<html>a page to log in</html>", UnexpectedAnswerError),
        (200, b"{}", UnexpectedAnswerError),
        (200, b"\xff\xfe", UnexpectedAnswerError),
    ],
)
def test_a_refusal_is_raised_at_once(status: int, content: bytes, kind: type[Exception]) -> None:
    tried, _ = tries(FLEET)
    with pytest.raises(kind):
        tried.answered(status, {}, content)


def test_a_proxy_without_a_gateway_behind_it_is_left_for_the_next() -> None:
    tried, _ = tries(FLEET)
    assert isinstance(tried.answered(502, {}, b"<html>bad gateway</html>"), Again)
    assert tried.server == B


def test_a_node_that_is_gone_after_a_removal_without_an_answer_was_removed() -> None:
    tried, _ = tries(REMOVE)
    tried.failed(CUT)
    assert refused(tried, 404, "NODE_NOT_FOUND") == Answered(None)
    tried, _ = tries(REMOVE)
    tried.failed(REFUSED)
    with pytest.raises(NotFoundError):
        refused(tried, 404, "NODE_NOT_FOUND")


def test_many_calls_leave_a_dead_server_together() -> None:
    shared = servers(A, B, "http://c")
    first, second, third = (Tries(FLEET, shared, 20) for _ in range(3))
    first.failed(REFUSED)
    second.failed(REFUSED)
    assert first.server == second.server == shared.current == B
    first.failed(REFUSED)
    third.failed(REFUSED)
    assert first.server == third.server == shared.current == "http://c"


def test_the_first_server_is_drawn() -> None:
    assert {Servers((A, B)).current for _ in range(100)} == {A, B}


@pytest.mark.parametrize(
    "url",
    ["", "gw:8080", "ftp://gw", "http://", "http://gw:99999", "http://gw?x=1", "http://[::1"],
)
def test_what_is_no_address_of_a_gateway_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="gateway's address"):
        Servers((url,))


def test_addresses_may_end_in_a_slash_and_have_a_path() -> None:
    assert Servers(("https://x.example/muster/",)).urls == ("https://x.example/muster",)
    assert Servers(()).urls == ("http://127.0.0.1:8080",)


def test_a_stream_has_as_much_patience_after_the_last_thing_it_told_as_at_first() -> None:
    clock = Clock()
    tries = Tries(calls.fleet(), servers(A), 10.0, clock)
    clock.s += 60
    tries.heard()
    clock.s += 9
    assert isinstance(tries.ended(0.0), Again)
    clock.s += 2
    with pytest.raises(UnreachableError):
        tries.ended(0.0)
