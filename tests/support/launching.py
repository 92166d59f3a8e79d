"""Starts the store's binary in ways that `EmbeddedStore.start` has no words for.

A launcher is a small script that stands for the binary and becomes it (`exec`, so that the process
id is the server's): with arguments before the usual ones, or with another clock.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.embedded import EmbeddedStore, find_server
from tests.support.stores import in_ci

_FAKETIME = "*/faketime/libfaketime.so.1"


def launcher(
    path: Path, *before: str, clock_offset_s: float = 0.0, server: Path | str | None = None
) -> Path:
    """A launcher at `path`. `clock_offset_s` needs libfaketime; without it the test is skipped."""
    words = " ".join(shlex.quote(w) for w in (str(server or find_server()), *before))
    lines = ["#!/bin/sh"]
    if clock_offset_s:
        lines += [f"export {k}={shlex.quote(v)}" for k, v in another_clock(clock_offset_s).items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, f'exec {words} "$@"', ""]))
    path.chmod(0o700)
    return path


def another_clock(offset_s: float) -> dict[str, str]:
    """What gives a process a clock that is so far off. Without libfaketime the test is skipped."""
    return {
        "LD_PRELOAD": str(faketime_library()),
        "FAKETIME": f"{offset_s:+g}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def faketime_library() -> Path:
    """The library that gives one process another clock. Skips the test without it, fails in CI."""
    for root in (Path("/usr/lib"), Path("/usr/local/lib")):
        for found in root.glob(_FAKETIME):
            return found
    if in_ci():
        pytest.fail("libfaketime is not installed, and in CI nothing is skipped", pytrace=False)
    pytest.skip("libfaketime is not installed (Debian: apt-get install libfaketime)")


def wait_until(true: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    """Waits for something to become true; fails with its name when it does not."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.02)


def said(store: EmbeddedStore, section: str) -> dict[str, str]:
    """A section of INFO."""
    lines = str(store.command("INFO", section)).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def follows(replica: EmbeddedStore, primary: EmbeddedStore) -> bool:
    """Whether a replica is in touch with this primary."""
    info = said(replica, "replication")
    return info.get("master_link_status") == "up" and info["master_port"] == str(primary.port)


def caught_up(replica: EmbeddedStore, primary: EmbeddedStore) -> bool:
    """Whether a replica has everything its primary had when it was asked."""
    offset = int(said(primary, "replication")["master_repl_offset"])
    return int(said(replica, "replication").get("slave_repl_offset", "-1")) >= offset


def lose_touch(replica: EmbeddedStore, primary: EmbeddedStore) -> None:
    """Ends replication to one replica, which stays up: promoted later, it lost what came after.

    It is given a name no primary knows, so that it can't come back by itself."""
    replica.command("CONFIG", "SET", "masteruser", "nobody", "masterauth", "wrong")

    def lost() -> bool:
        # Again each time: it may just have been coming back under its old name.
        primary.command("CLIENT", "KILL", "TYPE", "replica")
        return said(replica, "replication").get("master_link_status") == "down"

    wait_until(lost, f"the replica on port {replica.port} loses touch")


def find_touch(replica: EmbeddedStore) -> None:
    """Lets a replica that lost touch come back."""
    replica.command("CONFIG", "SET", "masteruser", "", "masterauth", "")
