"""The offline brake on the page: what it holds back, and an admin who lets it go."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from playwright.async_api import expect

from tests.integration.conftest import System
from tests.pages.conftest import Visit
from tests.pages.judging import grave_faults
from tests.support.api import Machines, token

BRAKE: dict[str, Any] = {
    "offline_brake": True,
    "offline_brake_per_s": 0.01,
    "offline_brake_most_s": 600.0,
    "mass_expiry_min": 3,
    "warmup_timeout_s": 600.0,
}


async def test_the_brake_tells_what_it_holds_and_an_admin_alone_releases_it(
    system: System, visit: Visit
) -> None:
    await system.start(**BRAKE)
    machines = Machines(system.registry)
    admin = await visit(system.http, token=token("admin"))
    reader = await visit(system.http, token=token("reader"))
    # The first fall silent together, which is noticed; the others' word is held back then.
    for number in range(8):
        await machines.register(f"first-{number}")
    await asyncio.sleep(1.0)
    for number in range(8):
        await machines.register(f"later-{number}")
    for visitor in (admin, reader):
        banner = visitor.page.locator('[data-banner="brake"]')
        await expect(banner).to_contain_text("The offline brake holds")
        await expect(banner).to_contain_text("silent machines are called offline slowly")
    await expect(reader.page.get_by_role("button", name="Release the brake")).to_have_count(0)
    assert int(await admin.figure("offline").inner_text()) < 16
    assert not await grave_faults(admin)

    await admin.page.get_by_role("button", name="Release the brake").click()
    dialog = admin.page.get_by_role("dialog")
    await dialog.get_by_label("Reason").fill("they are really gone")
    await dialog.get_by_role("button", name="Release").click()
    for visitor in (admin, reader):
        await expect(visitor.page.locator('[data-banner="brake"]')).to_have_count(0)
        await expect(visitor.figure("offline")).to_have_text("16")
    headers = {"Authorization": f"Bearer {token('admin')}"}
    async with httpx.AsyncClient(base_url=system.http, trust_env=False, headers=headers) as client:
        url = "/v1/events?since=0&until=now&types=operator_release_brake"
        told = (await client.get(url)).text
    assert "they are really gone" in told
