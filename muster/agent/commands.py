"""Programs the worker asks, each a process that ends by itself or is ended."""

from __future__ import annotations

import os
import subprocess
from typing import NamedTuple

_LIMIT_S = 60.0
"""Far beyond every deadline of the agent, which ends the worker and its children before: this is
for systems where children outlive it."""


class Output(NamedTuple):
    """What a program said and how it ended."""

    code: int
    text: str
    error: str


def output_of(*arguments: str) -> Output | None:
    """What a program prints in English; None if there is no such program, or it can't be run."""
    try:
        done = subprocess.run(
            arguments,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_LIMIT_S,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Output(
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace"),
    )
