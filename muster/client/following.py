"""The stream of events: what is read of it, and where it goes on after it broke. Pure.

Every frame names the cursor after it. Whatever happens to a connection, the next one asks for what
comes after the last cursor, so that nothing is told twice and nothing is left out; where a gateway
can't keep that promise it says so, which is a `Gap`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec
from httpx_sse import ServerSentEvent
from msgspec import Struct, field

from muster.client import calls
from muster.client.answers import Node, NodePage
from muster.client.asking import Filter, LabelTest, Words, query
from muster.client.calls import PAGE_MOST, Call
from muster.client.errors import UnexpectedAnswerError

logger = logging.getLogger("muster.client")

GAP, END, UP_TO_DATE = "gap", "end", "up_to_date"
SILENCE_MOST_S = 45.0
"""A stream says something every 15 s; one that is silent for so long is dead."""


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened to a node, or ('' as `node_id`) to the fleet. `data` is all that was
    told of it, `cursor` goes on after it. `version` orders the changes of one node; events that
    change none have no version."""

    type: str
    node_id: str = ""
    from_: str = field(name="from", default="")
    to: str = ""
    reason: str = ""
    version: int | None = None
    at: int = 0
    cursor: str = ""
    data: dict[str, Any] = {}


class Gap(Struct, frozen=True):
    """Events that can't be told any more lie between what was told and what follows `cursor`."""

    reason: str = ""
    cursor: str = ""


class Snapshot(Struct, frozen=True, kw_only=True):
    """All nodes that are watched, as they are. What happened while they were read is told again
    afterwards: go by `version`. `now` is None if the gateway does not say."""

    nodes: tuple[Node, ...]
    cursor: str
    now: int | None = None


class About(TypedDict, total=False):
    """Which events: of these nodes, of nodes whose labels meet this before or after, into or out of
    one of these states."""

    node_ids: Words
    labels: Mapping[str, LabelTest]
    status: Words


def nodes_of(about: About) -> Filter:
    """The nodes that those events are about."""
    which: Filter = {}
    if "node_ids" in about:
        which["ids"] = about["node_ids"]
    if "labels" in about:
        which["labels"] = about["labels"]
    if "status" in about:
        which["status"] = about["status"]
    return which


class Pages:
    """A snapshot while it is read: `call` asks for its next page, None once it is whole."""

    def __init__(self, which: Filter) -> None:
        self._which = which
        self._nodes: list[Node] = []
        self._first: NodePage | None = None
        self.call: Call[NodePage] | None = self._after(None)

    def add(self, page: NodePage, server: str) -> None:
        """Takes in the page that was asked for. Raises UnexpectedAnswerError if nothing can be
        watched from it."""
        if page.events_cursor is None:
            raise UnexpectedAnswerError(server, 200, "a snapshot to watch from")
        self._first = self._first or page
        self._nodes += page.nodes
        self.call = None if page.cursor is None else self._after(page.cursor)

    @property
    def snapshot(self) -> Snapshot:
        """All of it, and where to watch from: as it was when the first page was read."""
        assert self._first is not None
        assert self._first.events_cursor is not None
        return Snapshot(
            nodes=tuple(self._nodes), cursor=self._first.events_cursor, now=self._first.now
        )

    def _after(self, cursor: str | None) -> Call[NodePage]:
        return calls.nodes(self._which, None, PAGE_MOST, cursor, snapshot=True)


class Following:
    """Where a stream is. `cursor` is None until a gateway said where it begins; `pause_s` is how
    long it asks to wait once the stream broke, so that not all readers come back at once;
    `up_to_date` is that all was told that was asked for with `until_now`."""

    def __init__(
        self,
        about: About,
        types: Words,
        after: str | None,
        since_ms: int | None = None,
        *,
        until_now: bool = False,
    ) -> None:
        self._since_ms = since_ms
        self.until_now = until_now
        self.up_to_date = False
        self._about = about
        self._types = (types,) if isinstance(types, str) else tuple(types)
        self._after = after
        self.cursor = after
        self.pause_s = 0.0

    @property
    def call(self) -> Call[None]:
        """Asks for what comes next."""
        asked = query({k: v for k, v in self._about.items() if k != "node_ids"})
        ids = self._about.get("node_ids", ())
        asked += [("node_id", id_) for id_ in ((ids,) if isinstance(ids, str) else ids)]
        if self._types:
            asked.append(("types", ",".join(self._types)))
        if self._since_ms is not None and self.cursor is None:
            asked.append(("since", str(self._since_ms)))
        if self.until_now:
            asked.append(("until", "now"))
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self.cursor is not None and self.cursor == self._after:
            asked.append(("after", self.cursor))  # a refusal then names what the caller gave
        elif self.cursor is not None:
            headers["Last-Event-ID"] = self.cursor
        return Call(
            "GET",
            "/v1/events",
            None,
            asked,
            headers=headers,
            repeatable=True,
            silence_most_s=SILENCE_MOST_S,
        )

    def read(self, frame: ServerSentEvent) -> Event | Gap | None:
        """What a frame tells; None for one that only says where the stream is, or that it ends.

        Raises msgspec.DecodeError for what no gateway sends.
        """
        if frame.retry is not None:
            self.pause_s = frame.retry / 1000
        if frame.id:
            self.cursor = frame.id
        if not frame.data:
            return None
        data = msgspec.json.decode(frame.data, type=dict[str, Any])
        if frame.event == END:
            self.up_to_date = data.get("reason") == UP_TO_DATE
            logger.info("the gateway ends the stream: %s", data.get("reason"))
            return None
        if frame.event == GAP:
            return Gap(str(data.get("reason", "")), self.cursor or "")
        told = {"type": frame.event, **data, "cursor": self.cursor, "data": data}
        return msgspec.convert(told, Event, strict=False)
