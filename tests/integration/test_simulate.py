"""`muster simulate` against a real system: each scenario shows what it is for, and no more."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import replace

import pytest

from muster.cli import exits
from muster.simulate.order import Server
from muster.simulate.run import Plan, Run
from muster.simulate.scenarios import SCENARIOS
from muster.simulate.verdict import Outcome, judged
from registry.keys import PARTITIONS
from tests.integration.conftest import System
from tests.support.fleet import until

# What a machine busy with other tests can't promise; that it is measured, the last test shows.
_WALL_CLOCK = ("beat to store, p99", "offline after the time-out, p99")
_OWN_PACE = "the simulator kept its own pace"
_NODES = 30


def plan(system: System, scenario: str, **changes: object) -> Plan:
    servers = tuple(Server.of(gateway.url) for gateway in system.gateways)
    made = Plan(servers, scenario, _NODES, duration_s=1.0, join_s=30.0, per_s=100.0)
    return replace(made, **changes)  # type: ignore[arg-type]


def broken(outcome: Outcome) -> dict[str, str]:
    found = judged(outcome).findings
    return {f.what: f.found for f in found if not f.kept and f.what not in _WALL_CLOCK}


async def by_status(system: System) -> dict[str, int]:
    return await system.registry.counts(list(range(PARTITIONS)))


@pytest.mark.timeout(180)
async def test_every_scenario_keeps_the_promises_and_shows_its_fault(system: System) -> None:
    await system.start(gateways=2, sweepers=1)
    names = [name for name in SCENARIOS if name != "rolling"]
    outcomes = dict(
        zip(
            names,
            await asyncio.gather(*(Run(plan(system, name)).outcome() for name in names)),
            strict=True,
        )
    )
    for name, outcome in outcomes.items():
        assert set(broken(outcome)) <= {_OWN_PACE}, name
    assert outcomes["gpu-loss"].book.counts["status degraded"] == 2
    assert outcomes["flapping"].book.counts["status degraded"] > 2
    assert outcomes["regional-loss"].book.counts["status offline"] == 6
    assert outcomes["regional-loss"].book.spread("offline after the time-out").count == 6
    assert outcomes["cloned-ids"].book.counts["doubles: sockets opened"] >= 1
    for name in ("steady", "boot-storm", "slow-clients"):
        assert outcomes[name].book.spread("third beat to ready").count == _NODES, name
        assert outcomes[name].book.counts["status offline"] == 0, name
    # A beat that comes after the server's time-out is the simulator's own doing, and so it is told.
    late = await Run(plan(system, "steady", interval_s=6.0, join_s=4.0)).outcome()
    assert set(broken(late)) == {"all ready", _OWN_PACE}


async def test_gateways_that_are_restarted_are_counted_and_nobody_is_lost(system: System) -> None:
    await system.start(gateways=2, sweepers=1)
    run = Run(plan(system, "rolling", duration_s=4.0))
    running = asyncio.create_task(run.outcome())

    async def all_are_ready() -> bool:
        return run.book.now["ready"] == _NODES

    await until(all_are_ready, "all are ready")
    system.gateways[0].terminate()
    outcome = await running
    assert set(broken(outcome)) <= {_OWN_PACE}
    assert outcome.book.counts["closed 1012"] == _NODES // 2
    assert outcome.book.counts["asked to reconnect"] == _NODES // 2
    assert outcome.book.counts["resumed"] == _NODES // 2
    assert outcome.book.spread("away").count == _NODES // 2


async def test_ctrl_c_lets_all_leave_in_order_and_sums_up_what_was_seen(system: System) -> None:
    await system.start(gateways=1, sweepers=1)
    arguments = ["--nodes", "20", "--duration", "600", "--json", "--server", system.http]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "muster", "simulate", *arguments), stdout=asyncio.subprocess.PIPE
    )

    async def all_are_ready() -> bool:
        return (await by_status(system))["ready"] == 20

    try:
        await until(all_are_ready, "all are ready")
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == exits.INTERRUPTED
    told = json.loads(out)
    assert told["interrupted"] is True
    assert told["at_the_end"]["ready"] == 20
    assert told["seconds"]["registered to ready"]["count"] == 20
    assert any("gateway asked" in line for line in told["verdict"]["sizing"]) or any(
        "two intervals" in line for line in told["verdict"]["not_measured"]
    )

    async def all_are_gone() -> bool:
        return sum((await by_status(system)).values()) == (await by_status(system))["offline"]

    await until(all_are_gone, "all have left")
