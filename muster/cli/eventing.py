"""`muster events`: what happens, line by line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import typer

from muster.cli import happenings, looks
from muster.cli.filters import tests
from muster.cli.progress import Progress
from muster.cli.remote import as_line, clean, split, troubles
from muster.client import Client, Event, Gap, InvalidParameterError, NodeStory
from muster.client.following import About

ALL = "all"
_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS_MS: Mapping[str, int] = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
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


@dataclass(frozen=True, slots=True)
class Span:
    """From where to where: behind a cursor, else since an instant (ms), else from now on; for ever,
    or until now."""

    after: str | None
    since_ms: int | None
    until_now: bool


def instant(text: str | None, now: int) -> int | None:
    """The instant that `--since` names, ms. Raises typer.BadParameter."""
    if text is None:
        return None
    if text == ALL:
        return 0
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return max(0, now - int(ago[1]) * _UNITS_MS[ago[2]])
    try:
        at = round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        at = -1
    if at < 0:
        expected = f"30m, 2h, 3d, an instant as 2026-01-31T14:05, or {ALL}"
        raise typer.BadParameter(f"expected {expected}; got {clean(text)}", param_hint="--since")
    return at


def show(
    muster: Client,
    about: About,
    types: Sequence[str],
    span: Span,
    progress: Progress,
    *,
    as_json: bool,
) -> None:
    """Prints events until Ctrl-C, or until now; troubles on standard error. Raises
    typer.BadParameter for a cursor that no answer gave."""
    console = looks.console()
    count = 0

    def trouble(text: str) -> None:
        progress.say(f"muster: {text}", err=True)

    with troubles(trouble):
        try:
            for change in muster.events(
                after=span.after,
                since_ms=span.since_ms,
                until_now=span.until_now,
                types=split(types),
                **about,
            ):
                count += 1
                if as_json:
                    progress.say(as_line(_plain(change)))
                elif isinstance(change, Gap):
                    why = _LOST.get(change.reason, clean(change.reason))
                    progress.say(f"Events are missing here: {why}.", err=True)
                else:
                    now = looks.here_ms()
                    line = happenings.line(change.data, now, ascii_only=console.options.ascii_only)
                    with console.capture() as drawn:
                        console.print(line, soft_wrap=True)
                    progress.say(drawn.get().removesuffix("\n"))
        except InvalidParameterError as error:
            if error.parameter != "after" or as_json:
                raise
            wrong = f"expected {error.expected}; got {clean(span.after or '')}"
            raise typer.BadParameter(wrong, param_hint="--after") from error
        except KeyboardInterrupt:
            if span.until_now:
                raise
            return
    if not count and not as_json:
        progress.say(_nothing(span), err=True)


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


def _nothing(span: Span) -> str:
    if not span.since_ms:
        return "Nothing like that happened, as far as events are kept."
    since = looks.clock(span.since_ms, looks.here_ms())
    return (
        f"Nothing like that happened since {since}; --since {ALL} shows as far as events are kept."
    )


def _plain(change: Event | Gap) -> dict[str, object]:
    if isinstance(change, Gap):
        return {"type": "gap", "reason": change.reason, "cursor": change.cursor}
    return {**change.data, "cursor": change.cursor}
