"""The fleet in numbers."""

from __future__ import annotations

from gateway.api import asking
from gateway.api.endpoint import Call
from registry.overview import Overview


async def show_fleet(call: Call) -> Overview:
    return await call.registry.overview(asking.scope(call.who))
