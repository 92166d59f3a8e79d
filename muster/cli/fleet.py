"""`muster fleet`, `muster doctor`, `muster top`, `muster events`: the fleet as a whole."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from muster.cli import exits
from muster.cli.completing import node_ids as complete_ids
from muster.cli.progress import Progress
from muster.cli.remote import AsJson, Reason, Servers, as_line, asking, need_parts, refuse, talking

_FLEET_EXAMPLES = """
\b
Examples:
  muster fleet
  muster fleet --json | jq .status.ready
"""
_DOCTOR_EXAMPLES = """
\b
Examples:
  muster doctor
  muster doctor --server http://gw2:8080
  muster doctor --json | jq '.findings[] | select(.level != "ok")'
"""
_TOP_EXAMPLES = """
\b
Examples:
  muster top
  muster top --interval 10
  muster top --json | jq .fleet.selectable         a line of figures at each look
"""
_EVENTS_EXAMPLES = """
\b
Examples:
  muster events                                        the last hour, of the whole fleet
  muster events --since 2d --type operator_drain,operator_resume
  muster events --node node-ABC12345                   what is kept of this one
  muster events --follow
  muster events --follow --type transition --status offline
  muster events --follow --node node-ABC12345 --json | jq .evidence
  muster events --follow --json --after "$CURSOR"      go on where a former one ended
"""
_BRAKE_EXAMPLES = """
\b
Examples:
  muster release-brake --reason "the power is out, they are really gone"
"""
_BRAKE_HELP = (
    "Let go of the offline brake.\n\nWhere it is switched on, a fleet of which much falls silent "
    "at once is called offline slowly; `muster fleet` shows that. After this, whoever is silent is "
    "called so at once.\n\n" + exits.told()
)
_FLEET_HELP = "Show the fleet in numbers, and how well it is watched.\n\n" + exits.told()
_DOCTOR_HELP = (
    "Say what is not well, and what to do.\n\nOne gateway looks at the store, clocks, sweepers and "
    "itself; ask the others too.\n\n" + exits.told(exits.UNWELL)
)
_TOP_HELP = (
    "Watch the fleet: its numbers, the busiest machines, what happens. Ctrl-C ends it.\n\n"
    "It looks less often where an answer takes long, so that it never is a load.\n\n" + exits.told()
)

_EVENTS_HELP = (
    "Show what happens to machines.\n\nWhat happened in the last hour, or since --since; where "
    "--node says of which machines and nothing else is said, the last events kept of them. With "
    "--follow as it happens, through whatever becomes of gateways and connections, until Ctrl-C. "
    "Where events are missing it is said.\n\n" + exits.told(exits.NOT_FOUND)
)


def add_to(app: typer.Typer) -> None:
    """Adds these verbs."""
    app.command(epilog=_FLEET_EXAMPLES, help=_FLEET_HELP)(fleet)
    app.command(epilog=_DOCTOR_EXAMPLES, help=_DOCTOR_HELP)(doctor)
    app.command("release-brake", epilog=_BRAKE_EXAMPLES, help=_BRAKE_HELP)(release_brake)
    app.command(epilog=_TOP_EXAMPLES, help=_TOP_HELP)(top)
    app.command(epilog=_EVENTS_EXAMPLES, help=_EVENTS_HELP)(events)


def fleet(as_json: AsJson = False, server: Servers = None) -> None:
    with asking(server, as_json=as_json) as muster:
        found = muster.fleet()
    if as_json:
        typer.echo(as_line(found))
        return
    from muster.cli import looks, numbers

    console = looks.console()
    looks.show(numbers.fleet(found, ascii_only=console.options.ascii_only), console)


def doctor(as_json: AsJson = False, server: Servers = None) -> None:
    with asking(server, as_json=as_json) as muster:
        found = muster.doctor()
    if as_json:
        typer.echo(as_line(found))
    else:
        from muster.cli import looks, wellness

        console = looks.console()
        looks.show(wellness.diagnosis(found, ascii_only=console.options.ascii_only), console)
    if found.level == "fatal":
        raise typer.Exit(exits.UNWELL)


def release_brake(reason: Reason, as_json: AsJson = False, server: Servers = None) -> None:
    with asking(server, as_json=as_json) as muster:
        held = muster.release_brake(reason)
    if as_json:
        typer.echo(as_line({"held": held}))
    else:
        typer.echo("The brake is let go." if held else "Nothing to do: the brake did not hold.")


def top(
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.5, help="How often it looks.")
    ] = 2.0,
    as_json: AsJson = False,
    server: Servers = None,
) -> None:
    from muster.cli import topping

    if not as_json and not sys.stdout.isatty():
        refuse("top draws on a terminal; for programs there is `muster top --json`")
    with talking(server, as_json=as_json) as client:
        topping.run(client, interval, as_json=as_json)


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="As it happens.")] = False,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="transition, register, operator_drain, …; several with commas.",
            show_default=False,
        ),
    ] = None,
    node_ids: Annotated[
        list[str] | None,
        typer.Option(
            "--node",
            metavar="ID",
            autocompletion=complete_ids,
            help="About this machine.",
            show_default=False,
        ),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Into or out of this state.", show_default=False),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEST", help="About machines with this label, as region=eu.", show_default=False
        ),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="CURSOR", help="Begin behind this event's `cursor`.", show_default=False
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Begin in the past: 30m, 2h or 3d ago, an instant as 2026-01-31T14:05 of this "
            "machine's clock, or all that is kept.",
            show_default="1h, with --follow now",
        ),
    ] = None,
    as_json: AsJson = False,
    server: Servers = None,
) -> None:
    need_parts()
    from muster.cli import eventing, looks

    if after is not None and since is not None:
        refuse("Give --after or --since, not both.")
    if node_ids and not (follow or types or status or label or after or since):
        with asking(server, as_json=as_json) as muster:
            stories = [muster.node(node_id) for node_id in node_ids]
        eventing.kept(stories, as_json=as_json)
        return
    if not (follow or after or since):
        since = "1h"
    span = eventing.Span(after, eventing.instant(since, looks.here_ms()), until_now=not follow)
    progress = Progress("Looking through what happened …")
    quiet = follow or as_json
    with asking(server, as_json=as_json, progress=progress, quiet=quiet) as muster:
        about = eventing.about(node_ids or [], status or [], label or [])
        eventing.show(muster, about, types or [], span, progress, as_json=as_json)
