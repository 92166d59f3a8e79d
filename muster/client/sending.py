"""How requests leave: what httpx is made with and given, for both clients."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

from muster.client.calls import Call

TIMEOUT_S = 10.0
PATIENCE_S = 20.0
CONNECT_MOST_S = 3.0
"""A gateway that can't be reached should not keep the next from being asked."""

_LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")


def client_arguments(
    token: str | None, timeout_s: float, ssl_context: ssl.SSLContext | None
) -> dict[str, Any]:
    """For httpx.Client and httpx.AsyncClient. Raises ValueError for a token that can't be sent."""
    headers = {"User-Agent": "muster-client"}
    if token is not None:
        if not (token and token.isascii() and token.isprintable()) or " " in token:
            raise ValueError("a token has letters, digits and signs only, and no spaces")
        headers["Authorization"] = f"Bearer {token}"
    return {
        "headers": headers,
        "timeout": httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_MOST_S)),
        "verify": True if ssl_context is None else ssl_context,
        # This machine is never asked through a proxy: without tokens it would not answer.
        "mounts": dict.fromkeys(_LOOPBACK),
    }


def request_arguments(call: Call[Any], server: str, timeout: httpx.Timeout) -> dict[str, Any]:
    """For `build_request`. `timeout` is what timed calls have."""
    if call.silence_most_s is not None:
        timeout = httpx.Timeout(**{**timeout.as_dict(), "read": call.silence_most_s})
    return {
        "method": call.method,
        "url": server + call.path,
        "params": list(call.query) or None,
        "json": call.body,
        "headers": dict(call.headers),
        "timeout": timeout,
    }
