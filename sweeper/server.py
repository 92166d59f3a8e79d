"""A sweeper's small HTTP side: health, readiness, metrics."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from registry.errors import StoreError
from registry.measuring import CONTENT_TYPE
from sweeper.loop import Sweeper


async def checks(sweeper: Sweeper) -> dict[str, bool]:
    """What readiness rests on: the loop turns, the store answers."""
    found = {"loop": sweeper.alive, "store": True}
    try:
        await sweeper.registry.ping()
    except StoreError:
        found["store"] = False
    return found


def application(sweeper: Sweeper) -> Starlette:
    """`/healthz` (this process), `/readyz` (the store answers, the loop turns), `/metrics`."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        found = await checks(sweeper)
        ready = all(found.values())
        return JSONResponse({"ready": ready, "checks": found}, 200 if ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(sweeper.metrics.render(), media_type=CONTENT_TYPE)

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )
