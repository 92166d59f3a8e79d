"""What operators do: drain, resume, take off, label; to one node or to all that a filter shows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from gateway.access import Principal
from gateway.api import answers, asking
from gateway.api.endpoint import Call
from gateway.api.nodes import NOT_FOUND, id_of, not_found, seen
from gateway.api.questions import (
    BulkBody,
    BulkDrain,
    BulkLabel,
    BulkRemove,
    BulkResume,
    DrainBody,
    LabelsBody,
    ReasonQuery,
    ResumeBody,
)
from gateway.problem import BadParameterError, ProblemError
from registry.errors import Contended, StoreUnavailable
from registry.labels import LabelError, TooManyLabels, check

BULK_SHOWN = 1000
_PAGE = 1000
_AT_ONCE = 16


async def drain(call: Call) -> answers.Done:
    body: DrainBody = call.body
    node_id = await _own(call)
    if not await call.registry.drain(node_id, call.who.name, body.reason, body.timeout_s):
        raise await not_found(call, node_id)
    return answers.Done(node_id, changed=True)


async def resume(call: Call) -> answers.Done:
    body: ResumeBody = call.body
    node_id = await _own(call)
    changed = await call.registry.resume(node_id, call.who.name, body.reason)
    if not changed:
        await seen(call, node_id)
    return answers.Done(node_id, changed)


async def remove(call: Call) -> None:
    query: ReasonQuery = call.query
    node_id = await _own(call)
    if not await call.registry.remove(node_id, call.who.name, query.reason):
        raise await not_found(call, node_id)


async def label(call: Call) -> answers.LabelsInForce:
    body: LabelsBody = call.body
    _refuse_changes(call.who, body.labels)
    node_id = await _own(call)
    try:
        labels = await call.registry.label(node_id, body.labels, call.who.name, body.reason)
    except TooManyLabels as error:
        raise ProblemError(409, "TOO_MANY_LABELS", str(error)) from error
    if labels is None:
        raise await not_found(call, node_id)
    return answers.LabelsInForce(node_id, labels)


async def bulk(call: Call) -> answers.BulkDone:
    body: BulkBody = call.body
    if isinstance(body, BulkLabel):
        _refuse_changes(call.who, body.labels)
    ids = await _matching(call, body)
    failed: list[answers.Failure] = []
    done = 0
    if not body.dry_run:
        act = _action(call, body)
        for code, node_id in zip(await _each(ids, act), ids, strict=True):
            done += code == ""
            if code and len(failed) < BULK_SHOWN:
                failed.append(answers.Failure(node_id, code))
    return answers.BulkDone(len(ids), done, failed, ids[:BULK_SHOWN], body.dry_run)


async def _matching(call: Call, body: BulkBody) -> list[str]:
    wanted = asking.meant(body.filter, call.who)
    ids: list[str] = []
    cursor: str | None = None
    while True:
        found, cursor = await call.registry.listed(wanted, _PAGE, cursor)
        ids += [subject.node_id for subject in found]
        if cursor is None:
            return ids


def _action(call: Call, body: BulkBody) -> Callable[[str], Awaitable[bool | None]]:
    """What is done to one node; False where there is no such node any more, None where there was
    nothing to do."""
    registry, who, why = call.registry, call.who.name, body.reason

    async def act(node_id: str) -> bool | None:
        match body:
            case BulkDrain():
                return await registry.drain(node_id, who, why, body.timeout_s)
            case BulkResume():
                return await registry.resume(node_id, who, why) or None
            case BulkRemove():
                return await registry.remove(node_id, who, why)
            case BulkLabel():
                return await registry.label(node_id, body.labels, who, why) is not None

    return act


async def _each(
    ids: Sequence[str], act: Callable[[str], Awaitable[bool | None]]
) -> list[str | None]:
    """Does it to each, a few at once; for each '' or the code of what was in the way, or None
    where there was nothing to do."""
    codes: list[str | None] = [""] * len(ids)
    said = {True: "", False: NOT_FOUND, None: None}
    places = iter(range(len(ids)))
    away = False

    async def work() -> None:
        nonlocal away
        for place in places:
            try:
                # Once the store is away, each try would wait as long as the first.
                codes[place] = "UNAVAILABLE" if away else said[await act(ids[place])]
            except TooManyLabels:
                codes[place] = "TOO_MANY_LABELS"
            except Contended:
                codes[place] = "UNAVAILABLE"
            except StoreUnavailable:
                away = True
                codes[place] = "UNAVAILABLE"

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    return codes


async def _own(call: Call) -> str:
    """The id of the node asked for. An asker with an owner must be able to see it; for others the
    action itself tells whether it is there."""
    node_id = id_of(call)
    if call.who.owner is not None:
        await seen(call, node_id)
    return node_id


def _refuse_changes(who: Principal, changes: Mapping[str, str | None]) -> None:
    """What can be no label; and who sees by owner may not give machines away, nor take any."""
    try:
        check(changes)
    except LabelError as error:
        raise BadParameterError(f"labels.{error.name[:64]}", error.expected) from None
    if who.owner is not None and asking.OWNER in changes:
        title = f"{who.name} sees nodes by their label {asking.OWNER} and may not change it"
        raise ProblemError(403, "FORBIDDEN", title, parameter=f"labels.{asking.OWNER}")
