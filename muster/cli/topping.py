"""`muster top`: the fleet's numbers, the busiest machines, what happens; looked at again and
again, but never so often that looking is a load.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing

from rich.console import Group, RenderableType
from rich.text import Text

from muster.cli import happenings, live, looks, numbers, roll
from muster.cli.remote import as_line, troubles
from muster.client import AsyncClient, Event, Fleet, Node, UnavailableError, UnreachableError

SHARE = 10
"""Looking may take one part in so many of the time."""
EVENTS_SHOWN = 6
_NODES_MOST = 100
_FRAME_LINES = 12


class Top:
    """What was seen last. Not `seen` until there was something to see."""

    def __init__(self, client: AsyncClient, interval_s: float) -> None:
        self._client = client
        self._interval_s = interval_s
        self.fleet: Fleet | None = None
        self.busiest: list[Node] = []
        self.events: deque[Event] = deque(maxlen=EVENTS_SHOWN)
        self.trouble = ""
        self.looked = asyncio.Event()

    async def look(self) -> None:
        """Looks, for ever."""
        while True:
            begun = time.monotonic()
            try:
                fleet = await self._client.fleet()
                async with aclosing(self._client.nodes(sort="-load", limit=_NODES_MOST)) as nodes:
                    self.busiest = [node async for node in nodes]
            except (UnreachableError, UnavailableError):
                if self.fleet is None:
                    raise
            else:
                self.fleet, self.trouble = fleet, ""
                self.looked.set()
            took_s = time.monotonic() - begun
            await asyncio.sleep(max(self._interval_s, SHARE * took_s))

    async def listen(self) -> None:
        """Hears what happens, for ever."""
        async with aclosing(self._client.events()) as events:
            async for event in events:
                if isinstance(event, Event):
                    self.events.appendleft(event)

    def met(self, trouble: str) -> None:
        """Notes what the client goes on from."""
        self.trouble = trouble


def run(client: AsyncClient, interval_s: float, *, as_json: bool) -> None:
    """Shows it until Ctrl-C."""
    live.run(_run(client, interval_s, as_json=as_json))


async def _run(client: AsyncClient, interval_s: float, *, as_json: bool) -> None:
    async with client:
        top = Top(client, interval_s)
        if as_json:
            await live.together(top.look(), _print(top))
            return
        with troubles(top.met):
            await live.together(top.look(), top.listen(), _draw(top))


async def _print(top: Top) -> None:
    while True:
        await top.looked.wait()
        top.looked.clear()
        sys.stdout.write(as_line({"fleet": top.fleet, "busiest": top.busiest}) + "\n")
        sys.stdout.flush()


async def _draw(top: Top) -> None:
    await top.looked.wait()
    with live.screen() as screen:
        while True:
            assert top.fleet is not None
            room = max(1, screen.height - _FRAME_LINES - EVENTS_SHOWN)
            screen.draw(
                picture(
                    top.fleet,
                    top.busiest[:room],
                    list(top.events),
                    top.trouble,
                    ascii_only=screen.ascii_only,
                )
            )
            await asyncio.sleep(live.DRAW_S)


def picture(
    fleet: Fleet,
    busiest: Sequence[Node],
    events: Sequence[Event],
    trouble: str,
    *,
    ascii_only: bool = False,
) -> RenderableType:
    """One look. Pure."""
    parts: list[RenderableType] = [
        numbers.headline(fleet),
        numbers.states(fleet, ascii_only=ascii_only),
        *(Text(warning, "bold red") for warning in numbers.warnings(fleet)),
        Text(""),
        roll.table(busiest, fleet.now, ascii_only=ascii_only),
        Text("\nwhat happens", looks.QUIET),
    ]
    for event in events:
        line = happenings.line(event.data, fleet.now, ascii_only=ascii_only)
        line.no_wrap, line.overflow = True, "ellipsis"
        parts.append(line)
    parts.append(Text(trouble, "red") if trouble else Text("Ctrl-C ends", looks.QUIET))
    return Group(*parts)
