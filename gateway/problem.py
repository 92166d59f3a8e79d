"""Errors of the HTTP API: RFC 9457 problem details with a `code` programs can rely on."""

from __future__ import annotations

import random
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from registry.errors import Contended


class ProblemError(Exception):
    """An HTTP request can't be served as asked. `more` are members of the document, whose `type`
    leads to what the page at /docs says of the code."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> None:
        super().__init__(title)
        self.status = status
        self.code = code
        self.title = title
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> Response:
        body = {
            "type": f"/docs#{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            **self.more,
        }
        return _Answer(self.code, body, self.status, self.headers)


class _Answer(JSONResponse):
    """Leaves its code at the request, for whoever counts."""

    media_type = "application/problem+json"

    def __init__(self, code: str, body: object, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(body, status, headers)
        self._code = code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["problem"] = self._code
        await super().__call__(scope, receive, send)


RETRY_AFTER_S = (2, 10)
"""The shortest and longest pause that is asked of those for whom there is no place."""


def overloaded(title: str) -> ProblemError:
    """There is no place now. The pause is drawn anew each time, so that those who are sent away
    do not come back together."""
    wait_s = random.randint(*RETRY_AFTER_S)
    headers = {"Retry-After": str(wait_s)}
    return ProblemError(503, "OVERLOADED", title, headers, retry_after_ms=wait_s * 1000)


class BadParameterError(ProblemError):
    """A parameter is not what it must be; `parameter` names it, `nearest` what may be meant."""

    def __init__(self, parameter: str, expected: str, nearest: str | None = None) -> None:
        title = f"{parameter}: expected {expected}"
        more = {"parameter": parameter, "expected": expected}
        if nearest is not None:
            title += f"; did you mean {nearest}?"
            more["did_you_mean"] = nearest
        super().__init__(400, "INVALID_PARAMETER", title, None, **more)


async def on_problem(_: Request, error: Exception) -> Response:
    """Answers a request that failed as foreseen."""
    assert isinstance(error, ProblemError)
    return error.response()


async def on_http(_: Request, error: Exception) -> Response:
    """Answers for paths nobody knows, and methods a path does not know."""
    assert isinstance(error, HTTPException)
    code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}[error.status_code]
    return ProblemError(error.status_code, code, error.detail, error.headers).response()


async def on_store_away(_: Request, error: Exception) -> Response:
    """Answers a request while the store can't be asked, or can't be kept up with."""
    title = "the store can't be asked right now"
    if isinstance(error, Contended):
        title = "the record changes faster than it can be read; try again"
    return ProblemError(503, "UNAVAILABLE", title, {"Retry-After": "1"}).response()
