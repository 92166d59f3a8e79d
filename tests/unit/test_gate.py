"""A gateway's parts end together, whatever one of them does."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from gateway import gate as module
from gateway.gate import Gate
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings
from registry.registry import Registry

LONG_S = 10.0


async def test_a_loop_that_swallows_its_cancellation_does_not_keep_the_gateway_from_stopping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began, swallowed, enough = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def deaf() -> None:
        began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        swallowed.set()
        await enough.wait()
        raise asyncio.CancelledError

    monkeypatch.setattr(module, "_END_S", 0.3)
    settings = GatewaySettings(redis_url="redis://127.0.0.1:1/0")  # nobody listens there
    registry, asked = await Registry.connect(settings), await Registry.connect(settings)
    gate = Gate(settings, registry, asked, Metrics())
    monkeypatch.setattr(gate.relay, "run", deaf)
    await gate.start()
    await began.wait()
    try:
        await asyncio.wait_for(gate.stop(), LONG_S)
        assert swallowed.is_set()
    finally:
        enough.set()
        await asked.close()
