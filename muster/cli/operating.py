"""`muster drain`, `resume`, `rm`, `label`: what operators do, to some machines or to all that a
filter shows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from muster.cli import exits
from muster.cli.completing import NodeIds
from muster.cli.filters import with_filter
from muster.cli.progress import Progress
from muster.cli.remote import AsJson, Reason, Servers, as_line, asking, clean, refuse, tell

if TYPE_CHECKING:
    from muster.client import BulkDone, Client
    from muster.client.calls import Action

_SHOWN_MOST = 20

All = Annotated[
    bool, typer.Option("--all", help="Every machine there is, where no filter is given.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which machines are meant.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before doing it to many.")]

_BULK = (
    "Either ids are given, or a filter: then it is asked before anything is done, and `--dry-run` "
    "only says which machines are meant.\n\n"
)
_DRAIN_HELP = (
    "Give machines no more work.\n\nFrom this moment on, until they are resumed; no reconnect or "
    "restart undoes that. When their jobs have ended they are `drained` and may be taken away. "
    + _BULK
    + exits.told(exits.NOT_FOUND, exits.IN_PART, exits.STILL_BUSY)
)
_RESUME_HELP = "End an operator's drain.\n\n" + _BULK + exits.told(exits.NOT_FOUND, exits.IN_PART)
_RM_HELP = (
    "Take machines off the roll.\n\nAt once, whatever they run: drain them first. They may "
    "register again; an operator's drain and labels stay for when they do. "
    + _BULK
    + exits.told(exits.NOT_FOUND, exits.IN_PART)
)
_LABEL_HELP = (
    "Change an operator's labels on machines.\n\nThey lie over the machine's own and outlive its "
    "record. " + _BULK + exits.told(exits.NOT_FOUND, exits.IN_PART)
)
_DRAIN_EXAMPLES = """
\b
Examples:
  muster drain node-ABC12345 --reason "new driver"
  muster drain node-ABC12345 --reason "new driver" --timeout 600 --wait && ssh …
  muster drain --label region=eu --gpu 3090 --reason "cards are replaced" --dry-run
"""
_RESUME_EXAMPLES = """
\b
Examples:
  muster resume node-ABC12345 --reason "driver is in"
  muster resume --drained --label region=eu --reason "cards are in" --yes
"""
_RM_EXAMPLES = """
\b
Examples:
  muster rm node-OLDCARD1 --reason sold
  muster rm --status offline --label rack=b4 --reason "rack is gone" --dry-run
"""
_LABEL_EXAMPLES = """
\b
Examples:
  muster label node-ABC12345 --set tier=gold --unset rack --reason "moved"
  muster label --gpu H100 --set tier=gold --reason "all of these" --yes
"""


def add_to(app: typer.Typer) -> None:
    """Adds these verbs."""
    app.command(epilog=_DRAIN_EXAMPLES, help=_DRAIN_HELP)(with_filter(drain))
    app.command(epilog=_RESUME_EXAMPLES, help=_RESUME_HELP)(with_filter(resume))
    app.command("rm", epilog=_RM_EXAMPLES, help=_RM_HELP)(with_filter(remove))
    app.command(epilog=_LABEL_EXAMPLES, help=_LABEL_HELP)(with_filter(label))


def drain(
    reason: Reason,
    node_ids: NodeIds = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="How long their jobs may take; else as the gateway's settings say.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the jobs have ended or their time is over.")
    ] = False,
    every: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    server: Servers = None,
    *,
    which: Any,
) -> None:
    order = _Order("drain", "drained", reason, as_json=as_json, timeout_s=timeout)
    meant = _Meant(node_ids or [], which, every=every)

    def one(muster: Client, node_id: str) -> Any:
        return muster.drain(node_id, reason, timeout_s=timeout)

    done = _carry_out(order, meant, one, server, dry_run=dry_run, yes=yes)
    if wait and done:
        from muster.cli import draining

        draining.wait(done, server, as_json=as_json)


def resume(
    reason: Reason,
    node_ids: NodeIds = None,
    every: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    server: Servers = None,
    *,
    which: Any,
) -> None:
    order = _Order("resume", "resumed", reason, as_json=as_json)
    meant = _Meant(node_ids or [], which, every=every)

    def one(muster: Client, node_id: str) -> Any:
        return muster.resume(node_id, reason)

    _carry_out(order, meant, one, server, dry_run=dry_run, yes=yes)


def remove(
    reason: Reason,
    node_ids: NodeIds = None,
    every: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    server: Servers = None,
    *,
    which: Any,
) -> None:
    order = _Order("remove", "taken off the roll", reason, as_json=as_json)
    meant = _Meant(node_ids or [], which, every=every)

    def one(muster: Client, node_id: str) -> Any:
        muster.remove(node_id, reason)
        return {"node_id": node_id, "changed": True}

    _carry_out(order, meant, one, server, dry_run=dry_run, yes=yes)


def label(
    reason: Reason,
    node_ids: NodeIds = None,
    to_set: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set this label.", show_default=False),
    ] = None,
    to_unset: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="NAME", help="Take this label away.", show_default=False),
    ] = None,
    every: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    server: Servers = None,
    *,
    which: Any,
) -> None:
    changes = _changes(to_set or [], to_unset or [])
    order = _Order("label", "labelled", reason, as_json=as_json, labels=changes)
    meant = _Meant(node_ids or [], which, every=every)

    def one(muster: Client, node_id: str) -> Any:
        return {"node_id": node_id, "labels": muster.label(node_id, changes, reason)}

    _carry_out(order, meant, one, server, dry_run=dry_run, yes=yes)


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be done; `word` says that it was."""

    action: Action
    word: str
    reason: str
    as_json: bool
    timeout_s: float | None = None
    labels: Mapping[str, str | None] | None = None

    def bulk(self, muster: Client, meant: _Meant, *, dry_run: bool) -> BulkDone:
        where: Any = {"ids": meant.node_ids} if meant.node_ids else meant.which
        return muster.bulk(
            self.action,
            self.reason,
            where=where,
            every=meant.every,
            dry_run=dry_run,
            timeout_s=self.timeout_s,
            labels=self.labels,
        )


@dataclass(frozen=True, slots=True)
class _Meant:
    """To which machines; refuses what names none, or names them twice over."""

    node_ids: Sequence[str]
    which: Mapping[str, Any]
    every: bool

    def __post_init__(self) -> None:
        if self.node_ids and (self.which or self.every):
            refuse("Give ids or a filter, not both.")
        if not (self.node_ids or self.which or self.every):
            refuse("Which machines? Give their ids, a filter as --label region=eu, or --all.")


_One = Callable[["Client", str], Any]


def _carry_out(
    order: _Order,
    meant: _Meant,
    one: _One,
    servers: Sequence[str] | None,
    *,
    dry_run: bool,
    yes: bool,
) -> Sequence[str]:
    """Does it, and says what was done. Returns the ids it was done to, as far as they are told."""
    if dry_run:
        with asking(servers, as_json=order.as_json) as muster:
            _show_meant(order, order.bulk(muster, meant, dry_run=True))
        return ()
    if meant.node_ids:
        return _to_each(order, meant.node_ids, one, servers)
    return _to_all(order, meant, servers, yes=yes)


def _to_each(
    order: _Order, node_ids: Sequence[str], one: _One, servers: Sequence[str] | None
) -> Sequence[str]:
    from muster.client import NotFoundError

    done: list[str] = []
    missing: list[tuple[str, NotFoundError]] = []
    progress = Progress()
    with asking(servers, as_json=order.as_json, progress=progress) as muster:
        for node_id in node_ids:
            try:
                answer = one(muster, node_id)
            except NotFoundError as error:
                missing.append((node_id, error))
                continue
            done.append(node_id)
            progress.say(as_line(answer) if order.as_json else _said(order, node_id, answer))
    for node_id, reason in missing:
        tell(reason, as_json=order.as_json, about=node_id)
    if missing:
        raise typer.Exit(exits.IN_PART if done else exits.NOT_FOUND)
    return done


def _to_all(
    order: _Order, meant: _Meant, servers: Sequence[str] | None, *, yes: bool
) -> Sequence[str]:
    if not yes:
        with asking(servers, as_json=order.as_json) as muster:
            preview = order.bulk(muster, meant, dry_run=True)
        if preview.matched:
            _ask_first(order, preview)
    with asking(servers, as_json=order.as_json) as muster:
        outcome = order.bulk(muster, meant, dry_run=False)
    if order.as_json:
        typer.echo(as_line(outcome))
    else:
        typer.echo(f"{_machines(outcome.done)} {order.word}.")
        for failure in outcome.failed[:_SHOWN_MOST]:
            typer.echo(f"  not {clean(failure.node_id)}: {clean(failure.code)}", err=True)
    if outcome.done < outcome.matched:
        if not order.as_json:
            left = outcome.matched - outcome.done
            typer.echo(
                f"{_machines(left)} left out. Next: do the same again; what is so already stays.",
                err=True,
            )
        raise typer.Exit(exits.IN_PART)
    return outcome.nodes


def _ask_first(order: _Order, preview: BulkDone) -> None:
    """Ends the command unless a person says yes."""
    if not sys.stdin.isatty():
        refuse(
            f"This is about {_machines(preview.matched)}. Say --yes if they are meant; --dry-run "
            "shows them."
        )
    _show_meant(order, preview)
    if not typer.confirm(f"Go on with {_machines(preview.matched)}?", err=True):
        refuse("Nothing was done.")


def _show_meant(order: _Order, preview: BulkDone) -> None:
    if order.as_json:
        typer.echo(as_line(preview))
        return
    typer.echo(f"{_machines(preview.matched)} would be {order.word}:")
    for node_id in preview.nodes[:_SHOWN_MOST]:
        typer.echo(f"  {clean(node_id)}")
    if preview.matched > _SHOWN_MOST:
        typer.echo(f"  and {preview.matched - _SHOWN_MOST} more")


def _said(order: _Order, node_id: str, answer: Any) -> str:
    if isinstance(answer, Mapping):
        labels = answer.get("labels")
        if labels is None:
            return f"{node_id} {order.word}."
        shown = " ".join(f"{clean(name)}={clean(value)}" for name, value in labels.items())
        return f"{node_id} {order.word}: {shown or 'it has no labels now'}"
    return f"{node_id} {order.word}." if answer.changed else f"{node_id}: nothing to do."


def _machines(number: int) -> str:
    return f"{number} machine{'' if number == 1 else 's'}"


def _changes(to_set: Sequence[str], to_unset: Sequence[str]) -> dict[str, str | None]:
    """Which labels become what. Raises typer.BadParameter."""
    changes: dict[str, str | None] = {}
    for text in to_set:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"expected name=value; got {text}", param_hint="--set")
        changes[name] = value
    for name in to_unset:
        if name in changes:
            raise typer.BadParameter(f"{name} can't be set and unset", param_hint="--unset")
        changes[name] = None
    if not changes:
        refuse("Which labels? Give --set name=value or --unset name.")
    return changes
