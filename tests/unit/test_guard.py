"""What a request to /v1 passes before an endpoint sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Scope

from gateway.access import Access
from gateway.guard import BUCKETS_MOST, Guard, without_time_limit
from gateway.limits import Buckets
from gateway.metrics import Metrics
from gateway.problem import ProblemError, on_problem
from gateway.settings import GatewaySettings
from muster.wire.bearer import Entry, Role, digest, new_token

READER, OTHER, ADMIN = new_token(), new_token(), new_token()
LINES = [
    Entry("scheduler", Role.READ, digest(READER)).line(),
    Entry("dashboard", Role.READ, digest(OTHER)).line(),
    Entry("ops", Role.ADMIN, digest(ADMIN), "x").line(),
]


class Clock:
    """Goes on when told to, seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Gateway:
    """A small application behind a guard."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.ended = asyncio.Event()
        made = GatewaySettings(**({"api_tokens": LINES} | settings))
        self.app = Starlette(
            routes=[
                Route("/healthz", _said, methods=["GET", "POST"]),
                Route("/v1/nodes", _said),
                Route("/v1/nodes/{node_id}", _said, methods=["GET", "DELETE"]),
                Route("/v1/select", _said, methods=["POST"]),
                Route("/v1/slow", self._slow),
                Route("/v1/half", self._half),
                Route("/v1/own", self._own_timeout),
                Route("/v1/bug", self._bug),
                Route("/v1/stream", self._stream),
            ],
            middleware=[
                Middleware(
                    Guard,
                    access=Access(made),
                    settings=made,
                    metrics=self.metrics,
                    now=self.clock,
                )
            ],
            exception_handlers={ProblemError: on_problem},
        )

    async def ask(
        self,
        method: str,
        path: str,
        token: str | None = READER,
        client: str = "10.0.0.1",
        **more: Any,
    ) -> httpx.Response:
        transport = httpx.ASGITransport(
            self.app, raise_app_exceptions=False, client=(client, 50000)
        )
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            asyncio.timeout(60),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
        ):
            return await http.request(method, path, headers=headers, **more)

    def counted(self) -> dict[tuple[str, str, str], float]:
        """Requests by route, method and class of status."""
        return {
            (sample.labels["route"], sample.labels["method"], sample.labels["status"]): sample.value
            for metric in self.metrics.requests.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        }

    async def _slow(self, _: Request) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        raise AssertionError

    async def _half(self, _: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"half"
            await asyncio.Event().wait()

        return StreamingResponse(parts())

    async def _own_timeout(self, _: Request) -> Response:
        raise TimeoutError

    async def _bug(self, _: Request) -> Response:
        raise ZeroDivisionError

    async def _stream(self, request: Request) -> Response:
        without_time_limit(request)

        async def parts() -> AsyncIterator[bytes]:
            limit_s = request.app.state.limit_s
            for _ in range(4):
                await asyncio.sleep(limit_s)
                yield b"."

        return StreamingResponse(parts())


async def _said(request: Request) -> Response:
    """Who asked, and how much they sent."""
    body = await request.body() if request.method in ("POST", "DELETE") else b""
    principal = getattr(request.state, "principal", None)
    name = principal.name if principal else None
    owner = principal.owner if principal else None
    return JSONResponse({"name": name, "owner": owner, "bytes": len(body)})


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["code"]


# --- who


async def test_an_endpoint_is_told_who_asks() -> None:
    gateway = Gateway()
    assert (await gateway.ask("GET", "/v1/nodes")).json()["name"] == "scheduler"
    assert (await gateway.ask("GET", "/v1/nodes", ADMIN)).json()["owner"] == "x"


@pytest.mark.parametrize("path", ["/v1/nodes", "/v1/nodes/", "/v1", "/v1/", "/v1/nothing"])
async def test_nothing_of_v1_is_reached_without_a_token(path: str) -> None:
    answer = await Gateway().ask("GET", path, None)
    assert problem(answer) == (401, "UNAUTHORIZED")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_what_is_not_v1_is_not_guarded() -> None:
    gateway = Gateway(api_burst=1, api_body_bytes=1)
    for _ in range(3):
        answer = await gateway.ask("POST", "/healthz", None, content=b"long")
        assert answer.json() == {"name": None, "owner": None, "bytes": 4}
    assert gateway.counted() == {}


async def test_a_reader_may_not_do_what_an_admin_may() -> None:
    gateway = Gateway()
    answer = await gateway.ask("DELETE", "/v1/nodes/a")
    assert problem(answer) == (403, "FORBIDDEN")
    assert answer.json()["role"] == "admin"
    assert "admin" in answer.json()["title"]
    assert (await gateway.ask("DELETE", "/v1/nodes/a", ADMIN)).status_code == 200
    assert (await gateway.ask("POST", "/v1/select")).status_code == 200


# --- how often


async def test_too_many_requests_are_told_when_to_come_back() -> None:
    gateway = Gateway(api_burst=2, api_rate_per_s=0.4)
    for _ in range(2):
        assert (await gateway.ask("GET", "/v1/nodes")).status_code == 200
    answer = await gateway.ask("GET", "/v1/nodes")
    assert problem(answer) == (429, "RATE_LIMITED")
    assert answer.headers["Retry-After"] == "3"
    assert answer.json()["retry_after_ms"] == 2500
    gateway.clock.now += 2.5
    assert (await gateway.ask("GET", "/v1/nodes")).status_code == 200
    assert (await gateway.ask("GET", "/v1/nodes")).status_code == 429


async def test_one_token_or_address_does_not_spend_what_is_anothers() -> None:
    gateway = Gateway(api_burst=1, api_rate_per_s=0.001)
    assert (await gateway.ask("GET", "/v1/nodes")).status_code == 200
    assert (await gateway.ask("GET", "/v1/nodes")).status_code == 429
    assert (await gateway.ask("GET", "/v1/nodes", OTHER)).status_code == 200
    assert (await gateway.ask("GET", "/v1/nodes", client="10.0.0.2")).status_code == 200


async def test_addresses_of_one_ipv6_network_count_as_one() -> None:
    gateway = Gateway(api_burst=1, api_rate_per_s=0.001)
    statuses = [
        (await gateway.ask("GET", "/v1/nodes", client=client)).status_code
        for client in (
            "2001:db8::1",
            "2001:db8::2",
            "2001:db8:0:1::1",
            "::ffff:10.0.0.1",
            "::ffff:10.0.0.2",
        )
    ]
    assert statuses == [200, 429, 200, 200, 200]


async def test_guessing_tokens_has_its_limit_and_costs_others_nothing() -> None:
    gateway = Gateway(api_burst=2, api_rate_per_s=0.001)
    statuses = [(await gateway.ask("GET", "/v1/nodes", new_token())).status_code for _ in range(4)]
    assert statuses == [401, 401, 429, 429]
    assert (await gateway.ask("GET", "/v1/nodes")).status_code == 200


async def test_asking_for_what_one_may_not_do_has_its_limit() -> None:
    gateway = Gateway(api_burst=2, api_rate_per_s=0.001)
    statuses = [(await gateway.ask("DELETE", "/v1/nodes/a")).status_code for _ in range(4)]
    assert statuses == [403, 403, 429, 429]


def test_the_memory_for_buckets_is_bounded_and_the_longest_unused_goes() -> None:
    buckets = Buckets(burst=1, per_s=0.001, most=3)
    for key in ("a", "b", "c"):
        assert buckets.take(key, 0.0) == 0
    assert buckets.take("a", 0.0) > 0
    assert buckets.take("d", 0.0) == 0
    assert len(buckets) == 3
    assert buckets.take("a", 0.0) > 0  # used lately: still remembered
    assert buckets.take("b", 0.0) == 0  # forgotten
    for number in range(2 * BUCKETS_MOST):
        buckets.take(number, 0.0)
    assert len(buckets) == 3


# --- how much


async def test_a_body_up_to_the_limit_passes_and_one_byte_more_does_not() -> None:
    gateway = Gateway(api_body_bytes=100)
    assert (await gateway.ask("POST", "/v1/select", content=b"x" * 100)).json()["bytes"] == 100
    answer = await gateway.ask("POST", "/v1/select", content=b"x" * 101)
    assert problem(answer) == (413, "TOO_LARGE")
    assert answer.json()["max_bytes"] == 100


async def test_a_body_announced_as_too_large_is_refused_before_it_is_read() -> None:
    answer = await Gateway(api_body_bytes=100).ask("GET", "/v1/nodes", content=b"x" * 101)
    assert problem(answer) == (413, "TOO_LARGE")


async def test_a_body_in_chunks_is_counted() -> None:
    taken = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 10
            yield b"x" * 10

    answer = await Gateway(api_body_bytes=100).ask("POST", "/v1/select", content=chunks())
    assert problem(answer) == (413, "TOO_LARGE")
    assert taken <= 120


# --- how long


async def test_what_takes_too_long_is_given_up() -> None:
    gateway = Gateway(api_timeout_s=0.05)
    answer = await gateway.ask("GET", "/v1/slow")
    assert problem(answer) == (503, "TIMEOUT")
    assert answer.headers["Retry-After"] == "1"
    await asyncio.wait_for(gateway.ended.wait(), 5)


async def test_a_body_that_never_comes_is_given_up() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    answer = await Gateway(api_timeout_s=0.05).ask("POST", "/v1/select", content=chunks())
    assert problem(answer) == (503, "TIMEOUT")


async def test_half_an_answer_ends_early() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/half",
        "headers": [(b"authorization", f"Bearer {READER}".encode())],
    }
    gateway = Gateway(api_timeout_s=0.5)
    await asyncio.wait_for(gateway.app(scope, receive, send), 5)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[-1]["more_body"]
    assert gateway.counted() == {("/v1/half", "GET", "2xx"): 1}


async def test_an_endpoints_own_time_out_is_not_mistaken_for_ours() -> None:
    assert (await Gateway().ask("GET", "/v1/own")).status_code == 500


async def test_a_stream_may_take_longer() -> None:
    gateway = Gateway(api_timeout_s=0.5)
    gateway.app.state.limit_s = 0.2  # four times that is longer
    assert (await gateway.ask("GET", "/v1/stream")).content == b"...."


# --- what is counted


async def test_requests_are_counted_by_route_method_and_class_of_status() -> None:
    gateway = Gateway(api_burst=20)
    await gateway.ask("GET", "/v1/nodes/a")
    await gateway.ask("GET", "/v1/nodes/b")
    await gateway.ask("GET", "/v1/nodes/c", None)
    await gateway.ask("DELETE", "/v1/nodes/c")
    await gateway.ask("PUT", "/v1/nodes/c", ADMIN)
    await gateway.ask("BREW", "/v1/nodes/c", ADMIN)
    await gateway.ask("GET", "/v1/nothing/here")
    await gateway.ask("GET", "/v1/bug")
    assert gateway.counted() == {
        ("/v1/nodes/{node_id}", "GET", "2xx"): 2,
        ("/v1/nodes/{node_id}", "GET", "4xx"): 1,
        ("/v1/nodes/{node_id}", "DELETE", "4xx"): 1,
        ("/v1/nodes/{node_id}", "PUT", "4xx"): 1,
        ("/v1/nodes/{node_id}", "other", "4xx"): 1,
        ("none", "GET", "4xx"): 1,
        ("/v1/bug", "GET", "5xx"): 1,
    }


async def test_no_token_is_in_the_metrics() -> None:
    gateway = Gateway()
    await gateway.ask("GET", "/v1/nodes")
    await gateway.ask("GET", f"/v1/{READER}?token={READER}")
    await gateway.ask(READER[:20], "/v1/nodes")
    assert READER[:20] not in gateway.metrics.render().decode()
    assert digest(READER) not in gateway.metrics.render().decode()
