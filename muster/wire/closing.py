"""Close codes as values: what they mean, and whether a node comes back by itself.

Both ends read this table: the gateway closes with it, the agent decides by it.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

Retry = Literal["jitter", "backoff", "never", "none"]
"""`jitter`: soon, at a random moment. `backoff`: ever later. `never`: only when a person changed
something. `none`: nothing is left to do, the end was wanted."""


class CloseCode(Enum):
    """One reason to end a socket."""

    NORMAL = (1000, "done", "none")
    GOING_AWAY = (1001, "going away; reconnect", "jitter")
    POLICY = (1008, "too many unreadable messages", "backoff")
    TOO_BIG = (1009, "message too big", "backoff")
    SERVICE_RESTART = (1012, "the gateway restarts; reconnect", "jitter")
    REGISTER_TIMEOUT = (4408, "no registration in time", "backoff")
    SUPERSEDED = (4409, "another socket took over this node", "backoff")
    SILENT = (4410, "silent for too long", "backoff")
    OVERLOADED = (4429, "the gateway is overloaded", "backoff")
    UNAUTHORIZED = (4501, "join token missing or wrong; ask the operator", "never")
    DUPLICATE_IDENTITY = (4509, "another machine uses this node id", "never")

    def __init__(self, code: int, reason: str, retry: Retry) -> None:
        self.code = code
        self.reason = reason
        self.retry: Retry = retry


CLOSE_CODES: dict[int, CloseCode] = {close.code: close for close in CloseCode}


def retry_policy(code: int) -> Retry:
    """Whether a node whose socket ended with this code comes back, and how.

    Codes without an entry: 4500-4999 not by itself; everything else, an abnormal end included,
    with back-off.
    """
    known = CLOSE_CODES.get(code)
    if known is not None:
        return known.retry
    return "never" if 4500 <= code <= 4999 else "backoff"
