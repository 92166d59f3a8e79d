"""One value for each thing a gateway can be asked: what is sent, what comes back, and whether it
may be sent twice. Sync and async clients send the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from muster.client import asking
from muster.client.answers import (
    BulkDone,
    Diagnosis,
    Done,
    Explanation,
    Fleet,
    Labels,
    Me,
    NodePage,
    NodeStory,
    Released,
    Selection,
    Trial,
)
from muster.client.asking import Filter, Requirement, Sort, Wanted

T = TypeVar("T")

PAGE_MOST = 1000
BULK_MOST_S = 3600.0
"""Only a gateway that died without a word is silent for so long."""
Action = Literal["drain", "resume", "remove", "label"]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request whose answer is read as `answer`; None where there is no body.

    `repeatable` may be sent again though an earlier try may have been carried out; then a problem
    with one of the codes `so_already` means that it was. `silence_most_s` is how long nothing may
    come before it is given up, where that is not the client's time-out.
    """

    method: str
    path: str
    answer: type[T] | None
    query: Sequence[tuple[str, str]] = ()
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False
    so_already: tuple[str, ...] = ()
    silence_most_s: float | None = None


def select(wanted: Wanted, limit: int, hold_ms: int, request_id: str) -> Call[Selection]:
    """Finds machines for a job. The request's id makes it repeatable."""
    more = {"limit": limit, "hold_ms": hold_ms, "request_id": request_id}
    body = asking.body(wanted) | more
    return Call("POST", "/v1/select", Selection, body=body, repeatable=True)


def try_selection(wanted: Wanted) -> Call[Trial]:
    """Who would be selected, and why the others would not."""
    return Call("POST", "/v1/select/explain", Trial, body=asking.body(wanted), repeatable=True)


def release(hold_id: str) -> Call[None]:
    """Gives a held place back."""
    path = f"/v1/holds/{quote(hold_id, safe='~')}"
    return Call("DELETE", path, None, repeatable=True)


def nodes(
    which: Filter, sort: Sort | None, limit: int, cursor: str | None, *, snapshot: bool = False
) -> Call[NodePage]:
    """A page of the list."""
    query = asking.query(which)
    if snapshot:
        query.append(("snapshot", "1"))
    if sort is not None:
        query.append(("sort", sort))
    query.append(("limit", str(limit)))
    if cursor is not None:
        query.append(("cursor", cursor))
    return Call("GET", "/v1/nodes", NodePage, query, repeatable=True)


def node(node_id: str) -> Call[NodeStory]:
    """One node."""
    return Call("GET", _node(node_id), NodeStory, repeatable=True)


def explain(node_id: str, locale: str, wanted: Requirement) -> Call[Explanation]:
    """Why a node is given no work."""
    path = f"{_node(node_id)}/explain"
    spoken = {"Accept-Language": locale}
    return Call("GET", path, Explanation, asking.query(wanted), headers=spoken, repeatable=True)


def fleet() -> Call[Fleet]:
    """The fleet in numbers."""
    return Call("GET", "/v1/fleet", Fleet, repeatable=True)


def me() -> Call[Me]:
    """Who asks."""
    return Call("GET", "/v1/me", Me, repeatable=True)


def doctor() -> Call[Diagnosis]:
    """What is not well."""
    return Call("GET", "/v1/doctor", Diagnosis, repeatable=True)


def release_brake(reason: str) -> Call[Released]:
    """Lets go of the offline brake."""
    return Call("POST", "/v1/fleet/release-brake", Released, body={"reason": reason})


def drain(node_id: str, reason: str, timeout_s: float | None) -> Call[Done]:
    """Gives a node no more work."""
    body = {"reason": reason} | ({} if timeout_s is None else {"timeout_s": timeout_s})
    return Call("POST", f"{_node(node_id)}/drain", Done, body=body)


def resume(node_id: str, reason: str) -> Call[Done]:
    """Ends an operator's drain."""
    return Call("POST", f"{_node(node_id)}/resume", Done, body={"reason": reason})


def remove(node_id: str, reason: str) -> Call[None]:
    """Takes a node off the roll."""
    query = [("reason", reason)]
    gone = ("NODE_NOT_FOUND",)
    return Call("DELETE", _node(node_id), None, query, repeatable=True, so_already=gone)


def label(node_id: str, labels: Mapping[str, str | None], reason: str) -> Call[Labels]:
    """Changes an operator's labels."""
    body = {"labels": dict(labels), "reason": reason}
    return Call("PATCH", f"{_node(node_id)}/labels", Labels, body=body)


def bulk(
    action: Action,
    which: Filter,
    reason: str,
    *,
    every: bool,
    dry_run: bool,
    timeout_s: float | None,
    labels: Mapping[str, str | None] | None,
) -> Call[BulkDone]:
    """Does the same to all that a filter shows, however long that takes. Only a dry run is
    repeatable."""
    body: dict[str, Any] = {"action": action, "reason": reason, "dry_run": dry_run}
    if which:
        body["filter"] = asking.body(which)
    if every:
        body["all"] = True
    if timeout_s is not None:
        body["timeout_s"] = timeout_s
    if labels is not None:
        body["labels"] = dict(labels)
    return Call(
        "POST",
        "/v1/bulk",
        BulkDone,
        body=body,
        repeatable=dry_run,
        silence_most_s=BULK_MOST_S,
    )


def _node(node_id: str) -> str:
    return f"/v1/nodes/{quote(node_id, safe='')}"


def new_request_id() -> str:
    """An id that no other request has."""
    return str(uuid.uuid4())
