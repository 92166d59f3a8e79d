"""How many files, and so sockets, this process may have open."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

SPARE = 64
"""Kept for what is no socket of others: the store's connections, logs, files read anew."""
_OPEN = Path("/dev/fd")


def raise_limit() -> None:
    """Takes as many as the system lets us have without asking anybody (the hard limit)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # some systems say "unlimited" and mean less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most() -> int:
    """The limit, at least 1."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft) if soft != resource.RLIM_INFINITY else 2**31 - 1


def used() -> int:
    """How many are open now."""
    return len(os.listdir(_OPEN))  # noqa: PTH208 - only how many there are
