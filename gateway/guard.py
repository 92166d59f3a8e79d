"""What every request to /v1 passes before an endpoint sees it.

In this order: who asks (`gateway.access`), how often, whether they may, whether there is a place,
how much they send, how long it takes. Who is not known or may not is counted all the same, so that
guessing has its limit.
Everything else, as the node socket, health and metrics, passes by untouched.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from starlette.requests import Request
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.access import Access, Principal, demand, role_needed
from gateway.addresses import neighbourhood
from gateway.clock import monotonic
from gateway.limits import Buckets, Limit
from gateway.metrics import Metrics
from gateway.problem import ProblemError, overloaded
from gateway.settings import GatewaySettings

BUCKETS_MOST = 10_000
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def without_time_limit(request: Request) -> None:
    """Lets this request's answer take as long as it wants; for endpoints that stream."""
    deadline: asyncio.Timeout = request.state.deadline
    deadline.reschedule(None)


def still_admitted(request: Request) -> bool:
    """Whether the same asker would be let in now; for answers that take long."""
    access: Access = request.state.access
    admitted: Principal = request.state.principal
    try:
        return access.who(request.scope) == admitted
    except ProblemError:
        return False


class Guard:
    """ASGI middleware; endpoints find who asks at `request.state.principal` (Principal)."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        settings: GatewaySettings,
        metrics: Metrics,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._app = app
        self._access = access
        self._body_most = settings.api_body_bytes
        self._timeout_s = settings.api_timeout_s
        self._most = settings.api_requests_most
        self._under_way = 0
        self._metrics = metrics
        self._now = now
        self._buckets = Buckets(settings.api_burst, settings.api_rate_per_s, BUCKETS_MOST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not f"{scope['path']}/".startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            await self._serve(scope, receive, answer)
        except ProblemError as problem:
            if answer.status is not None:
                raise
            await problem.response()(scope, receive, answer)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            status = f"{(answer.status or 500) // 100}xx"
            self._metrics.requests.labels(_template(scope), method, status).inc()
            if problem_told := scope["state"].get("problem"):
                self._metrics.problems.labels(problem_told).inc()

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        state = scope.setdefault("state", {})
        state["principal"] = self._admit(scope)
        state["access"] = self._access
        if self._under_way >= self._most:
            self._metrics.shed.labels(Limit.REQUESTS.value).inc()
            raise overloaded("this gateway answers as many requests as it can; try again later")
        self._under_way += 1
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                state["deadline"] = deadline
                await self._app(scope, _limited(scope, receive, self._body_most), answer)
        except TimeoutError:
            if not deadline.expired():
                raise
            if answer.status is None:
                raise ProblemError(
                    503,
                    "TIMEOUT",
                    f"this took longer than {self._timeout_s:g} s and was given up",
                    {"Retry-After": "1"},
                ) from None
            # Half an answer is out: that it ends early is all that can still be said.
        finally:
            self._under_way -= 1

    def _admit(self, scope: Scope) -> Principal:
        address = neighbourhood((scope.get("client") or ("",))[0])
        try:
            principal = self._access.who(scope)
        except ProblemError:
            self._pace((None, address))
            raise
        self._pace((principal.name, address))
        demand(principal, role_needed(scope["method"], scope["path"]))
        return principal

    def _pace(self, key: tuple[str | None, str]) -> None:
        wait_ms = self._buckets.take(key, self._now())
        if wait_ms:
            raise ProblemError(
                429,
                "RATE_LIMITED",
                "too many requests; wait before the next",
                {"Retry-After": str(math.ceil(wait_ms / 1000))},
                retry_after_ms=wait_ms,
            )


class _Answer:
    """Sends, and remembers the status once it is out."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def _limited(scope: Scope, receive: Receive, most: int) -> Receive:
    """`receive` for a body of at most `most` bytes; one announced as larger is refused at once."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > most:
            raise _too_large(most)
    got = 0

    async def receive_limited() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > most:
            raise _too_large(most)
        return message

    return receive_limited


def _too_large(most: int) -> ProblemError:
    title = f"a request has a body of at most {most} bytes"
    return ProblemError(413, "TOO_LARGE", title, max_bytes=most)


def _template(scope: Scope) -> str:
    """The route's path as it is written in the code; a bounded set."""
    route = scope.get("route")
    if route is None and "app" in scope:
        for candidate in scope["app"].routes:
            if candidate.matches(scope)[0] is not Match.NONE:
                route = candidate
                break
    return getattr(route, "path", "none")
