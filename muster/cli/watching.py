"""`muster nodes --watch`: the table, kept as the fleet is.

It lists, then watches: what happened to a machine makes its row be asked for anew, so that a row is
always what a gateway says. What changes without an event, as load, is asked for anew every few
seconds for the rows that are seen.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from muster.cli import live, looks, roll
from muster.cli.remote import as_line, troubles
from muster.client import AsyncClient, Gap, Node, Snapshot, UnavailableError, UnreachableError

GATHER_S = 0.3
"""What happens within so long is asked for together."""
SEEN_EVERY_S = 5.0
_IDS_MOST = 100
_FRAME_LINES = 3


class Kept:
    """The rows as they are. `changes` are rows, and ids of rows that are gone, since somebody
    looked; `changed` is set with each."""

    def __init__(self, client: AsyncClient, which: Mapping[str, Any]) -> None:
        self._client = client
        self._which: Any = which
        self._ahead = 0
        self._dirty: set[str] = set()
        self.nodes: dict[str, Node] = {}
        self.changes: list[Node | str] = []
        self.changed = asyncio.Event()

    @property
    def now(self) -> int:
        """The store's clock, ms."""
        return looks.here_ms() + self._ahead

    async def follow(self) -> None:
        """Lists, then watches, for ever; once it has begun, whatever becomes of gateways."""
        begun = False
        while True:
            try:
                snapshot = await self._client.snapshot(**self._which)
                begun = True
                await self._listen(snapshot)
            except (UnreachableError, UnavailableError):
                if not begun:
                    raise

    async def _listen(self, snapshot: Snapshot) -> None:
        """Hears what happens, until something was not told."""
        self._ahead = (snapshot.now or looks.here_ms()) - looks.here_ms()
        found = {node.node_id: node for node in snapshot.nodes}
        self._take(self.nodes.keys() | found.keys(), found)
        about: Any = {"labels": self._which["labels"]} if "labels" in self._which else {}
        async with aclosing(self._client.events(after=snapshot.cursor, **about)) as events:
            async for change in events:
                if isinstance(change, Gap):
                    return
                if change.node_id:
                    self._dirty.add(change.node_id)
                    self.changed.set()

    async def refresh(self, also: Iterable[str] = ()) -> None:
        """Asks anew for rows to which something happened."""
        wanted = sorted(self._dirty.union(also))
        self._dirty.clear()
        self.changed.clear()
        for start in range(0, len(wanted), _IDS_MOST):
            ids = wanted[start : start + _IDS_MOST]
            try:
                async with aclosing(self._client.nodes(**self._which, ids=ids)) as nodes:
                    found = {node.node_id: node async for node in nodes}
            except (UnreachableError, UnavailableError):
                self._dirty.update(wanted[start:])  # the stream of events tells the trouble
                return
            self._take(ids, found)

    def _take(self, asked: Iterable[str], found: Mapping[str, Node]) -> None:
        for node_id in asked:
            node = found.get(node_id)
            if node is None:
                if self.nodes.pop(node_id, None) is not None:
                    self.changes.append(node_id)
            elif self.nodes.get(node_id) != node:
                self.nodes[node_id] = node
                self.changes.append(node)
        self.changed.set()


def run(
    client: AsyncClient,
    which: Mapping[str, Any],
    sort: str | None,
    limit: int | None,
    *,
    as_json: bool,
) -> None:
    """Shows them until Ctrl-C."""
    live.run(_run(client, which, sort or "node_id", limit, as_json=as_json))


async def _run(
    client: AsyncClient,
    which: Mapping[str, Any],
    sort: str,
    limit: int | None,
    *,
    as_json: bool,
) -> None:
    async with client:
        kept = Kept(client, which)
        showing = _print(kept) if as_json else _draw(kept, sort, limit)
        await live.together(kept.follow(), showing)


async def _print(kept: Kept) -> None:
    """A line for each row that changed, or that is gone."""
    while True:
        await kept.changed.wait()
        await asyncio.sleep(GATHER_S)
        await kept.refresh()
        for change in kept.changes:
            told = {"gone": change} if isinstance(change, str) else {"node": change}
            sys.stdout.write(as_line(told) + "\n")
        kept.changes.clear()
        sys.stdout.flush()


async def _draw(kept: Kept, sort: str, limit: int | None) -> None:
    trouble = ""

    def told(text: str) -> None:
        nonlocal trouble
        trouble = text

    with troubles(told), live.screen() as screen:
        looked = time.monotonic()
        while True:
            if await live.either(kept.changed, live.DRAW_S):
                trouble = ""
                await asyncio.sleep(GATHER_S)
                await kept.refresh()
            seen = ordered(kept.nodes.values(), sort)[: _most(screen.height, limit)]
            if time.monotonic() - looked > SEEN_EVERY_S:
                looked = time.monotonic()
                await kept.refresh(node.node_id for node in seen)
            kept.changes.clear()
            screen.draw(_picture(kept, seen, trouble, ascii_only=screen.ascii_only))


def ordered(nodes: Iterable[Node], sort: str) -> list[Node]:
    """As a gateway sorts them: by the field, then by id."""
    field = sort.removeprefix("-")
    found = sorted(nodes, key=lambda node: node.node_id)
    found.sort(key=lambda node: getattr(node, field), reverse=sort.startswith("-"))
    return found


def _most(height: int, limit: int | None) -> int:
    room = max(1, height - _FRAME_LINES)
    return room if limit is None else min(room, limit)


def _picture(kept: Kept, seen: Sequence[Node], trouble: str, *, ascii_only: bool) -> RenderableType:
    left = len(kept.nodes) - len(seen)
    below = roll.summary(kept.nodes.values()) + (f"; {left} of them below" if left else "")
    foot = Text(trouble, "red") if trouble else Text(f"{below}   Ctrl-C ends", looks.QUIET)
    return Group(roll.table(seen, kept.now, ascii_only=ascii_only), foot)
