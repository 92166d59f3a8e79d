"""`muster select`, `muster release`: what a scheduler does, by hand."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from muster.cli import exits
from muster.cli.filters import with_requirement
from muster.cli.progress import Progress
from muster.cli.remote import AsJson, Servers, as_line, asking, clean, fail

_SELECT_EXAMPLES = """
\b
Examples:
  muster select --nmt zh:en
  muster select --asr zh --nmt zh:en --tts en --label region=eu,us --min-gpu-memory 16
  muster select --nmt zh:en --hold 30              and keep a place for 30 seconds
  muster select --tts en --limit 5 --json | jq -r .node_id
"""
_RELEASE_EXAMPLES = """
\b
Examples:
  muster release 58e1bfffd133c665ab9afd08~node-ABC12345
"""
_SELECT_HELP = (
    "Find machines for a job.\n\nOnly those that can do it now, the preferred and least loaded "
    "first. If there is none it says why, and who nearly can.\n\n" + exits.told(exits.NO_NODE)
)
_RELEASE_HELP = (
    "Give held places back.\n\nThat a hold has ended already is no error.\n\n" + exits.told()
)


def add_to(app: typer.Typer) -> None:
    """Adds these verbs."""
    app.command(epilog=_SELECT_EXAMPLES, help=_SELECT_HELP)(with_requirement(select))
    app.command(epilog=_RELEASE_EXAMPLES, help=_RELEASE_HELP)(release)


def select(
    wanted: Any,
    avoid: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Not this machine.", show_default=False)
    ] = None,
    prefer: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="This one first, if it fits.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="So many different ones at most.")] = 1,
    hold: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="Keep a place on each for so long.", show_default=False
        ),
    ] = 0,
    request_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Asked again with the same id, the same answer comes.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    server: Servers = None,
) -> None:
    from muster.client import NoAvailableNodeError

    wanted |= ({"avoid": avoid} if avoid else {}) | ({"prefer": prefer} if prefer else {})
    with asking(server, as_json=as_json) as muster:
        try:
            found = muster.select(
                limit=limit, hold_ms=round(hold * 1000), request_id=request_id, **wanted
            )
        except NoAvailableNodeError as error:
            missed = error
            found = ()
    if as_json and found:
        for chosen in found:
            typer.echo(as_line(chosen))
        return
    if as_json:
        fail(missed, as_json=True)
    from muster.cli import looks, selections

    if not found:
        looks.show(selections.missed(missed), looks.console(stderr=True))
        raise typer.Exit(exits.NO_NODE)
    looks.show(selections.table(found, looks.here_ms()), looks.console())
    holds = [clean(chosen.hold.id) for chosen in found if chosen.hold is not None]
    if holds and sys.stdout.isatty():
        typer.echo(f"To give back what is held: muster release {' '.join(holds)}")


def release(
    holds: Annotated[
        list[str], typer.Argument(metavar="HOLD...", help="The ids that `select` printed.")
    ],
    as_json: AsJson = False,
    server: Servers = None,
) -> None:
    progress = Progress()
    with asking(server, as_json=as_json, progress=progress) as muster:
        for hold in holds:
            muster.release(hold)
            line = as_line({"hold": hold, "released": True})
            progress.say(line if as_json else f"{clean(hold)}: the place is free.")
