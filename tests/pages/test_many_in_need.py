"""An owner with many machines in need: the list is folded, and what is held open stays so."""

from __future__ import annotations

from playwright.async_api import expect

from tests.integration.conftest import System
from tests.pages.conftest import Visit
from tests.support.api import Machines, token

FEW, MANY = 5, 12


async def test_a_long_list_is_folded_and_an_open_choice_outlives_changes(
    system: System, visit: Visit
) -> None:
    await system.start(heartbeat_timeout_s=600.0, warmup_timeout_s=600.0)
    machines = Machines(system.registry)
    for number in range(MANY):
        await machines.register(f"warms-{number:02d}", labels={"owner": "x"})
    visitor = await visit(f"{system.http}/mine?owner=x", token=token("admin"))
    page = visitor.page
    needs = page.get_by_role("region", name="Not ready, and what to do").locator("li[data-node]")
    await expect(needs).to_have_count(FEW)
    await page.get_by_role("button", name=f"Show all {MANY}").press("Enter")
    await expect(needs).to_have_count(MANY)
    await expect(needs.last).to_contain_text("Waits for its next heartbeat")
    fewer = page.get_by_role("button", name="Show fewer")
    await expect(fewer).to_be_focused()

    choice = page.get_by_label("Owner")
    await choice.evaluate("choice => { choice.held = true; }")
    await machines.ready("warms-00", labels={"owner": "x"})
    await expect(page.locator("#page")).to_contain_text(f"1 of {MANY} machines are ready.")
    assert await choice.evaluate("choice => choice.held === true")
    await fewer.click()
    await expect(needs).to_have_count(FEW)
