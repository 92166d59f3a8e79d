"""The ASGI application: the node socket, health, metrics, the HTTP API and the pages."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from gateway.access import Access
from gateway.api.routing import routes
from gateway.connection import Connection
from gateway.door import Door
from gateway.gate import Gate
from gateway.guard import Guard
from gateway.metrics import Metrics
from gateway.origins import Origins
from gateway.pages import routing as pages
from gateway.problem import ProblemError, on_http, on_problem, on_store_away
from gateway.settings import GatewaySettings
from gateway.transport import Transport
from muster.wire.codec import JSON, MSGPACK
from muster.wire.errors import pick_locale
from registry.errors import StoreError, StoreUnavailable
from registry.logs import log
from registry.measuring import CONTENT_TYPE
from registry.registry import Registry

logger = logging.getLogger("muster.gateway")


class FatalProblemError(Exception):
    """The store is set up so that the registry can't keep its promises."""


def make_app(settings: GatewaySettings) -> Starlette:
    """The application of one gateway; its parts live from start to stop of the lifespan.

    Raises SettingsError if the API's tokens can't be read.
    """
    access = Access(settings)
    measured = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        registry = await Registry.connect(settings)
        await _examine(registry)
        # Connections of its own for HTTP: however many ask, nodes' beats find theirs free.
        asked = await Registry.connect(settings)
        gate = Gate(settings, registry, asked, measured)
        app.state.gate = gate
        app.state.registry = asked
        app.state.tail = gate.tail
        app.state.standing = gate.standing
        hub = gate.services.hub
        door = Door(settings, measured, lambda: len(hub), gate.clock.observed)
        await gate.start()
        access.announce()
        try:
            yield {
                "stall_clock": gate.clock,
                "buffers": gate.buffers,
                "door": door,
                "origins": Origins(settings),
                "certified": bool(settings.tls_client_ca_file),
            }
        finally:
            await gate.stop()
            await asked.close()

    app = Starlette(
        lifespan=lifespan,
        routes=[
            WebSocketRoute("/ws/node", NodeSocket()),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            *routes(settings, measured),
            *pages.routes(),
        ],
        middleware=[Middleware(Guard, access=access, settings=settings, metrics=measured)],
        exception_handlers={
            ProblemError: on_problem,
            StoreUnavailable: on_store_away,
            HTTPException: on_http,
        },
    )
    # A redirect would lose the body of a POST, and hide that the path is not the documented one.
    app.router.redirect_slashes = False
    app.state.metrics = measured
    return app


async def _examine(registry: Registry) -> None:
    """Says what is wrong with the store; refuses to start on what can't work."""
    try:
        problems = await registry.problems()
    except StoreError as error:
        log(logger, logging.WARNING, "store_not_examined", error=str(error))
        return
    for problem in problems:
        fatal = problem.severity == "fatal"
        log(
            logger,
            logging.ERROR if fatal else logging.WARNING,
            "store_problem",
            what=problem.what,
            fix=problem.fix,
        )
    fatal_ones = [p for p in problems if p.severity == "fatal"]
    if fatal_ones:
        raise FatalProblemError("; ".join(f"{p.what}: {p.fix}" for p in fatal_ones))


class NodeSocket:
    """`/ws/node`: one node's socket, from upgrade to close. An ASGI application by itself, as every
    coroutine between Starlette's router and the conversation lives as long as the socket."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        gate: Gate = websocket.app.state.gate
        transport: Transport = scope["extensions"]["muster"]
        codec = MSGPACK if MSGPACK.subprotocol in scope["subprotocols"] else JSON
        await websocket.accept(subprotocol=codec.subprotocol)
        connection = Connection(
            gate.services,
            transport,
            codec,
            locale=pick_locale(websocket.headers.get("accept-language"), gate.settings.locale),
            admitted=gate.services.join_tokens.admits(websocket.headers, scope["query_string"]),
            address=websocket.client.host if websocket.client else "",
        )
        scope["headers"].clear()  # read, and kept by nobody while the socket lives
        websocket.state.door.meet(transport.key, connection)
        gate.sockets.add(connection)
        gate.metrics.opened.inc()
        try:
            if gate.draining:
                connection.reconnect(0, "restarting")
            await connection.run(transport.receive)
        finally:
            gate.sockets.discard(connection)
            gate.metrics.ended.inc()


async def healthz(_: Request) -> Response:
    """This process only."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Whether sockets should come here: store reachable, subscribed, not draining."""
    gate: Gate = request.app.state.gate
    found = await gate.checks()
    ready = all(found["checks"].values())
    return JSONResponse(
        {"ready": ready, "gateway": gate.gateway_id, **found}, 200 if ready else 503
    )


async def metrics(request: Request) -> Response:
    """Prometheus text."""
    gate: Gate = request.app.state.gate
    return PlainTextResponse(gate.measure(), media_type=CONTENT_TYPE)
