"""Events as they are shown, and as frames of a stream of server-sent events."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from gateway.ring import Entry
from registry.base import number
from registry.cursor import Cursor
from registry.events import Event, EventType
from registry.tailing import Loss

EndReason = Literal["gateway_stopping", "slow_reader", "access_changed", "up_to_date"]
_ADDRESSES = ("address", "boot_id", "holder_address", "holder_boot_id")
"""Where machines connect from and how they call themselves: for admins."""


def _about(description: str) -> Meta:
    return Meta(description=description)


class EventShown(Struct, frozen=True, kw_only=True):
    """Something that happened to a node, or to the fleet. What does not apply is left out."""

    type: EventType
    at: int
    node_id: str | UnsetType = UNSET
    from_: Annotated[str, _about("The status before.")] | UnsetType = field(
        name="from", default=UNSET
    )
    to: Annotated[str, _about("The status after; the same if it did not change.")] | UnsetType = (
        UNSET
    )
    reason: str | UnsetType = UNSET
    version: Annotated[int, _about("Orders the changes of a node's status.")] | UnsetType = UNSET
    evidence: Annotated[dict[str, Any], _about("What the change rests on.")] | UnsetType = UNSET
    gateway: str | UnsetType = UNSET
    who: Annotated[str, _about("The operator.")] | UnsetType = UNSET
    why: str | UnsetType = UNSET
    timeout_ms: Annotated[int, _about("How long its jobs may take.")] | UnsetType = UNSET
    changes: (
        Annotated[dict[str, str | None], _about("Labels set, or (null) taken away.")] | UnsetType
    ) = UNSET
    labels: Annotated[dict[str, str], _about("In force, then.")] | UnsetType = UNSET
    former_labels: (
        Annotated[dict[str, str], _about("In force before, if this changed them.")] | UnsetType
    ) = UNSET
    detail: dict[str, Any] | UnsetType = UNSET
    address: Annotated[str, _about("Where it connected from; for admins.")] | UnsetType = UNSET
    boot_id: Annotated[str, _about("Of the machine's program; for admins.")] | UnsetType = UNSET


class GapShown(Struct, frozen=True, kw_only=True):
    """Events were lost to this reader: list the nodes; the stream goes on from `cursor`."""

    type: Literal["gap"] = field(default_factory=lambda: "gap")
    reason: Loss
    cursor: str


class EndShown(Struct, frozen=True, kw_only=True):
    """The last of a stream that the gateway ends. Unless it is `up_to_date`, ask again, at any
    gateway, with `cursor`; without one, as you asked."""

    type: Literal["end"] = field(default_factory=lambda: "end")
    reason: EndReason
    cursor: str | UnsetType = UNSET


def shown(event: Event, *, for_admin: bool) -> EventShown:
    """An event as this reader may see it."""
    plain = event.fields
    before, after = event.statuses
    detail = event.opened("detail")
    if isinstance(detail, dict) and not for_admin:
        detail = {name: value for name, value in detail.items() if name not in _ADDRESSES}
    former = event.former_labels
    return EventShown(
        type=event.type,  # type: ignore[arg-type]  # a newer version's is passed on as it is
        at=event.at,
        node_id=event.node_id or UNSET,
        from_=before or UNSET,
        to=after or UNSET,
        reason=plain.get("reason") or UNSET,
        version=number(plain["version"]) if "version" in plain else UNSET,
        evidence=_or_unset(event.opened("evidence")),
        gateway=plain.get("gateway") or UNSET,
        who=plain.get("who") or UNSET,
        why=plain.get("why") or UNSET,
        timeout_ms=number(plain["timeout"]) if "timeout" in plain else UNSET,
        changes=_or_unset(event.opened("labels")),
        labels=dict(event.labels) or UNSET,
        former_labels=UNSET if former is None else dict(former),
        detail=_or_unset(detail),
        address=(for_admin and plain.get("address")) or UNSET,
        boot_id=(for_admin and plain.get("boot_id")) or UNSET,
    )


def frame(entry: Entry, *, for_admin: bool) -> bytes:
    """An entry as a frame; made once for each of the two kinds of readers."""
    made = entry.frames.get(for_admin)
    if made is None:
        if entry.event is not None:
            made = _frame(entry.event.type, shown(entry.event, for_admin=for_admin), entry.cursor)
        else:
            assert entry.loss is not None
            gap = GapShown(reason=entry.loss, cursor=str(entry.cursor))
            made = _frame("gap", gap, entry.cursor)
        entry.frames[for_admin] = made
    return made


def opening(cursor: Cursor | None, retry_ms: int) -> bytes:
    """The first frame: where the stream begins, and how soon to come back once it broke."""
    return f"retry: {retry_ms}\n{_id(cursor)}\n".encode()


def still_there(cursor: Cursor | None) -> bytes:
    """A comment that keeps the connection, with the place up to which there was nothing to send."""
    return f": still here\n{_id(cursor)}\n".encode()


def ending(reason: EndReason, cursor: Cursor | None, retry_ms: int) -> bytes:
    """The last frame."""
    end = EndShown(reason=reason, cursor=str(cursor) if cursor else UNSET)
    return f"retry: {retry_ms}\n".encode() + _frame("end", end)


def _frame(name: str, data: Struct, cursor: Cursor | None = None) -> bytes:
    return f"{_id(cursor)}event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


def _id(cursor: Cursor | None) -> str:
    return f"id: {cursor}\n" if cursor else ""


def _or_unset(value: Any) -> Any:
    return value if isinstance(value, dict) else UNSET
