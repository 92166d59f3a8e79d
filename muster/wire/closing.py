"""Close codes are values: the number, the reason sent with it, and what the other side should do."""

from __future__ import annotations

from enum import Enum


class CloseCode(Enum):
    """`retry`: `jitter` (reconnect soon), `backoff`, `never` (not by itself), `none` (it ended)."""

    NORMAL = (1000, "normal closure", "none")
    GOING_AWAY = (1001, "going away", "jitter")
    POLICY = (1008, "too many unreadable messages", "backoff")
    TOO_BIG = (1009, "message too big", "backoff")
    RESTARTING = (1012, "this gateway is going away: reconnect", "jitter")
    REGISTER_TIMEOUT = (4408, "no registration in time", "backoff")
    SUPERSEDED = (4409, "another connection of this node took over", "backoff")
    SILENT = (4410, "neither frame nor pong for too long", "backoff")
    OVERLOADED = (4429, "this gateway's buffers are full", "backoff")
    UNAUTHORIZED = (4501, "join token missing or wrong", "never")
    DUPLICATE_IDENTITY = (4509, "two machines use this node id", "never")

    def __init__(self, code: int, reason: str, retry: str) -> None:
        self.code = code
        self.reason = reason
        self.retry = retry


CLOSE_CODES = {c.code: c for c in CloseCode}


def retry_policy(code: int) -> str:
    """What a node does after a close, also one this table does not name."""
    known = CLOSE_CODES.get(code)
    if known is not None:
        return known.retry
    return "never" if 4500 <= code <= 4999 else "backoff"
