"""Which web pages may open a node socket.

A browser lets any page open a WebSocket to anywhere, to this machine and its network too, and says
only in `Origin` whose page it is (RFC 6455, section 10.2). Nodes send none. So whoever sends one is
a page, and is let in only if its origin was named. That the origin equals `Host` is worth nothing
here: a name that was made to point at this gateway has both.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.problem import ProblemError
from gateway.settings import GatewaySettings


class Origins:
    """Knows the origins whose pages may be nodes (`node_origins`)."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._named = frozenset(origin.lower() for origin in settings.node_origins)

    def refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> ProblemError | None:
        """The answer to an upgrade with these headers, unless it may be a node's."""
        for name, value in headers:
            if name == b"origin" and value.decode("latin-1").lower() not in self._named:
                return ProblemError(
                    403,
                    "FORBIDDEN",
                    "pages of this origin may not open node sockets",
                    header="Origin",
                    detail="programs send none; a page's is to be named in MUSTER_NODE_ORIGINS",
                )
        return None
