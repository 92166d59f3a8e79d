"""The verbs of `muster`."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from muster.cli import choosing, fleet, nodes, operating, simulating, token
from muster.cli.agent import app as agent_app

_EXAMPLES = """
\b
Examples:
  muster up                              the whole system on this machine
  muster up --port 9000 --gateways 3     gateways on 9000, 9001 and 9002
  muster up --redis-url redis://db/0     on a store of your own
  muster gateway settings                every setting of a gateway, and its source
  muster agent run --server wss://…      a GPU machine joins the fleet
  muster token new --name me --role read a token for the HTTP API, and the line that admits it
  muster nodes --status degraded         machines that are not well; `muster node ID` tells why
  muster select --nmt zh:en              who can do this now
  muster drain ID --reason "new driver"  no more work for this machine
  muster simulate --nodes 1000           a fleet that is not there: what can this carry?

\b
Verbs that ask a gateway find it by --server or MUSTER_SERVER (http://127.0.0.1:8080), and
send the token in MUSTER_TOKEN where one is needed.
"""
_UP_EXAMPLES = """
\b
Examples:
  muster up
  muster up --data-dir ./data --sweepers 3
  muster up --redis-url redis+sentinel://s1:26379,s2:26379/mymaster
  muster up --host 0.0.0.0 --open-api    everybody in the network may do everything
  muster up --json | head -1             one line of JSON once it is ready
"""
_PASSED_THROUGH = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}

app = typer.Typer(
    name="muster",
    help="A registry of GPU nodes: they register, beat, become ready, fall silent, are offline.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(token.app)
app.add_typer(agent_app)
for verbs in (nodes, choosing, operating, fleet, simulating):
    verbs.add_to(app)


@app.command(epilog=_UP_EXAMPLES)
def up(
    host: Annotated[str, typer.Option(help="The address gateways listen on.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="The first gateway's; others follow. 0: free ones."),
    ] = 8080,
    gateways: Annotated[int, typer.Option(min=1, max=64, help="How many gateways.")] = 2,
    sweepers: Annotated[int, typer.Option(min=1, max=64, help="How many sweepers.")] = 2,
    redis_url: Annotated[
        str | None,
        typer.Option(
            envvar="MUSTER_REDIS_URL",
            help="A store of your own instead of the embedded one: redis://, rediss://, "
            "redis+sentinel://, redis+cluster://.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where the embedded store and logs are kept. Default: $XDG_DATA_HOME/muster, "
            "else ~/.local/share/muster."
        ),
    ] = None,
    open_api: Annotated[
        bool,
        typer.Option(
            "--open-api", help="Whoever reaches the gateways may use /v1 without a token."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when all is ready.")
    ] = False,
) -> None:
    """Run the whole system in the foreground; Ctrl-C ends all of it.

    Settings of gateways and sweepers are taken from the environment, tokens and certificates too.

    Exit status: 0 ended on request, 1 a part of it died, 2 it could not be started as asked.
    """
    from muster.cli.up import Plan, default_data_dir
    from muster.cli.up import up as run_up

    _need("gateway")
    where = (data_dir or default_data_dir()).expanduser().absolute()
    plan = Plan(host, port, gateways, sweepers, redis_url or None, where, as_json, open_api)
    raise typer.Exit(run_up(plan))


@app.command(context_settings=_PASSED_THROUGH)
def gateway(context: typer.Context) -> None:
    """Run one gateway; all arguments go to it. See `muster gateway settings`."""
    _become("gateway", context.args)


@app.command(context_settings=_PASSED_THROUGH)
def sweeper(context: typer.Context) -> None:
    """Run one sweeper; all arguments go to it. See `muster sweeper settings`."""
    _become("sweeper", context.args)


@app.command(name="version")
def show_version() -> None:
    """Print the version."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        typer.echo(version("muster"))
    except PackageNotFoundError:
        typer.echo("unknown (not installed)")


def _become(module: str, arguments: list[str]) -> NoReturn:
    _need(module)
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606


def _need(module: str) -> None:
    if find_spec(module) is None or find_spec("redis") is None:
        typer.echo(
            "This needs the server's parts; in Muster's source: pip install '.[server]'", err=True
        )
        raise typer.Exit(2)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
