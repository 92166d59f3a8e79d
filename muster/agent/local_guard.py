"""Who may use the local API: programs of this machine, and for writes only those of its user.

A browser lets any page send requests to 127.0.0.1. Three things keep them out. `Host` must name
this very address, or a name an attacker points here would be served (DNS rebinding). A page's
`Origin` must be our own page's. And a write needs the token, which lies in a file that only the
user's own programs can read.
"""

from __future__ import annotations

import hmac
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from muster.agent import texts
from muster.wire.errors import Locale

READS = ("GET", "HEAD")
OWN_SITES = ("same-origin", "none")


class RefusedError(Exception):
    """A request that is not served; `values` fill the sentence of its code."""

    def __init__(self, status: int, code: str, **values: Any) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.values = values

    def response(self, locale: Locale) -> Response:
        """RFC 9457 problem details, as the gateway's API answers."""
        body = {
            "type": "about:blank",
            "title": texts.refusal(self.code, locale, **self.values),
            "status": self.status,
            "code": self.code,
        }
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else None
        return JSONResponse(body, self.status, headers, "application/problem+json")


class Guard:
    """ASGI middleware; refuses before anything of the request is read."""

    def __init__(
        self, app: ASGIApp, *, port: int, token: str, token_path: str, locale: Locale
    ) -> None:
        self._app = app
        self._hosts = [f"127.0.0.1:{port}", f"localhost:{port}"]
        if port == 80:
            self._hosts += ["127.0.0.1", "localhost"]
        self._origins = [f"http://{host}" for host in self._hosts]
        self._token = token.encode()
        self._token_path = token_path
        self._locale: Locale = locale

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # nothing else is offered here
        try:
            self._check(scope["method"], Headers(scope=scope))
        except RefusedError as refused:
            await refused.response(self._locale)(scope, receive, _unreadable_elsewhere(send))
            return
        await self._app(scope, receive, _unreadable_elsewhere(send))

    def _check(self, method: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if host.lower() not in self._hosts or len(headers.getlist("host")) != 1:
            raise RefusedError(403, "FOREIGN_HOST", expected=self._hosts[0], got=host or "-")
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins:
            raise RefusedError(403, "FOREIGN_ORIGIN", got=origin)
        site = headers.get("sec-fetch-site", "none")
        opened = headers.get("sec-fetch-mode") == "navigate" and method in READS
        if site not in OWN_SITES and not opened:  # a link may open our page, not load from it
            raise RefusedError(403, "FOREIGN_ORIGIN", got=site)
        if method not in READS:
            self._check_token(headers.get("authorization", ""))

    def _check_token(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise RefusedError(401, "TOKEN_MISSING", path=self._token_path)
        if not hmac.compare_digest(token.strip().encode(), self._token):
            raise RefusedError(401, "TOKEN_WRONG", path=self._token_path)


_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


def _unreadable_elsewhere(send: Send) -> Send:
    """Adds the headers by which browsers keep an answer from other pages and from caches."""

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *_HEADERS]
        await send(message)

    return with_headers
