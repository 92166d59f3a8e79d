"""A gateway that stood still while it said that it lives, and says so when it may not any more."""

from __future__ import annotations

import pytest

from registry.errors import StoreUnavailable
from registry.registry import Registry


async def test_what_a_gateway_says_of_itself_is_not_believed_when_it_comes_too_late(
    registry: Registry,
) -> None:
    now = await registry.synchronise()
    registry.clock.observe(now - 60_000, registry.clock.monotonic())
    with pytest.raises(StoreUnavailable):
        await registry.announce("gw1", {"host": "a"})
    assert await registry.gateways() == {}
    await registry.announce("gw1", {"host": "a"})
    assert await registry.gateway_present("gw1")
