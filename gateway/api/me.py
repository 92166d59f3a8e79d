"""Who asks: what a page or a program shows, and offers, by."""

from __future__ import annotations

from gateway.api.answers import Me
from gateway.api.endpoint import Call


async def show_me(call: Call) -> Me:
    """Raises StoreUnavailable: the instant is the store's."""
    who = call.who
    now = await call.registry.synchronise()
    return Me(who.name, who.role, who.owner, call.standing.gateway_id, now)
