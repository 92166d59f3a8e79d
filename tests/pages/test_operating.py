"""Draining and resuming from the page of a machine: with a reason, after a question, by admins."""

from __future__ import annotations

from playwright.async_api import expect

from tests.pages.conftest import Visit
from tests.pages.town import Town
from tests.pages.visitor import Visitor
from tests.support.api import token


async def test_an_admin_drains_and_resumes_with_a_reason_and_is_asked_first(
    town: Town, visit: Visit
) -> None:
    async with town.guest("drained-by-hand"):
        visitor = await visit(f"{town.http}/nodes/drained-by-hand", token=token("admin"))
        await _drained_and_resumed(visitor)
        async with town.asking() as client:
            events = (await client.get("/v1/nodes/drained-by-hand")).json()["events"]
    said = {event["type"]: (event["who"], event["why"]) for event in events if "who" in event}
    assert said["operator_drain"] == ("admin", "new fans")
    assert said["operator_resume"] == ("admin", "fans are in")


async def test_what_a_reader_may_not_do_is_not_offered(town: Town, visit: Visit) -> None:
    visitor = await visit(f"{town.http}/nodes/node-00", token=token("reader"))
    page = visitor.page
    await expect(page.locator(".state .status")).to_have_text("ready")
    await expect(page.locator("#timeline li").first).to_be_visible()
    await expect(page.locator("#page").get_by_role("button")).to_have_count(0)


async def test_an_owners_token_shows_the_owners_machines_alone(town: Town, visit: Visit) -> None:
    async with town.asking("reader of x") as client:
        mine = {row["node_id"] for row in (await client.get("/v1/nodes")).json()["nodes"]}
    assert 0 < len(mine) < 40
    visitor = await visit(town.http, token=token("reader of x"))
    rows = visitor.page.locator("tr[data-node]")
    await expect(rows).to_have_count(len(mine))
    await expect(visitor.figure("all")).to_have_text(str(len(mine)))
    assert set(await rows.evaluate_all("rows => rows.map((row) => row.dataset.node)")) == mine


async def _drained_and_resumed(visitor: Visitor) -> None:
    page = visitor.page
    state = page.locator(".state .status")
    await expect(state).to_have_text("ready")
    await page.get_by_role("button", name="Drain…").click()
    dialog = page.get_by_role("dialog", name="Drain drained-by-hand")
    await expect(dialog).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(page.get_by_role("button", name="Drain…")).to_be_focused()

    await page.get_by_role("button", name="Drain…").click()
    await dialog.get_by_role("button", name="Drain").click()
    await expect(dialog).to_be_visible()  # it wants a reason
    await expect(state).to_have_text("ready")
    assert not [url for url in visitor.requests if url.endswith("/drain")]
    await dialog.get_by_label("Reason").fill("new fans")
    await page.keyboard.press("Enter")
    await expect(dialog).to_have_count(0)
    await expect(state).to_have_text("draining")
    await expect(page.locator(".state")).to_contain_text("admin")
    await expect(page.locator(".state")).to_contain_text("new fans")

    await page.get_by_role("button", name="Resume…").click()
    await page.get_by_role("dialog").get_by_label("Reason").fill("fans are in")
    await page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    await expect(state).to_have_text("ready")
    await expect(page.locator("#timeline")).to_contain_text("fans are in")


async def test_the_letters_of_verdicts_are_explained_to_who_can_not_point_at_them(
    town: Town, visit: Visit
) -> None:
    visitor = await visit(f"{town.http}/nodes/node-03", token=token("reader"))
    verdicts = visitor.page.locator("#verdicts")
    letter = await verdicts.locator(".strip .failed").last.inner_text()
    await expect(verdicts).to_contain_text(f"{letter}: no usable GPU")
    await expect(verdicts).to_contain_text("3 of the last 6 were good")
