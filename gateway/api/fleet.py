"""The fleet in numbers."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.api import asking
from gateway.api.endpoint import Call
from registry.overview import Overview


async def show_fleet(call: Call) -> Overview:
    found = await call.registry.overview(asking.scope(call.who))
    if call.who.owner is None:
        return found
    # These count everybody's machines.
    return replace(found, mass_expiry=None, brake=None)
