"""Looking at everything the doctor judges."""

from __future__ import annotations

import asyncio
import time

from gateway import descriptors
from gateway.api.endpoint import Call
from gateway.examining import Diagnosis, Seen, diagnosis
from gateway.problem import ProblemError
from registry.base import ms
from registry.problems import problems_of


async def examine(call: Call) -> Diagnosis:
    """Raises ProblemError for a token with an owner: this is about everybody's system."""
    if call.who.owner is not None:
        title = f"{call.who.name} sees nodes of one owner; the doctor looks at the whole system"
        raise ProblemError(403, "FORBIDDEN", title)
    registry = call.registry
    # This machine's own clock, which decides nothing: how far it is off is what is looked at.
    began = time.time()
    now = await registry.synchronise()
    here = (began + time.time()) / 2
    infos, user, (gateways, sweepers), watch = await asyncio.gather(
        registry.store.info(), registry.store.user(), registry.alive(), registry.watched()
    )
    seen = Seen(
        now=now,
        skew_ms=ms(here) - now,
        problems=problems_of(infos, single=registry.store.single),
        infos=infos,
        user=user,
        gateways=gateways,
        sweepers=sweepers,
        watch=watch,
        gap_ms=ms(call.settings.unobserved_gap_s),
        standing=call.standing.checks(),
        refused=call.standing.refused(),
        secret=bool(call.settings.secret),
        open_api=call.settings.open_api,
        turned_away=call.metrics.turned_away(),
        descriptors=(descriptors.used(), descriptors.most()),
    )
    return diagnosis(call.standing.gateway_id, seen)
