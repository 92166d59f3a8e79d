"""The page of one machine: its cards, what it waits for, its models, its connections."""

from __future__ import annotations

import re

from playwright.async_api import expect

from tests.integration.conftest import System
from tests.pages.conftest import Visit
from tests.support.api import token
from tests.support.node import Node

HARDWARE = {
    "cpu_cores": 16,
    "memory_gb": 64,
    "gpus": [{"name": "L40S", "memory_gb": 48}, {"name": "L40S", "memory_gb": 48}],
}
CARDS = [
    {"index": 0, "healthy": True, "memory_used_gb": 12.5, "temperature_c": 61},
    {"index": 1, "healthy": False, "reason": "fell off the bus", "temperature_c": 30},
]
USAGE = {"gpu_percent": 40, "cpu_percent": 12, "running_jobs": 1, "gpus": CARDS}


async def test_a_machines_page_tells_its_cards_countdown_models_and_connections(
    system: System, visit: Visit
) -> None:
    await system.start(gateways=2, heartbeat_timeout_s=600.0, warmup_timeout_s=600.0)
    async with Node(system.gateways[0].ws_url) as first:
        await first.register(node_id="node-A", hardware=HARDWARE)
    async with Node(system.gateways[1].ws_url) as node:
        await node.register(node_id="node-A", hardware=HARDWARE, node_token=first.token)
        visitor = await visit(f"{system.http}/nodes/node-A", token=token("reader"))
        page = visitor.page
        # Ten minutes to warm up, and they run.
        countdown = page.locator("#countdown")
        await expect(countdown).to_have_text(re.compile(r"^9:\d\d$"))
        before = await countdown.inner_text()
        await expect(countdown).not_to_have_text(before)
        assert before > await countdown.inner_text()
        for _ in range(3):
            await node.beat(resource_usage=USAGE)
        await expect(page.locator(".state .status")).to_have_text("ready")
        cards = page.locator("#hardware tbody tr")
        await expect(cards).to_have_count(2)
        await expect(cards.nth(0)).to_contain_text("12.5 / 48 GiB")
        await expect(cards.nth(0)).to_contain_text("healthy")
        await expect(cards.nth(0)).to_contain_text("61")
        await expect(cards.nth(1)).to_contain_text("unhealthy (fell off the bus)")
        await expect(page.locator("#hardware dl")).to_contain_text("40 %")
        await expect(page.locator("#models")).to_contain_text("mdl-nmt-zh-en-base-v1")
        await expect(page.locator("#models")).to_contain_text("zh → en")
        coming = page.locator(".comings > li")
        await expect(coming).to_have_count(2)
        gateways = {text.split("·")[1] for text in await coming.all_inner_texts()}
        assert len(gateways) == 2, gateways
