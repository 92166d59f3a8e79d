"""Ending tasks that talk to the store: its client library now and then swallows a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

_MOST_S = 1.0


async def end(tasks: Collection[asyncio.Task[Any]], most_s: float = _MOST_S) -> None:
    """Cancels tasks and returns once all are over, or after `most_s` seconds: nobody waits longer
    for one that did not notice. It is not cancelled again, as it may be closing its connection."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=most_s)
