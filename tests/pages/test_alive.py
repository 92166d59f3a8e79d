"""What happens to a machine is on the page at once, without a reload."""

from __future__ import annotations

from statistics import median

import httpx
import pytest
from playwright.async_api import expect

from tests.integration.conftest import System
from tests.pages.conftest import Visit
from tests.pages.measured import keep
from tests.pages.seen import Seen
from tests.pages.visitor import stays_the_same, was_reloaded
from tests.support.api import token
from tests.support.node import Node

WITHIN_MS = 1000
AT_MOST_MS = 3000  # on a machine that runs other tests beside this one


async def test_a_machine_appears_becomes_ready_degrades_drains_and_goes_offline_on_the_page(
    system: System, visit: Visit
) -> None:
    late = await _lived(system, visit)
    assert median(late.values()) <= WITHIN_MS, late
    assert max(late.values()) <= AT_MOST_MS, late


@pytest.mark.pages
async def test_each_change_of_status_is_on_the_page_within_a_second(
    system: System, visit: Visit
) -> None:
    late = await _lived(system, visit)
    assert max(late.values()) <= WITHIN_MS, late
    keep(
        "From the event to the screen, the page at another gateway than the machine",
        {status: f"{ms} ms" for status, ms in late.items()},
    )


async def _lived(system: System, visit: Visit) -> dict[str, int]:
    """By status, how many ms after its event a machine's whole life was to be seen."""
    await system.start(gateways=2, heartbeat_timeout_s=8.0, gateway_grace_s=16.0)
    visitor = await visit(system.http, token=token("admin"))
    await expect(
        visitor.page.get_by_role("heading", name="No machine has joined yet")
    ).to_be_visible()
    await stays_the_same(visitor.page)
    seen = await Seen.begin(visitor.page)

    async def shows(status: str) -> None:
        await expect(visitor.row("node-A").locator(f".s-{status}")).to_be_visible()

    # The page is of one gateway, the machine at the other.
    async with Node(system.gateways[1].ws_url) as node:
        await node.register(node_id="node-A")
        await shows("registering")
        for _ in range(3):
            await node.beat()
        await shows("ready")
        for _ in range(3):
            await node.beat(health={"ok": False, "reason": "a fan stands still"})
        await shows("degraded")
        async with httpx.AsyncClient(base_url=system.http, trust_env=False) as client:
            headers = {"Authorization": f"Bearer {token('admin')}"}
            url = "/v1/nodes/node-A/drain"
            await client.post(url, json={"reason": "new fans"}, headers=headers)
            await shows("draining")
            # From here on it is silent.
            await shows("offline")
            story = (await client.get("/v1/nodes/node-A", headers=headers)).json()
    # The numbers above the table say the same, each machine counted once.
    for status in ("all", "offline"):
        await expect(visitor.figure(status)).to_have_text("1")
    for status in ("registering", "ready", "degraded", "draining"):
        await expect(visitor.figure(status)).to_have_text("0")
    happened = {event["to"]: event["at"] for event in reversed(story["events"]) if event.get("to")}
    first = await seen.all()
    late = {status: first[f"node-A {status}"] - at for status, at in happened.items()}
    assert set(late) == {"registering", "ready", "degraded", "draining", "offline"}
    assert not await was_reloaded(visitor.page)
    return late
