"""A few faults, two at a time: what would break first, in under a minute. Runs with the suite."""

from __future__ import annotations

from tests.faults import faults
from tests.faults.conftest import Judge, MakeWorld
from tests.faults.pace import HASTY


async def test_store_paused_while_connections_are_half_open(
    world: MakeWorld, judged: Judge
) -> None:
    w = await world(HASTY, machines=16)
    await w.suffer(
        faults.Together(of=((0, faults.StorePaused(60)), (20, faults.HalfOpen(30, share=0.3))))
    )
    await judged(w)


async def test_gateway_killed_while_sweepers_are_paused(world: MakeWorld, judged: Judge) -> None:
    w = await world(HASTY, machines=16)
    await w.suffer(
        faults.Together(of=((0, faults.SweepersPaused(60)), (10, faults.GatewayKilled(30))))
    )
    await judged(w)


async def test_store_restarted_empty_and_gateways_restarted(
    world: MakeWorld, judged: Judge
) -> None:
    w = await world(HASTY, machines=16)
    await w.suffer(
        faults.Together(of=((0, faults.StoreRestarted(empty=True)), (20, faults.GatewaysRolled())))
    )
    await judged(w)
