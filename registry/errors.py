"""What can go wrong between a process and the store.

StoreError
├── StoreUnavailable   the store can't be asked now; retry later
│   ├── StoreRefused   it answers, but refuses writes (memory, replicas, read-only)
│   └── Contended      a record changed between every look and the act that followed
└── StoreMisbehaved    a script answered what it never answers: our bug
"""

from __future__ import annotations


class StoreError(Exception):
    """The store could not do what was asked."""


class StoreUnavailable(StoreError):  # noqa: N818 (named for what it says)
    """The store can't be asked right now; nothing is known about what it did last."""


class StoreRefused(StoreUnavailable):
    """The store answers but refuses writes: out of memory, too few replicas, or read-only."""


class Contended(StoreUnavailable):
    """A record changed each time between being read and being acted on; nothing was done."""


class StoreMisbehaved(StoreError):  # noqa: N818
    """A script failed or answered out of its contract: a bug of ours."""


FAILURES = ("unavailable", "refused", "misbehaved")


def failure(error: StoreError) -> str:
    """The error as one of `FAILURES`, for what is counted."""
    match error:
        case StoreRefused():
            return "refused"
        case StoreUnavailable():
            return "unavailable"
    return "misbehaved"
