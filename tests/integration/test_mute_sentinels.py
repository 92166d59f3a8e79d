"""Sentinels that take connections and never answer: whoever asks is told in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from registry.errors import StoreUnavailable
from registry.store import Store

TIMEOUT_S = 0.8
MOST_S = 6 * TIMEOUT_S
"""A connection is tried three times, and each try waits for the sentinels once."""


@pytest_asyncio.fixture
async def mute_sentinels() -> AsyncIterator[str]:
    """Where three are found."""
    over = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    servers = [await asyncio.start_server(say_nothing, "127.0.0.1", 0) for _ in range(3)]
    yield ",".join(f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers)
    over.set()
    for server in servers:
        server.close()


async def test_sentinels_that_never_answer_cost_no_more_than_a_few_time_outs(
    mute_sentinels: str,
) -> None:
    url = f"redis+sentinel://{mute_sentinels}/muster/0"
    store = await Store.connect(url, timeout_s=TIMEOUT_S)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="no sentinel names a primary"):
        await store.ping()
    assert time.monotonic() - began < MOST_S
    await store.close()
