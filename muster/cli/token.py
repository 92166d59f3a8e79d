"""`muster token`: API tokens and the lines that admit them."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from muster.wire.bearer import (
    Entry,
    EntryError,
    Role,
    WeakTokenError,
    check_name,
    check_owner,
    hash_token,
    new_token,
)

_EXAMPLES = """
\b
Examples:
  muster token new --name scheduler --role read
  muster token new --name team-x --role admin --owner x
  muster token new --name ops --role admin --json > ops.json
  muster token hash < token.txt

\b
A gateway reads the lines from the file MUSTER_API_TOKENS_FILE names, and again when it
changes; or from MUSTER_API_TOKENS, comma separated. To change a token add the new line,
hand out the new token, then take the old line away.
"""
_NEW_EXAMPLES = """
\b
Examples:
  muster token new --name scheduler --role read
  muster token new --name team-x --role admin --owner x --json

\b
Exit status: 0, or 2 if the name or owner can't be used.
"""
_HASH_EXAMPLES = """
\b
Examples:
  muster token hash < token.txt
  openssl rand -hex 32 | tee token.txt | muster token hash

\b
Exit status: 0, or 2 if the token is missing or could be guessed.
"""

app = typer.Typer(
    name="token",
    help="Make and hash tokens for the HTTP API.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(epilog=_NEW_EXAMPLES)
def new(
    name: Annotated[str, typer.Option(help="Who will use it; shown where they changed something.")],
    role: Annotated[
        Role,
        typer.Option(
            help="read: see everything, select and release machines. admin: everything.",
        ),
    ],
    owner: Annotated[
        str | None, typer.Option(help="Only for machines with the label owner=OWNER.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Make a token; it is shown this once, and the line that admits it."""
    try:
        check_name(name, "--name")
        if owner is not None:
            check_owner(owner, "--owner")
    except EntryError as error:
        raise _refused(f"{error.where}: expected {error.expected}") from None
    token = new_token()
    entry = Entry(name, role, hash_token(token), owner)
    if as_json:
        made = {
            "token": token,
            "name": name,
            "role": role.value,
            "owner": owner,
            "hash": entry.hash,
            "entry": entry.line(),
        }
        typer.echo(json.dumps(made, ensure_ascii=False))
        return
    typer.echo(f"Token, shown only now:\n  {token}\n")
    typer.echo(f"Line for the gateways' MUSTER_API_TOKENS_FILE:\n  {entry.line()}\n")
    typer.echo("Used as:\n  curl -H 'Authorization: Bearer TOKEN' http://GATEWAY:8080/v1/nodes")


@app.command(name="hash", epilog=_HASH_EXAMPLES)
def print_hash() -> None:
    """Print the hash of a token that is read from standard input.

    It is the third part of a line: name:role:HASH[:owner].
    """
    if sys.stdin.isatty():
        token = typer.prompt("Token", hide_input=True, err=True)
    else:
        token = sys.stdin.readline()
    token = token.strip()
    if not token:
        raise _refused("no token on standard input; see `muster token hash --help`")
    try:
        typer.echo(hash_token(token))
    except WeakTokenError as error:
        raise _refused(str(error)) from None


def _refused(problem: str) -> typer.Exit:
    typer.echo(problem, err=True)
    return typer.Exit(2)
