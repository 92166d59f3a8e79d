"""Two kinds of proof: a node's own token, and a fleet's join token.

A node token is HMAC-SHA256(fleet secret, node id): checkable without the store, so an emptied
store loses nobody's identity. The first secret signs, every secret checks, so secrets rotate.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from enum import Enum
from urllib.parse import parse_qs


class TokenCheck(Enum):
    """What a presented node token is worth."""

    NONE = "none"  # nothing was presented, or nothing can be checked
    RIGHT = "right"
    WRONG = "wrong"


class NodeTokens:
    """Issues and checks node tokens; without a secret it does neither."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(s.encode() for s in secrets if s)

    @property
    def enabled(self) -> bool:
        return bool(self._secrets)

    def issue(self, node_id: str) -> str | None:
        """The token of a node id, or None without a secret."""
        return _sign(self._secrets[0], node_id) if self._secrets else None

    def check(self, node_id: str, token: str | None) -> TokenCheck:
        if not token or not self._secrets:
            return TokenCheck.NONE
        presented = token.encode()
        right = False
        for secret in self._secrets:  # all of them, whichever fits: constant time
            right |= hmac.compare_digest(_sign(secret, node_id).encode(), presented)
        return TokenCheck.RIGHT if right else TokenCheck.WRONG


def _sign(secret: bytes, node_id: str) -> str:
    return hmac.new(secret, node_id.encode(), "sha256").hexdigest()


class JoinTokens:
    """The tokens that let a machine into the fleet at all; none configured: everybody may."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tuple(t.encode() for t in tokens if t)

    def admits(self, headers: Mapping[str, str], query: bytes | str) -> bool:
        """Whether the upgrade request carries one, as `Authorization: Bearer` or `?token=`."""
        if not self._tokens:
            return True
        presented = _presented(headers, query).encode()
        right = False
        for token in self._tokens:
            right |= hmac.compare_digest(token, presented)
        return right


def _presented(headers: Mapping[str, str], query: bytes | str) -> str:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    text = query.decode("latin-1") if isinstance(query, bytes) else query
    return parse_qs(text).get("token", [""])[0]
