"""A chosen few at true speed: beats each 15 s, silence for 45 s."""

from __future__ import annotations

import pytest

from tests.faults import faults
from tests.faults.conftest import Judge, MakeWorld
from tests.faults.pace import TRUE

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


async def test_true_speed_store_unreachable(world: MakeWorld, judged: Judge) -> None:
    """The store is unreachable from every process for 60 s."""
    w = await world(TRUE)
    await w.suffer(faults.StoreUnreachable(60))
    await judged(w)


async def test_true_speed_gateway_paused(world: MakeWorld, judged: Judge) -> None:
    """A gateway is paused for 60 s and resumed."""
    w = await world(TRUE)
    await w.suffer(faults.GatewayPaused(60))
    await judged(w)


async def test_true_speed_gateway_killed_and_sweepers_paused(
    world: MakeWorld, judged: Judge
) -> None:
    """A gateway is killed while both sweepers are paused for 60 s."""
    w = await world(TRUE)
    both = faults.Together(of=((0, faults.SweepersPaused(60)), (5, faults.GatewayKilled(30))))
    await w.suffer(both)
    await judged(w)
