"""What commands of the agent end with."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """An exit status."""

    LEFT = 0
    BUG = 1
    USAGE = 2
    NO_GPU = 3
    REFUSED = 4
    NOBODY_ANSWERS = 5
    NOT_SO = 6
