"""From the table of endpoints to routes: one for each path, which knows all of its methods."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Mapping
from functools import cache

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.access import require
from gateway.api import arguments
from gateway.api.endpoint import LAST_EVENT_ID, Call, Endpoint
from gateway.api.openapi import document
from gateway.api.page import Page, page
from gateway.api.shortfalls import Shortfalls
from gateway.api.streaming import EventStream
from gateway.api.table import TABLE
from gateway.guard import still_admitted, without_time_limit
from gateway.methods import Methods
from gateway.metrics import Metrics
from gateway.problem import ProblemError
from gateway.settings import GatewaySettings
from muster.wire import asyncapi
from muster.wire.errors import pick_locale
from registry.base import ms
from registry.errors import StoreUnavailable
from registry.logs import log

logger = logging.getLogger("muster.gateway")


def routes(settings: GatewaySettings, metrics: Metrics) -> list[Route]:
    """The API's routes; the application's state must hold `registry`, `tail` and `standing` once it
    serves."""
    shortfalls = Shortfalls()
    paths: dict[str, list[Endpoint]] = {}
    for endpoint in TABLE:
        paths.setdefault(endpoint.path, []).append(endpoint)
    asks_for_tokens = bool(settings.api_tokens or settings.api_tokens_file)
    described = _described(asks_for_tokens, ms(settings.hold_most_s))
    read = _read()
    return [
        Route("/openapi.json", _Fixed(described, {"Content-Type": "application/json"})),
        Route("/asyncapi.json", _Fixed(_of_sockets(), {"Content-Type": "application/json"})),
        Route("/docs", _Fixed(read.html, read.headers)),
        *(
            Route(path, _Path(found, settings, shortfalls, metrics))
            for path, found in paths.items()
        ),
    ]


@cache
def _described(asks_for_tokens: bool, hold_most_ms: int) -> bytes:
    return msgspec.json.encode(
        document(TABLE, asks_for_tokens=asks_for_tokens, hold_most_ms=hold_most_ms)
    )


@cache
def _of_sockets() -> bytes:
    return msgspec.json.encode(asyncapi.document())


@cache
def _read() -> Page:
    return page(TABLE)


class _Fixed(Methods):
    """What was made when the process started."""

    def __init__(self, content: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(["GET"])
        self._content = content
        self._headers = headers

    async def answer(self, method: str, request: Request) -> Response:
        return Response(self._content, headers=dict(self._headers))


class _Path(Methods):
    """The endpoints of one path."""

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        settings: GatewaySettings,
        shortfalls: Shortfalls,
        metrics: Metrics,
    ) -> None:
        self._endpoints = {endpoint.method: endpoint for endpoint in endpoints}
        super().__init__(self._endpoints)
        self._settings = settings
        self._shortfalls = shortfalls
        self._metrics = metrics

    async def answer(self, method: str, request: Request) -> Response:
        endpoint = self._endpoints[method]
        try:
            call = await self._call(endpoint, request)
            if endpoint.streams and request.method == "HEAD":
                return EventStream.head()
            found = await endpoint.handler(call)
            if found is None:
                return Response(status_code=204)
            if isinstance(found, Response):
                return found
            return Response(msgspec.json.encode(found), media_type="application/json")
        except (ProblemError, StoreUnavailable):
            raise
        except ClientDisconnect:
            return Response(status_code=400)  # Nobody is there to read it.
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end the connection
            return _bug(endpoint, error)

    async def _call(self, endpoint: Endpoint, request: Request) -> Call:
        """Who asks what. Raises ProblemError."""
        who = require(request, endpoint.role)
        if not endpoint.timed:
            without_time_limit(request)
        query = arguments.query(endpoint.query, request.query_params.multi_items())
        body = None
        if endpoint.body is not None:
            body = arguments.body(endpoint.body, await request.body())
        return Call(
            who=who,
            registry=request.app.state.registry,
            settings=self._settings,
            shortfalls=self._shortfalls,
            locale=pick_locale(request.headers.get("accept-language"), self._settings.locale),
            path=request.path_params,
            query=query,
            body=body,
            tail=request.app.state.tail,
            metrics=self._metrics,
            standing=request.app.state.standing,
            last_event_id=request.headers.get(LAST_EVENT_ID),
            still_admitted=lambda: still_admitted(request),
        )


def _bug(endpoint: Endpoint, error: Exception) -> Response:
    trace_id = secrets.token_hex(8)
    log(
        logger,
        logging.ERROR,
        "request_failed",
        endpoint=endpoint.title,
        trace_id=trace_id,
        exc_info=error,
    )
    title = "an internal error; the gateway's log tells more under this trace_id"
    return ProblemError(500, "INTERNAL_ERROR", title, trace_id=trace_id).response()
