"""One machine's day in which it failed and so did we: told apart on its owner's page."""

from __future__ import annotations

import asyncio
from typing import Any

from playwright.async_api import expect

from registry.model import Verdict
from tests.integration.conftest import System
from tests.pages.conftest import Visit
from tests.support.api import Machines, token
from tests.support.fleet import until

PATIENT: dict[str, Any] = {"heartbeat_timeout_s": 600.0, "warmup_timeout_s": 600.0}


async def test_an_outage_of_ours_and_a_failure_of_theirs_are_told_apart(
    system: System, visit: Visit
) -> None:
    await system.start(**PATIENT)
    machines = Machines(system.registry)
    await machines.register("theirs", labels={"owner": "x"})

    async def becomes(status: str, verdict: Verdict = Verdict.PASS, times: int = 3) -> None:
        for _ in range(times):
            beat = machines.fleet.beat_of("theirs", verdict=verdict, capacity=2)
            await system.registry.beat([beat])

        async def is_so() -> bool:
            return (await machines.fleet.facts("theirs")).status == status

        await until(is_so, f"it is {status}")

    await becomes("ready")
    await becomes("degraded", Verdict.GPU_UNAVAILABLE)
    await asyncio.sleep(1.2)
    await becomes("ready", times=1)
    system.sweepers[0].kill()
    await asyncio.sleep(2.0)
    await system.processes.sweeper(**PATIENT)

    visitor = await visit(f"{system.http}/mine", token=token("reader of x"))
    line = visitor.page.locator('.uptimes li[data-node="theirs"]')
    await expect(line).to_contain_text("our outage")
    await expect(line).to_contain_text("down on your side")
    for kind in ("up", "theirs", "ours"):
        await expect(line.locator(f".bar .u-{kind}")).not_to_have_count(0)
    colour = "bar => getComputedStyle(bar).fill"
    theirs = await line.locator(".bar .u-theirs").first.evaluate(colour)
    ours = await line.locator(".bar .u-ours").first.evaluate(colour)
    assert theirs != ours
    whole = visitor.page.get_by_role("region", name="Last 24 hours")
    await expect(whole).to_contain_text("do not count against you")
