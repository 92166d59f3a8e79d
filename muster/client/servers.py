"""The gateways of a client: all answer the same, so one is asked until it fails, then the next."""

from __future__ import annotations

import random
from collections.abc import Sequence
from urllib.parse import urlsplit

DEFAULT = "http://127.0.0.1:8080"


class Servers:
    """Base URLs in the order in which they are asked; the first is drawn, so that many clients
    spread over the gateways. Raises ValueError for what is no URL of a server."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = tuple(_checked(url) for url in urls) or (DEFAULT,)
        self.current = random.choice(self.urls)

    def __len__(self) -> int:
        return len(self.urls)

    def leave(self, url: str) -> None:
        """Goes on to the next, unless somebody did so already."""
        if self.current == url:
            self.current = self.urls[(self.urls.index(url) + 1) % len(self.urls)]


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or parts.query or parts.fragment:
        expected = f"a gateway's address, as {DEFAULT} or https://muster.example"
        raise ValueError(f"expected {expected}; got {url!r}")
    return url.rstrip("/")
