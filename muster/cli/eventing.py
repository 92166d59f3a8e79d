"""`muster events`: what happens, line by line."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from muster.cli import happenings, looks
from muster.cli.filters import tests
from muster.cli.remote import as_line, clean, split, troubles
from muster.client import Client, Event, Gap, NodeStory
from muster.client.following import About

_LOST = {
    "too_old": "they are not kept any more",
    "store_replaced": "the store was replaced",
    "store_lost_events": "the store lost them",
}


def about(node_ids: Sequence[str], status: Sequence[str], label: Sequence[str]) -> About:
    """Which events are asked for."""
    asked: About = {}
    if node_ids:
        asked["node_ids"] = node_ids
    if status:
        asked["status"] = split(status)
    if label:
        asked["labels"] = tests(label)
    return asked


def follow(
    muster: Client, about: About, types: Sequence[str], after: str | None, *, as_json: bool
) -> None:
    """Prints events until Ctrl-C; troubles on standard error."""
    console = looks.console()

    def trouble(text: str) -> None:
        typer.echo(f"muster: {text}", err=True)

    with troubles(trouble):
        try:
            for change in muster.events(after=after, types=split(types), **about):
                if as_json:
                    typer.echo(as_line(_plain(change)))
                elif isinstance(change, Gap):
                    why = _LOST.get(change.reason, clean(change.reason))
                    typer.echo(f"Events are missing here: {why}.", err=True)
                else:
                    now = looks.here_ms()
                    line = happenings.line(change.data, now, ascii_only=console.options.ascii_only)
                    console.print(line, soft_wrap=True)
        except KeyboardInterrupt:
            return


def kept(stories: Sequence[NodeStory], *, as_json: bool) -> None:
    """Prints what is kept of machines' last events, the oldest first."""
    found = [(event, story) for story in stories for event in story.events]
    found.sort(key=lambda pair: happenings.instant(pair[0]))
    console = looks.console()
    for event, story in found:
        if as_json:
            typer.echo(as_line(event))
        else:
            line = happenings.line(event, story.now, ascii_only=console.options.ascii_only)
            console.print(line, soft_wrap=True)


def _plain(change: Event | Gap) -> dict[str, object]:
    if isinstance(change, Gap):
        return {"type": "gap", "reason": change.reason, "cursor": change.cursor}
    return {**change.data, "cursor": change.cursor}
