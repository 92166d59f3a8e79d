"""Ending tasks that may swallow a cancellation, as those of client libraries now and then do."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

_AGAIN_S = 0.5
_TRIES = 20


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels until all are over; what they raise is dropped."""
    left = set(tasks)
    for _ in range(_TRIES):
        for task in left:
            task.cancel()
        if not left:
            return
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)
    raise AssertionError(f"these do not end: {left}")
