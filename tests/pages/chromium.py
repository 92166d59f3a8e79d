"""The browser of the system, told to be quiet: no page of a test may reach another host, and no
service of the browser's own may want to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.async_api import Browser, Playwright

from tests.support.stores import in_ci

_NAMES = ("/usr/lib/chromium/chromium", "chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever would leave the host is no address at all, so that it fails aloud.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


def executable() -> Path:
    """The system's Chromium. Without it the test is skipped, in CI it fails."""
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    if in_ci():
        pytest.fail("no Chromium is installed, and in CI nothing is skipped", pytrace=False)
    pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")


async def launch(playwright: Playwright) -> Browser:
    """A browser without a window; whoever asked for it closes it."""
    return await playwright.chromium.launch(executable_path=executable(), args=list(_FLAGS))
