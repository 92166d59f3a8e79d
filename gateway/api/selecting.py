"""Finding a machine for a job, and giving back a place that was held."""

from __future__ import annotations

import msgspec

from gateway.api import answers, asking
from gateway.api.endpoint import Call
from gateway.api.nodes import seen
from gateway.api.questions import NeedsBody, SelectBody
from gateway.clock import monotonic
from gateway.problem import BadParameterError, ProblemError
from registry.base import ms
from registry.holding import node_of
from registry.once import RequestReused
from registry.requirement import Requirement
from registry.surveying import Shortfall


async def select(call: Call) -> answers.Selection:
    body: SelectBody = call.body
    most = ms(call.settings.hold_most_s)
    if body.hold_ms > most:
        raise BadParameterError("hold_ms", f"a whole number from 0 to {most}")
    wanted = asking.wanted(body, call.settings, call.who)
    began, result = monotonic(), "failed"
    try:
        found = await call.registry.select(
            wanted,
            body.limit,
            hold_ms=body.hold_ms,
            request_id=body.request_id or "",
            asker=call.who.name,
        )
    except RequestReused as error:
        title = f"the request_id {body.request_id} was used for another request"
        raise ProblemError(409, "REQUEST_ID_REUSED", title) from error
    else:
        result = "found" if found else "nobody"
    finally:
        call.metrics.select_seconds.labels(result).observe(monotonic() - began)
    if not found:
        raise await _nobody(call, wanted)
    call.metrics.holds.labels("taken").inc(sum(bool(each.hold_id) for each in found))
    return answers.selection(found)


async def try_selection(call: Call) -> answers.Trial:
    """Counts nothing in the metrics: nobody was refused a machine."""
    body: NeedsBody = call.body
    found = await _shortfall(call, asking.wanted(body, call.settings, call.who))
    now = await call.registry.synchronise()
    return answers.trial(found, _total(call, found), now)


async def release_hold(call: Call) -> None:
    hold_id = call.path["hold_id"]
    missing = ProblemError(404, "HOLD_NOT_FOUND", "there is no such hold, or no more")
    node_id = node_of(hold_id)
    if node_id is None:
        raise missing
    if call.who.owner is not None:
        try:
            await seen(call, node_id)
        except ProblemError:
            raise missing from None
    if not await call.registry.release_hold(hold_id):
        raise missing
    call.metrics.holds.labels("released").inc()


async def _nobody(call: Call, wanted: Requirement) -> ProblemError:
    """Says why nobody fits, and who nearly does."""
    found = await _shortfall(call, wanted)
    lacked = max(found.counts, key=found.counts.__getitem__, default="no_nodes")
    call.metrics.empty_selections.labels(lacked).inc()
    return ProblemError(
        404,
        "NO_AVAILABLE_NODE",
        "no ready, live node can do this now",
        reasons=found.counts,
        examined=found.examined,
        total=_total(call, found),
        sampled=found.sampled,
        nearest=[msgspec.to_builtins(answers.near(miss)) for miss in found.nearest],
    )


async def _shortfall(call: Call, wanted: Requirement) -> Shortfall:
    """Over the nodes that the asker may know of."""
    visible = asking.scope(call.who)
    return await call.shortfalls.of(
        (wanted, call.who.owner), lambda: call.registry.shortfall(wanted, visible)
    )


def _total(call: Call, found: Shortfall) -> int:
    """Of a sample, the total counts everybody's machines."""
    return found.total if call.who.owner is None else found.examined
