"""The page of events: live, filtered, and still while it is paused."""

from __future__ import annotations

from contextlib import AsyncExitStack

from playwright.async_api import expect

from tests.pages.conftest import Visit
from tests.pages.town import Town
from tests.support.api import token

SHOWN_MOST = 500


async def _events(town: Town) -> int:
    """How many a page shows of all that happened."""
    async with town.asking("reader") as client:
        told = (await client.get("/v1/events?since=0&until=now")).text
    frames = [line for line in told.splitlines() if line.startswith("event: ")]
    return min(SHOWN_MOST, sum(line != "event: end" for line in frames))


async def test_a_paused_list_stands_still_counts_what_came_and_then_shows_it(
    town: Town, visit: Visit
) -> None:
    visitor = await visit(f"{town.http}/events", token=token("reader"))
    page = visitor.page
    lines = page.locator(".events > li")
    # The first are drawn before the rest.
    await expect(lines).to_have_count(await _events(town))
    async with AsyncExitStack() as there:
        await there.enter_async_context(town.newcomer("one-event-a"))
        await expect(lines.filter(has_text="one-event-a")).to_have_count(1)
        # What was opened stays open while others come.
        opened = page.locator(".events details").first
        await opened.locator("summary").click()
        await there.enter_async_context(town.newcomer("one-event-c"))
        await expect(lines.filter(has_text="one-event-c")).to_have_count(1)
        await expect(page.locator(".events details[open]")).to_have_count(1)
        await page.get_by_role("button", name="Pause").click()
        await expect(lines).to_have_count(await _events(town))
        before = await lines.all_inner_texts()
        await there.enter_async_context(town.newcomer("one-event-b"))
        await expect(page.get_by_text("1 more while paused")).to_be_visible()
        assert await lines.all_inner_texts() == before
        await page.get_by_role("button", name="Go on").click()
        await expect(lines.filter(has_text="one-event-b")).to_have_count(1)
        await expect(page.get_by_text("more while paused")).to_have_count(0)


async def test_events_are_filtered_by_kind_and_machine_and_the_address_says_so(
    town: Town, visit: Visit
) -> None:
    visitor = await visit(f"{town.http}/events", token=token("reader"))
    page = visitor.page
    lines = page.locator(".events > li")
    await expect(lines.first).to_be_visible()
    await page.get_by_label("Kind").select_option("operator_drain")
    await page.get_by_role("searchbox").fill("node-11")
    await expect(lines).to_have_count(1)
    await expect(lines).to_contain_text("ann: new fans")
    other = await visit(page.url, token=token("reader"))
    await expect(other.page.locator(".events > li")).to_have_count(1)
    await expect(other.page.get_by_label("Kind")).to_have_value("operator_drain")


async def test_the_past_of_a_machine_is_found_behind_many_newer_events(
    town: Town, visit: Visit
) -> None:
    async with town.guest("one-event-old"), town.guest("one-event-busy"):
        for _ in range(260):
            await town.registry.drain("one-event-busy", "ann", "to and fro")
            await town.registry.resume("one-event-busy", "ann", "to and fro")
        visitor = await visit(f"{town.http}/events", token=token("reader"))
        page = visitor.page
        lines = page.locator(".events > li")
        old = lines.filter(has_text="one-event-old").filter(has_text="health checks pass")
        await expect(lines.first).to_be_visible()
        await expect(old).to_have_count(0)
        await expect(lines).to_have_count(500)
        # As more come, the oldest make room and are counted.
        await expect(page.locator("#older")).to_have_count(0)
        async with town.guest("one-event-new"):
            await expect(page.locator("#older")).to_contain_text("older ones, not shown")
            await expect(lines).to_have_count(500)
        await page.get_by_role("searchbox").fill("event-old")
        await expect(old).to_have_count(1)
        linked = await visit(f"{town.http}/events?node=event-old", token=token("reader"))
        await expect(
            linked.page.locator(".events > li").filter(has_text="health checks pass")
        ).to_have_count(1)
        # While it is paused, another choice has its past too.
        await page.get_by_role("button", name="Pause").click()
        await page.get_by_role("searchbox").fill("")
        await expect(lines.nth(50)).to_be_visible()
