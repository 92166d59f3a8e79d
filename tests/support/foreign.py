"""Programs of other makers that some tests need: Node.js and a browser.

Without one its tests are skipped here and fail in CI; `.ci/run` installs both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.stores import in_ci

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def missing(what: str) -> None:
    """Skips the test; in CI, where nothing may be missing, it fails."""
    if in_ci():
        pytest.fail(f"{what} is missing, and in CI nothing is skipped", pytrace=False)
    pytest.skip(f"{what} is missing")


def node_js() -> list[str]:
    """The command that runs an example with a WebSocket client: Node 22 has one, 20.10 and later
    have it if asked for, older ones where the package `ws` is installed beside the example."""
    found = shutil.which("node")
    if not found:
        missing("Node.js")
        raise AssertionError
    ways = (
        ([found], "globalThis.WebSocket"),
        ([found, "--experimental-websocket"], "globalThis.WebSocket"),
        ([found], "require.resolve('ws')"),
    )
    for command, client in ways:
        asked = [*command, "-e", f"process.exit({client} ? 0 : 1)"]
        if subprocess.run(asked, cwd=EXAMPLES, capture_output=True, check=False).returncode == 0:
            return command
    missing("a WebSocket client for Node.js (npm install --prefix docs/examples ws)")
    raise AssertionError


def browser(profile: Path, address: str) -> list[str]:
    """The command that shows a page, without a window, in a profile of its own."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if not found:
        missing("Chromium")
        raise AssertionError
    return [
        found,
        "--headless=new",
        "--no-sandbox",  # it may be run by root
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        f"--user-data-dir={profile}",
        "--remote-debugging-port=0",
        address,
    ]


class Program:
    """One such program, running in a directory of its own. `said` is all it has written."""

    def __init__(self, command: Sequence[str], directory: Path, **environ: str) -> None:
        directory.mkdir(exist_ok=True)
        self._log = directory / "said.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                list(command),
                cwd=directory,
                env=os.environ | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def ended(self) -> int | None:
        """The exit status, once it has ended."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """Ends it and whatever it has started."""
        if self.ended is None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
