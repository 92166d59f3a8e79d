"""What happens to nodes and to the fleet: the entries of the partitions' streams, and who wants
which of them. Pure.

The scripts that change something add the event in the same step, so there is no change without its
event. An event carries the labels its node had then: who may see a node may see what happened to
it, also after the record is gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from registry.base import number, text
from registry.cursor import EventId
from registry.requirement import LabelTest


class EventType(StrEnum):
    """The kinds of events."""

    REGISTER = "register"
    RESUME = "resume"
    REVIVE = "revive"
    RESTORE = "restore"
    UPDATE = "update"
    TRANSITION = "transition"
    MEND = "mend"
    EXPIRED = "expired"
    OPERATOR_DRAIN = "operator_drain"
    OPERATOR_RESUME = "operator_resume"
    OPERATOR_LABELS = "operator_labels"
    OPERATOR_REMOVE = "operator_remove"
    OPERATOR_RELEASE_BRAKE = "operator_release_brake"
    DUPLICATE_IDENTITY = "duplicate_identity"
    MASS_EXPIRY = "mass_expiry"
    UNOBSERVED = "unobserved"


MEANINGS: Mapping[EventType, str] = {
    EventType.REGISTER: "a node registered, for the first time or anew",
    EventType.RESUME: "a node came back with its token within its life: its status goes on",
    EventType.REVIVE: "a beat brought back a node that had been silent: it begins anew",
    EventType.RESTORE: "a beat brought back a node that the store had lost",
    EventType.UPDATE: "a beat changed what a node can do, or its own labels",
    EventType.TRANSITION: "a sweeper changed the status, or the reason for it; with the evidence",
    EventType.MEND: "the store had lost a change the node was told of: its version was raised",
    EventType.EXPIRED: "a node was offline for the whole retention: its record is gone",
    EventType.OPERATOR_DRAIN: "an operator drains a node",
    EventType.OPERATOR_RESUME: "an operator's drain ended",
    EventType.OPERATOR_LABELS: "an operator changed labels; `changes` says which",
    EventType.OPERATOR_REMOVE: "an operator took a node off the roll",
    EventType.OPERATOR_RELEASE_BRAKE: "an operator let go of the offline brake; about no one node",
    EventType.DUPLICATE_IDENTITY: "two machines claim one id; `detail` names both to admins",
    EventType.MASS_EXPIRY: "much of the fleet fell silent at once; about no one node",
    EventType.UNOBSERVED: (
        "time passed in which nobody could have heard a node: it counts against none. `detail` "
        "says how long at most (`ms`, negative where the store's clock stepped back) and in how "
        "many of the 64 `partitions`; about no one node"
    ),
}


class Event:
    """One entry of one partition's stream. Instants are ms of the store's clock."""

    def __init__(self, partition: int, id_: EventId, fields: Mapping[str, str]) -> None:
        self.partition = partition
        self.id = id_
        self.fields = fields
        self.type = fields.get("type", "")
        self.node_id = fields.get("id", "")
        """'' for what is about no one node."""

    @classmethod
    def of(cls, partition: int, id_: EventId, stored: Any) -> Event:
        """From an entry as the store answers it."""
        pairs = (
            stored.items() if isinstance(stored, dict) else zip(*[iter(stored)] * 2, strict=True)
        )
        return cls(partition, id_, {text(name): text(value) for name, value in pairs})

    @property
    def at(self) -> int:
        return number(self.fields.get("at"))

    @property
    def statuses(self) -> tuple[str, str]:
        """The status before and after; '' where there is none."""
        return self.fields.get("from", ""), self.fields.get("to", "")

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """The node's labels in force, then."""
        return _labels(self.fields.get("lab", ""))

    @cached_property
    def former_labels(self) -> Mapping[str, str] | None:
        """The labels in force before, if the event changed them."""
        return _labels(self.fields["was"]) if "was" in self.fields else None

    def opened(self, name: str) -> Any:
        """A field that holds JSON; None if it is not there or can't be read."""
        try:
            return json.loads(self.fields[name])
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Interest:
    """Which events are wanted; an empty condition holds for all.

    With statuses, those that lead into or out of one of them. With labels, those of nodes that meet
    all of them, before the event or after it: who is shown nodes by label learns of it when one
    leaves their sight, too. Events about no one node have no labels, and no id: of them only the
    kinds in `everybodys` pass a condition on labels."""

    types: frozenset[str] = frozenset()
    node_ids: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    labels: tuple[LabelTest, ...] = ()
    everybodys: frozenset[str] = frozenset()

    def takes(self, event: Event) -> bool:
        """Whether the event is one of those."""
        return (
            (not self.types or event.type in self.types)
            and (not self.node_ids or event.node_id in self.node_ids)
            and (not self.statuses or not self.statuses.isdisjoint(event.statuses))
            and (not self.labels or self._by_labels(event))
        )

    def _by_labels(self, event: Event) -> bool:
        if not event.node_id:
            return event.type in self.everybodys
        former = event.former_labels
        return _meet(event.labels, self.labels) or (
            former is not None and _meet(former, self.labels)
        )


def _meet(labels: Mapping[str, str], tests: Iterable[LabelTest]) -> bool:
    return all((labels.get(test.name) in test.values) == (test.test == "in") for test in tests)


def _labels(lines: str) -> Mapping[str, str]:
    """Lines of `name=value`, both quoted."""
    pairs = (line.partition("=") for line in lines.split("\n") if line)
    return {unquote(name): unquote(value) for name, _, value in pairs}
