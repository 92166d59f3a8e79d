"""Looking at everything the doctor judges."""

from __future__ import annotations

import asyncio
import time

from gateway import descriptors
from gateway.api.endpoint import Call
from gateway.examining import Diagnosis, Seen, StoreSeen, diagnosis
from gateway.problem import ProblemError
from registry.base import ms
from registry.errors import StoreUnavailable
from registry.problems import problems_of
from registry.registry import Registry

_PATIENCE_S = 3.0


async def examine(call: Call) -> Diagnosis:
    """Raises ProblemError for a token with an owner: this is about everybody's system."""
    if call.who.owner is not None:
        title = f"{call.who.name} sees nodes of one owner; the doctor looks at the whole system"
        raise ProblemError(403, "FORBIDDEN", title)
    standing = call.standing
    seen = Seen(
        # Less than the answer may take, so that it can still be given.
        store=await _store(call.registry, min(_PATIENCE_S, call.settings.api_timeout_s / 2)),
        now=call.registry.clock.now_ms(),
        gap_ms=ms(call.settings.unobserved_gap_s),
        standing=standing.checks(),
        refused=standing.refused(),
        secret=bool(call.settings.secret),
        open_api=call.settings.open_api,
        turned_away=call.metrics.turned_away(),
        descriptors=(descriptors.used(), descriptors.most()),
    )
    return diagnosis(standing.gateway_id, seen)


async def _store(registry: Registry, patience_s: float) -> StoreSeen | str:
    """What the store says, or why it says nothing: that is when the doctor is asked most."""
    try:
        async with asyncio.timeout(patience_s):
            return await _asked(registry)
    except TimeoutError:
        return f"no answer within {patience_s:g} s"
    except StoreUnavailable as error:
        return str(error)


async def _asked(registry: Registry) -> StoreSeen:
    # This machine's own clock, which decides nothing: how far it is off is what is looked at.
    began = time.time()
    now = await registry.synchronise()
    here = (began + time.time()) / 2
    infos, user, (gateways, sweepers), watch = await asyncio.gather(
        registry.store.info(), registry.store.user(), registry.alive(), registry.watched()
    )
    return StoreSeen(
        skew_ms=ms(here) - now,
        problems=problems_of(infos, single=registry.store.single),
        infos=infos,
        user=user,
        gateways=gateways,
        sweepers=sweepers,
        watch=watch,
    )
