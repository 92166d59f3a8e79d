"""One node with its story: verdicts, holds, and what happened to it lately."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from registry.base import number, text
from registry.holding import Hold, Holding
from registry.keys import partition_of
from registry.model import Act, Status
from registry.subject import Subject
from registry.surveying import Surveying

_DETAIL = ("sid", "ses", "ever", "win", "addr", "boot")
_EVENT_PAGE = 500
_EVENT_PAGES = 4
_EVENTS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class NodeDetail:
    """One node: verdicts newest first as (ms, letter), `window` the letters the rules see, events
    newest first; `labelled` is the last change of the operator's labels, if there are any."""

    subject: Subject
    sid: str
    session: int
    ever_ready: bool
    window: str
    address: str
    boot_id: str
    verdicts: tuple[tuple[int, str], ...]
    holds: tuple[Hold, ...]
    events: tuple[dict[str, Any], ...]
    labelled: Act | None = None


class Reading(Holding, Surveying):
    """Reads only; what it says was true at the store's instant of reading."""

    async def node(
        self, node_id: str, events_in: Collection[str] = tuple(Status)
    ) -> NodeDetail | None:
        """One node with its verdicts (at most 20) and last events; None if unknown or removed.
        Events are dear: they are read of a node in one of the states `events_in`."""
        subject = (await self.subjects([node_id], report=True, detail=True))[0]
        if subject is None or subject.removed:
            return None
        more, verdicts, labels = await self.store.commands(
            [
                ("HMGET", self.keys.node(node_id), *_DETAIL),
                ("LRANGE", self.keys.history(node_id), 0, self.settings.history_length - 1),
                ("HMGET", self.keys.intent(node_id), "lwho", "lwhy", "lat"),
            ]
        )
        return NodeDetail(
            subject=subject,
            sid=text(more[0]),
            session=number(more[1]),
            ever_ready=more[2] == b"1",
            window=text(more[3]),
            address=text(more[4]),
            boot_id=text(more[5]),
            verdicts=tuple((int(v[:-1]), text(v[-1:])) for v in verdicts),
            holds=tuple(await self.holds(node_id)),
            events=tuple(await self._events(node_id)) if subject.status in events_in else (),
            labelled=Act(text(labels[0]), text(labels[1]), number(labels[2]))
            if labels[2]
            else None,
        )

    async def removal(self, node_id: str) -> Act | None:
        """Who removed a node, why and when, as long as its record is kept; None for any other."""
        subject = (await self.subjects([node_id]))[0]
        if subject is None or not subject.removed:
            return None
        key = self.keys.node(node_id)
        ((who, why, at),) = await self.store.commands([("HMGET", key, "lvb", "lvw", "lva")])
        return Act(text(who), text(why), number(at)) if at else None

    async def _events(self, node_id: str) -> list[dict[str, Any]]:
        """The node's last events, newest first, as far back as a few pages of its partition."""
        key, newest, found = self.keys.events(partition_of(node_id)), "+", []
        wanted = node_id.encode()
        for _ in range(_EVENT_PAGES):
            reply = await self.store.commands(
                [("XREVRANGE", key, newest, "-", "COUNT", _EVENT_PAGE)]
            )
            for event_id, fields in reply[0]:
                pairs = (
                    fields
                    if isinstance(fields, dict)
                    else dict(zip(fields[::2], fields[1::2], strict=True))
                )
                if pairs.get(b"id") == wanted:
                    event = {text(k): text(v) for k, v in pairs.items()}
                    found.append({"event_id": text(event_id), **event})
                    if len(found) == _EVENTS_SHOWN:
                        return found
            if len(reply[0]) < _EVENT_PAGE:
                break
            newest = f"({text(reply[0][-1][0])}"
        return found
