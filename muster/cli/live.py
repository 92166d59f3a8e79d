"""Screens that are drawn anew as things change, until Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

from muster.cli import looks

DRAW_S = 0.5
"""How often a screen is drawn at least, so that ages go on and a new size is seen."""


class Screen:
    """A terminal's whole window, given back as it was."""

    def __init__(self, live: Live, console: Console) -> None:
        self._live = live
        self._console = console

    @property
    def height(self) -> int:
        """Lines there are now."""
        return self._console.height

    @property
    def ascii_only(self) -> bool:
        """Whether it can show nothing else."""
        return self._console.options.ascii_only

    def draw(self, what: RenderableType) -> None:
        """Shows this instead of what was there."""
        self._live.update(what, refresh=True)


@contextmanager
def screen() -> Iterator[Screen]:
    """The window for a `with` block."""
    console = looks.console()
    with Live(console=console, screen=True, auto_refresh=False, transient=True) as live:
        yield Screen(live, console)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs it until it ends or Ctrl-C is pressed, which is the way to end it."""
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        return


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """All of them until one ends; then the others are ended, and its error is raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()


async def either(event: asyncio.Event, most_s: float) -> bool:
    """Waits until it is set, for so long at most; whether it is."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait([waiting], timeout=most_s)
    finally:
        waiting.cancel()
    return event.is_set()
