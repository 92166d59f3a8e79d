"""The ways a secret may be written down, for whoever searches for it."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping


def forms(secret: str) -> Iterator[bytes]:
    """As it is, in base64, in a URL."""
    yield secret.encode()
    yield base64.b64encode(secret.encode()).rstrip(b"=")
    yield urllib.parse.quote(secret, safe="").encode()


def found(told: Mapping[str, bytes], secrets: Iterable[str]) -> list[tuple[str, str]]:
    """Where which secret is told."""
    return [
        (where, secret)
        for secret in secrets
        for where, content in told.items()
        if any(form in content for form in forms(secret))
    ]
