"""An owner's view: which of their machines need them, what to do, and whose fault the rest was."""

from __future__ import annotations

from playwright.async_api import Page, expect

from registry.model import Verdict
from tests.pages.conftest import Visit
from tests.pages.town import Town
from tests.pages.visitor import stays_the_same, was_reloaded
from tests.support.api import token

OWN = {"labels": {"owner": "x"}}
NO_LOOK_ROUND = """
    const begin = window.setInterval;
    window.setInterval = (act, ms, ...more) => (ms === 5000 ? 0 : begin(act, ms, ...more));
"""
"""Explanations are asked only as something happens, not every five seconds, too."""


async def test_an_owner_sees_at_once_what_needs_them_and_what_to_do(
    town: Town, visit: Visit
) -> None:
    visitor = await visit(token=token("reader of x"))
    page = visitor.page
    await page.add_init_script(NO_LOOK_ROUND)
    await visitor.opens(f"{town.http}/mine")
    needs = page.get_by_role("region", name="Not ready, and what to do")
    uptime = page.get_by_role("region", name="Last 24 hours")
    async with town.asking("reader of x") as client:
        rows = (await client.get("/v1/nodes")).json()["nodes"]
    unfit = {row["node_id"] for row in rows if row["status"] != "ready"}
    assert unfit
    names = "lines => lines.map((line) => line.dataset.node)"
    await expect(needs.locator("li[data-node]")).to_have_count(len(unfit))
    assert set(await needs.locator("li[data-node]").evaluate_all(names)) == unfit
    await expect(uptime.locator("li[data-node]")).to_have_count(len(rows))
    await expect(page.get_by_label("Owner")).to_have_count(0)  # nobody else's to choose

    await stays_the_same(page)
    async with town.guest("mine-and-ill", **OWN):
        await expect(uptime.locator('li[data-node="mine-and-ill"]')).to_be_visible()
        ill = needs.locator('li[data-node="mine-and-ill"]')
        await expect(ill).to_have_count(0)
        for _ in range(3):
            await town.beats(["mine-and-ill"], Verdict.GPU_UNAVAILABLE)
        await expect(ill).to_contain_text("What to do: run nvidia-smi")
        await expect(ill.locator(".s-degraded")).to_be_visible()
        await town.beats(["mine-and-ill"])
        await expect(ill).to_have_count(0)
    assert not await was_reloaded(page)


async def test_who_sees_all_machines_chooses_whose_and_time_is_told_apart(
    town: Town, visit: Visit
) -> None:
    visitor = await visit(f"{town.http}/mine", token=token("admin"))
    page = visitor.page
    async with town.guest("drained-of-x", **OWN):
        await _is_drained(town, page)


async def _is_drained(town: Town, page: Page) -> None:
    await town.registry.drain("drained-of-x", "ann", "new fans")
    await page.get_by_label("Owner").select_option("x")
    await expect(page).to_have_url(f"{town.http}/mine?owner=x")
    async with town.asking("reader of x") as client:
        rows = (await client.get("/v1/nodes")).json()["nodes"]
    uptime = page.get_by_role("region", name="Last 24 hours").locator("li[data-node]")
    await expect(uptime).to_have_count(len(rows))
    names = "lines => lines.map((line) => line.dataset.node)"
    assert set(await uptime.evaluate_all(names)) == {row["node_id"] for row in rows}
    bar = page.locator('li[data-node="drained-of-x"] .bar')
    await expect(bar.locator(".u-planned")).not_to_have_count(0)
    await page.locator("#codes summary").click()
    codes = page.locator("#codes tr[data-code]")
    for code in ("NO_GPU_AVAILABLE", "NODE_ID_CONFLICT", "UNAUTHORIZED"):
        await expect(codes.filter(has_text=code)).to_be_visible()
