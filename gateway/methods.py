"""What a path answers whatever the method: those it knows, HEAD and OPTIONS beside them."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.problem import ProblemError


class Methods:
    """An ASGI application that answers for one path, whatever the method."""

    def __init__(self, methods: Iterable[str]) -> None:
        known = set(methods)
        self._allow = ", ".join(
            sorted(known | {"OPTIONS"} | ({"HEAD"} if "GET" in known else set()))
        )
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        method = "GET" if request.method == "HEAD" else request.method
        if method == "OPTIONS":
            response = Response(status_code=204, headers={"Allow": self._allow})
        elif method not in self._known:
            title = f"{request.method} is not known here; {self._allow} are"
            problem = ProblemError(405, "METHOD_NOT_ALLOWED", title, {"Allow": self._allow})
            response = problem.response()
        else:
            response = await self.answer(method, request)
        await response(scope, receive, send)

    async def answer(self, method: str, request: Request) -> Response:
        """Answers a method that is known."""
        raise NotImplementedError
