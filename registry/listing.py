"""Which nodes a list shows, and in what order. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from registry.requirement import Requirement
from registry.subject import Subject

SORTS: dict[str, Callable[[Subject], Any]] = {
    "node_id": lambda s: s.node_id,
    "status": lambda s: s.status,
    "since": lambda s: s.since,
    "last_heartbeat": lambda s: s.last_beat,
    "load": lambda s: s.load,
}


class CursorError(ValueError):
    """The cursor is none that an earlier answer to the same list gave."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions on the nodes of a list, all of which must hold; an empty one holds for all.

    `gpu` and `id_part` match a part, whatever the case; `available` asks for nodes that may be
    given work now (or, False, for those that may not)."""

    suited: Requirement = field(default_factory=lambda: Requirement(public=None))
    statuses: frozenset[str] = frozenset()
    public: bool | None = None
    live: bool | None = None
    available: bool | None = None
    intent: bool | None = None
    gateway: str | None = None
    program_version: str | None = None
    platform: str | None = None
    gpu: str | None = None
    id_part: str | None = None
    ids: frozenset[str] | None = None

    def shows(self, s: Subject, timeout_ms: int) -> bool:
        """Whether a node belongs into the list; its registration and report must have been read."""
        return (
            not s.removed
            and (not self.statuses or s.status in self.statuses)
            and (self.ids is None or s.node_id in self.ids)
            and self.public in (None, s.public)
            and self.live in (None, s.live(timeout_ms))
            and self.intent in (None, s.intent is not None)
            and self.gateway in (None, s.gateway)
            and self.program_version in (None, s.registration.get("version"))
            and self.platform in (None, s.registration.get("platform"))
            and (self.id_part or "").lower() in s.node_id.lower()
            and (not self.gpu or any(self.gpu.lower() in name.lower() for name in s.gpu_names))
            and not any(self.suited.unsuited(s))
            and (
                self.available is None
                or self.available == (not any(self.suited.unavailable(s, timeout_ms)))
            )
        )


@dataclass(frozen=True, slots=True)
class Order:
    """By what a list is sorted; equals go by id, so that the order is total."""

    name: str
    descending: bool = False

    @classmethod
    def of(cls, text: str) -> Order:
        """`since` or, descending, `-since`. Raises ValueError naming what can be sorted by."""
        name = text.removeprefix("-")
        if name not in SORTS:
            raise ValueError("one of " + ", ".join(SORTS) + ", descending with a - in front")
        return cls(name, text.startswith("-"))

    def key(self, s: Subject) -> tuple[Any, str]:
        return SORTS[self.name](s), s.node_id

    def behind(self, s: Subject, mark: tuple[Any, str]) -> bool:
        """Whether a node comes after the place a cursor marks."""
        key = self.key(s)
        return key < mark if self.descending else key > mark

    def cursor(self, s: Subject) -> str:
        """What marks the place behind a node."""
        made = msgspec.json.encode([str(self), *self.key(s)])
        return base64.urlsafe_b64encode(made).decode().rstrip("=")

    def mark(self, cursor: str) -> tuple[Any, str]:
        """The place a cursor marks. Raises CursorError for another list's."""
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            order, value, id_ = msgspec.json.decode(base64.b64decode(padded, "-_", validate=True))
        except (ValueError, TypeError, binascii.Error, msgspec.DecodeError) as error:
            raise CursorError(cursor) from error
        wanted: type = str if self.name in ("node_id", "status") else int
        if order != str(self) or type(value) is not wanted or type(id_) is not str:
            raise CursorError(cursor)
        return value, id_

    def __str__(self) -> str:
        return f"-{self.name}" if self.descending else self.name
