"""The fleet in numbers, and its brake."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.api import answers, asking
from gateway.api.endpoint import Call
from gateway.api.questions import ResumeBody
from gateway.problem import ProblemError
from registry.overview import Overview


async def show_fleet(call: Call) -> Overview:
    found = await call.registry.overview(asking.scope(call.who))
    if call.who.owner is None:
        return found
    # These count everybody's machines.
    return replace(found, mass_expiry=None, brake=None)


async def release_brake(call: Call) -> answers.Released:
    body: ResumeBody = call.body
    if call.who.owner is not None:
        title = f"{call.who.name} sees nodes of one owner; the brake is the whole fleet's"
        raise ProblemError(403, "FORBIDDEN", title)
    return answers.Released(await call.registry.release_brake(call.who.name, body.reason))
