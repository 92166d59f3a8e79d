"""Opening a socket to a server, with what the upgrade request has to carry."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from muster.agent.config import AgentConfig

FRAME_MOST_BYTES = 1_048_576
CLOSE_S = 1.0

CANNOT_CONNECT = (OSError, EOFError, ValueError, ImportError, WebSocketException)
"""What a network, a proxy, a name or a URL may make of an attempt. ImportError: a SOCKS proxy is
asked for by the environment, and the package for it is not there."""


async def dial(server: str, config: AgentConfig, version: str) -> ClientConnection:
    """A connected socket; takes as long as the network does. Raises CANNOT_CONNECT.

    Pings are the conversation's to send, and frames are never compressed.
    """
    headers = {}
    if config.join_token:
        headers["Authorization"] = f"Bearer {config.join_token}"
    if config.locale:
        headers["Accept-Language"] = config.locale
    return await connect(
        server,
        additional_headers=headers,
        user_agent_header=f"muster-agent/{version}",
        compression=None,
        max_size=FRAME_MOST_BYTES,
        open_timeout=None,
        ping_interval=None,
        close_timeout=CLOSE_S,
        **_shown(server, config),
    )


def _shown(server: str, config: AgentConfig) -> dict[str, Any]:
    """The machine's own certificate, if it has one. Read anew for each socket, as such certificates
    are short-lived."""
    if config.tls_cert_file is None or not server.startswith("wss:"):
        return {}
    context = ssl.create_default_context()
    context.load_cert_chain(config.tls_cert_file, config.tls_key_file, password="")
    return {"ssl": context}


def is_clear(server: str) -> bool:
    """Whether others on the way could read along."""
    parts = urlsplit(server)
    host = parts.hostname or ""
    loopback = host in ("localhost", "::1") or host.startswith("127.")
    return parts.scheme == "ws" and not loopback
