"""What the exit status of a verb that asks a gateway means."""

from __future__ import annotations

from collections.abc import Mapping

DONE = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
NO_NODE = 4
NOBODY_ANSWERS = 5
NOT_ALLOWED = 6
IN_PART = 7
STILL_BUSY = 8
UNWELL = 9
INTERRUPTED = 130

MEANINGS: Mapping[int, str] = {
    DONE: "done",
    FAILED: "an answer that can't be right, or a bug",
    USAGE: "wrong usage, or something asked for that can't be",
    NOT_FOUND: "no such node or hold",
    NO_NODE: "no machine can do this now",
    NOBODY_ANSWERS: "no gateway answers, or it can't just now",
    NOT_ALLOWED: "the token is missing, unknown, or may not do this",
    IN_PART: "done to some nodes, not to others",
    STILL_BUSY: "it was waited for, but jobs still ran when their time was over",
    UNWELL: "a finding is fatal",
    INTERRUPTED: "ended by Ctrl-C before it was done",
}

_OF_CODES: Mapping[str, int] = {
    "INVALID_PARAMETER": USAGE,
    "REQUEST_ID_REUSED": USAGE,
    "TOO_MANY_LABELS": USAGE,
    "TOO_LARGE": USAGE,
    "NODE_NOT_FOUND": NOT_FOUND,
    "HOLD_NOT_FOUND": NOT_FOUND,
    "NO_AVAILABLE_NODE": NO_NODE,
    "UNREACHABLE": NOBODY_ANSWERS,
    "OVERLOADED": NOBODY_ANSWERS,
    "UNAVAILABLE": NOBODY_ANSWERS,
    "TIMEOUT": NOBODY_ANSWERS,
    "RATE_LIMITED": NOBODY_ANSWERS,
    "UNAUTHORIZED": NOT_ALLOWED,
    "FORBIDDEN": NOT_ALLOWED,
    "API_NOT_CONFIGURED": NOT_ALLOWED,
    "NOT_LOCAL": NOT_ALLOWED,
}


def of_code(code: str) -> int:
    """The exit status for a problem."""
    return _OF_CODES.get(code, FAILED)


def told(*statuses: int) -> str:
    """`Exit status: 0 done, 3 no such node, …`; those that any verb may end with are added."""
    shown = sorted({DONE, *statuses, FAILED, USAGE, NOBODY_ANSWERS, NOT_ALLOWED})
    return "Exit status: " + "; ".join(f"{status} {MEANINGS[status]}" for status in shown) + "."
