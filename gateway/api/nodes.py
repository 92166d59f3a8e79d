"""Looking at nodes: a list, one, and why it is as it is."""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec
from msgspec import UNSET

from gateway.api import answers, asking
from gateway.api.endpoint import Call
from gateway.api.questions import NodesQuery, RequirementQuery
from gateway.explaining import Explanation, explain
from gateway.problem import BadParameterError, ProblemError
from muster.wire.bearer import Role
from registry.keys import partition_of
from registry.listing import CursorError, Order
from registry.model import Status
from registry.reading import NodeDetail
from registry.subject import Subject

NOT_FOUND = "NODE_NOT_FOUND"
_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


async def list_nodes(call: Call) -> answers.NodeList:
    query: NodesQuery = call.query
    order = None if query.sort is UNSET else Order.of(query.sort)
    try:
        found, cursor = await call.registry.listed(
            asking.shown(query, call.who), query.limit, query.cursor or None, order
        )
    except CursorError as error:
        raise BadParameterError(
            "cursor", "the cursor of an earlier page of this list, with the same sort"
        ) from error
    return answers.NodeList([answers.row(s, call.settings) for s in found], cursor)


async def show_node(call: Call) -> answers.NodeStory:
    detail = await _detail(call)
    return answers.story(detail, call.settings, for_admin=call.who.role is Role.ADMIN)


async def explain_node(call: Call) -> Explanation:
    query: RequirementQuery = call.query
    # Of the events only the blame for being offline is told.
    detail = await _detail(call, events_in=(Status.OFFLINE,))
    id_ = detail.subject.node_id
    facts = (await call.registry.facts(partition_of(id_), [id_]))[0]
    wanted = asking.asked(query, call.settings)
    return explain(detail, facts, call.settings, call.locale, wanted)


def id_of(call: Call) -> str:
    """The id in the path. Raises ProblemError for what can't be one."""
    node_id = call.path["node_id"]
    if not _NODE_ID.fullmatch(node_id):
        raise ProblemError(404, NOT_FOUND, f"no node has the id {node_id}")
    return node_id


async def seen(call: Call, node_id: str) -> Subject:
    """A node that the asker may know of. Raises ProblemError if there is none of this id."""
    subject = (await call.registry.subjects([node_id]))[0]
    if subject is None or subject.removed or not _may_see(call, subject):
        raise await not_found(call, node_id)
    return subject


async def not_found(call: Call, node_id: str) -> ProblemError:
    """That there is no such node; of one that was taken off, to askers who see every node, who did
    it."""
    by = await call.registry.removal(node_id) if call.who.owner is None else None
    if by is None:
        return ProblemError(404, NOT_FOUND, f"no node has the id {node_id}")
    return ProblemError(
        404,
        NOT_FOUND,
        f"the node {node_id} was taken off the roll",
        removed=msgspec.to_builtins(answers.RemovedBy(by.who, by.why, by.at)),
    )


async def _detail(call: Call, events_in: Collection[str] = tuple(Status)) -> NodeDetail:
    node_id = id_of(call)
    detail = await call.registry.node(node_id, events_in)
    if detail is None or not _may_see(call, detail.subject):
        raise await not_found(call, node_id)
    return detail


def _may_see(call: Call, subject: Subject) -> bool:
    return call.who.owner is None or subject.label(asking.OWNER) == call.who.owner
