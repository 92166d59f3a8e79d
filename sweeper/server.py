"""A sweeper's small HTTP side: health, readiness, metrics."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from registry.errors import StoreError
from registry.measuring import CONTENT_TYPE
from sweeper.loop import Sweeper


def application(sweeper: Sweeper) -> Starlette:
    """`/healthz` (this process), `/readyz` (the store answers, the loop turns), `/metrics`."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        checks = {"loop": sweeper.alive, "store": True}
        try:
            await sweeper.registry.ping()
        except StoreError:
            checks["store"] = False
        ready = all(checks.values())
        return JSONResponse({"ready": ready, "checks": checks}, 200 if ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(sweeper.metrics.render(), media_type=CONTENT_TYPE)

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )
