"""What all verbs share that ask a gateway: where it is, how failing is told, patience.

They speak through `muster.client`, so that a person at a terminal meets the same retries, servers
and errors as a scheduler does. It needs httpx, which the bare `muster` does without: whoever only
runs `muster agent` on a machine need not carry it.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from muster.cli import exits
from muster.cli.progress import Progress

if TYPE_CHECKING:
    from muster.client import AsyncClient, Client, MusterError

PATIENCE_S = 3.0
"""Who waits at a terminal would rather be told."""

Servers = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        envvar="MUSTER_SERVER",
        metavar="URL",
        help="A gateway, http://127.0.0.1:8080 unless given; several: repeated, or with commas. "
        "The next is asked where one can't be reached.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Reason = Annotated[
    str,
    typer.Option("--reason", metavar="TEXT", help="Why; kept and shown with who and when."),
]


@contextmanager
def asking(
    servers: Sequence[str] | None,
    *,
    as_json: bool,
    patience_s: float | None = None,
    progress: Progress | None = None,
    quiet: bool = False,
) -> Iterator[Client]:
    """A client for a `with` block. What fails ends the command with the exit status it has. Unless
    `quiet`, a terminal shows that it goes on; who prints meanwhile does so by `progress`."""
    need_parts()
    from muster.client import Client, MusterError

    showing = progress or Progress()

    def trouble(text: str) -> None:
        showing.text = text

    try:
        with _failing(), nullcontext() if quiet else showing.shown(), troubles(trouble):
            patience_s = PATIENCE_S if patience_s is None else patience_s
            with Client(*split(servers), token=token(), patience_s=patience_s) as client:
                yield client
    except MusterError as error:
        fail(error, as_json=as_json)


@contextmanager
def talking(servers: Sequence[str] | None, *, as_json: bool) -> Iterator[AsyncClient]:
    """The same for what goes on until it is ended: its event loop runs inside the block. Nothing is
    drawn beside it."""
    need_parts()
    from muster.client import AsyncClient, MusterError

    try:
        with _failing():
            yield AsyncClient(*split(servers), token=token(), patience_s=PATIENCE_S)
    except MusterError as error:
        fail(error, as_json=as_json)


def fail(error: MusterError, *, as_json: bool) -> NoReturn:
    """Says what is wrong and what to do next, and ends the command."""
    tell(error, as_json=as_json)
    raise typer.Exit(exits.of_code(error.code))


def tell(error: MusterError, *, as_json: bool, about: str = "") -> None:
    """Says on standard error what is wrong and what to do next."""
    from muster.client import ProblemError

    if as_json:
        said: dict[str, Any] = {
            "code": error.code,
            "message": error.what,
            "next_step": error.next_step,
        }
        if isinstance(error, ProblemError):
            said["problem"] = error.document
        if about:
            said["node_id"] = about
        typer.echo(json.dumps(said, ensure_ascii=False), err=True)
        return
    detail = error.detail if isinstance(error, ProblemError) else ""
    lines = [f"{about}: {error.what}" if about else error.what, detail, f"Next: {error.next_step}."]
    typer.echo("\n".join(clean(line) for line in lines if line), err=True)


def refuse(what: str) -> NoReturn:
    """Ends the command for wrong usage."""
    typer.echo(what, err=True)
    raise typer.Exit(exits.USAGE)


def clean(text: str) -> str:
    """A text of somebody else's, without what would move a terminal's cursor or change its
    colours."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def as_line(value: Any) -> str:
    """A value as one line of JSON."""
    import msgspec

    return msgspec.json.encode(value).decode()


@contextmanager
def troubles(tell: Callable[[str], None]) -> Iterator[None]:
    """Tells what the client meets and goes on from, meanwhile."""

    class _Telling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(clean(record.getMessage()))

    handler = _Telling()
    logger = logging.getLogger("muster.client")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def split(words: Sequence[str] | None) -> list[str]:
    """Words that were given one by one, or with commas."""
    return [word.strip() for given in words or () for word in given.split(",") if word.strip()]


def token() -> str | None:
    """From the environment alone: what stands on a command line, others on the machine can read."""
    return os.environ.get("MUSTER_TOKEN", "").strip() or None


def need_parts() -> None:
    """Ends the command if what it needs is not installed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if find_spec("httpx") is None or find_spec("httpx_sse") is None:
        refuse("This needs the client's parts; in Muster's source: pip install '.[client]'")


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(exits.INTERRUPTED) from None
    except ValueError as error:  # an address, a token or a label's test that can't be
        refuse(str(error))
