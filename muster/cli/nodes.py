"""`muster nodes`, `muster node`, `muster explain`: looking at machines."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, Literal

import typer

from muster.cli import exits
from muster.cli.completing import NodeId
from muster.cli.filters import with_filter, with_requirement
from muster.cli.remote import AsJson, Servers, as_line, asking, refuse, talking

_NODES_EXAMPLES = """
\b
Examples:
  muster nodes
  muster nodes --status degraded,offline --sort -since
  muster nodes --nmt zh:en --label region=eu --min-gpu-memory 16
  muster nodes --drained --json | jq -r .node_id
  muster nodes --watch                     the table, kept as the fleet is
  muster nodes --watch --json              a line for each row that changed
"""
_NODE_EXAMPLES = """
\b
Examples:
  muster node node-ABC12345
  muster node node-ABC12345 --json | jq .report
"""
_EXPLAIN_EXAMPLES = """
\b
Examples:
  muster explain node-ABC12345
  muster explain node-ABC12345 --nmt zh:en --min-gpu-memory 16     can it do this, too?
"""

Sort = Literal[
    "node_id", "-node_id", "status", "-status", "since", "-since",
    "last_heartbeat", "-last_heartbeat", "load", "-load",
]  # fmt: skip
_SORT_HELP = (
    "node_id, status, since, last_heartbeat or load; descending with - in front. Looks at the "
    "whole fleet."
)


def add_to(app: typer.Typer) -> None:
    """Adds these verbs."""
    app.command(epilog=_NODES_EXAMPLES, help=_NODES_HELP)(with_filter(nodes))
    app.command(epilog=_NODE_EXAMPLES, help=_NODE_HELP)(node)
    app.command(epilog=_EXPLAIN_EXAMPLES, help=_EXPLAIN_HELP)(with_requirement(explain))


_NODES_HELP = (
    "List machines.\n\nEvery condition narrows. Ids are shown whole, of the other columns as many "
    "as the terminal has room for; all of them where the output goes elsewhere.\n\n" + exits.told()
)


def nodes(
    which: Any,
    sort: Annotated[Sort | None, typer.Option(metavar="FIELD", help=_SORT_HELP)] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many at most.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show them as they change, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
    server: Servers = None,
) -> None:
    if watch:
        from muster.cli import watching

        if not as_json and not sys.stdout.isatty():
            refuse("--watch draws on a terminal; for programs there is --watch --json")
        with talking(server, as_json=as_json) as client:
            watching.run(client, which, sort, limit, as_json=as_json)
        return
    with asking(server, as_json=as_json) as muster:
        pages = list(muster.pages(sort=sort, limit=limit, **which))
    found = [node for page in pages for node in page.nodes]
    if as_json:
        for node in found:
            typer.echo(as_line(node))
        return
    if not found:
        more = "; `muster nodes` shows all there are" if which else ", or none that you may see"
        typer.echo(
            "No node is like that" + more if which else "There are no nodes" + more, err=True
        )
        return
    from muster.cli import looks, roll

    console = looks.console()
    now = pages[-1].now or looks.here_ms()
    looks.show(roll.table(found, now, ascii_only=console.options.ascii_only), console)
    if console.is_terminal:
        console.print(roll.summary(found), style=looks.QUIET)


_NODE_HELP = (
    "Show one machine on one screen.\n\nIts state and why, what it waits for, its load, cards, "
    "models and last events.\n\n" + exits.told(exits.NOT_FOUND)
)


def node(node_id: NodeId, as_json: AsJson = False, server: Servers = None) -> None:
    with asking(server, as_json=as_json) as muster:
        story = muster.node(node_id)
        explanation = None if as_json else muster.explain(node_id)
    if explanation is None:
        typer.echo(as_line(story))
        return
    from muster.cli import looks, telling

    console = looks.console()
    looks.show(telling.story(story, explanation, ascii_only=console.options.ascii_only), console)


_EXPLAIN_HELP = (
    "Say why a machine is given no work, and what to do.\n\nWith a requirement also whether it "
    "could do this, and what it lacks. In Chinese where the environment is.\n\n"
    + exits.told(exits.NOT_FOUND)
)


def explain(node_id: NodeId, wanted: Any, as_json: AsJson = False, server: Servers = None) -> None:
    with asking(server, as_json=as_json) as muster:
        explanation = muster.explain(node_id, locale=_language(), **wanted)
    if as_json:
        typer.echo(as_line(explanation))
        return
    from muster.cli import looks, telling

    console = looks.console()
    looks.show(telling.explanation(explanation, ascii_only=console.options.ascii_only), console)


def _language() -> str:
    """Of those the gateway speaks, the one of whoever asks."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    tag = next((os.environ[name] for name in names if os.environ.get(name)), "")
    return "zh" if tag.lower().startswith("zh") else "en"
