"""Two files in the state directory by which programs of the same user find the local API.

`local-api-token` lets them write: only its owner may read it, and it stays the same from start to
start, so a program needs to read it once. `local-api-url` says where the agent that runs listens;
it is gone when the agent is.
"""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

TOKEN_NAME = "local-api-token"  # noqa: S105 (a file's name)
URL_NAME = "local-api-url"
TOKEN_LEAST = 32
_TOKEN_BYTES = 32


def keep_token(state_dir: Path) -> str:
    """The token of this user, made at first; one that others could have read is made anew.

    Raises OSError where the directory can't be written.
    """
    path = state_dir / TOKEN_NAME
    known = _private_text(path)
    if known is not None and len(known) >= TOKEN_LEAST:
        return known
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    _write(path, token)
    return token


def read_token(state_dir: Path) -> str | None:
    """The token, for a program that wants to write; None if no agent has made one."""
    return _text(state_dir / TOKEN_NAME)


def tell_url(state_dir: Path, url: str) -> None:
    """Says where the agent listens. Raises OSError."""
    _write(state_dir / URL_NAME, url)


def read_url(state_dir: Path) -> str | None:
    """Where the agent listens, as far as it has said."""
    return _text(state_dir / URL_NAME)


def forget_url(state_dir: Path, url: str) -> None:
    """The agent that listened there ends; what a later one said stays."""
    if read_url(state_dir) == url:
        with suppress(OSError):
            (state_dir / URL_NAME).unlink()


def _private_text(path: Path) -> str | None:
    """A file's text, unless others than its owner may read it."""
    try:
        found = path.lstat()
    except OSError:
        return None
    if path.is_symlink():
        return None
    if sys.platform != "win32" and (found.st_mode & 0o077 or found.st_uid != os.geteuid()):
        return None
    return _text(path)


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _write(path: Path, text: str) -> None:
    """Replaces a file whole; only its owner may read it, from its first moment on."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        made.unlink()
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
    made.replace(path)
