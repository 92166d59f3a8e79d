"""Finding a machine among many: what was chosen is in the address, by mouse or by keys."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from playwright.async_api import expect

from tests.pages.conftest import Visit
from tests.pages.town import Town
from tests.support.api import token

READER = token("reader")


async def test_filters_search_sort_and_group_are_in_the_address_and_come_back_from_it(
    town: Town, visit: Visit
) -> None:
    visitor = await visit(town.http, token=READER)
    page = visitor.page
    rows = page.locator("tr[data-node]")
    await expect(visitor.figure("all")).to_have_text("40")
    await expect(rows).to_have_count(40)
    await page.locator('.figure[data-status="ready"]').click()
    await expect(rows).to_have_count(32)
    await page.get_by_role("searchbox").fill("L40S")
    # Each time the other way round: a list that was never sorted is in neither order.
    ids = "rows => rows.map((row) => row.dataset.node)"
    orders = list[list[str]]()
    for direction, sort in (("ascending", "since"), ("descending", "-since")):
        heading = page.get_by_role("columnheader", name="For")
        await heading.get_by_role("button").click()
        await expect(heading).to_have_attribute("aria-sort", direction)
        assert f"sort={sort}" in page.url
        orders.append(await rows.evaluate_all(ids))
    assert orders[0] == orders[1][::-1] != orders[1]
    await page.get_by_label("Group by").select_option("region")
    assert {"status=ready", "q=L40S", "sort=-since", "group=region"} == set(
        page.url.partition("?")[2].split("&")
    )
    found = await rows.evaluate_all(ids)
    assert 0 < len(found) < 32
    for node_id in found:
        await expect(visitor.row(node_id)).to_contain_text("L40S")
        await expect(visitor.row(node_id).locator(".s-ready")).to_be_visible()

    other = await visit(page.url, token=READER)
    await expect(other.page.locator("tr[data-node]")).to_have_count(len(found))
    again = await other.page.locator("tr[data-node]").evaluate_all(ids)
    assert again == found
    await expect(other.page.get_by_role("searchbox")).to_have_value("L40S")
    await expect(other.page.get_by_label("Group by")).to_have_value("region")


async def test_keys_alone_lead_to_a_machine_and_back(town: Town, visit: Visit) -> None:
    visitor = await visit(town.http, token=READER)
    page = visitor.page
    await expect(page.locator("tr[data-node]")).to_have_count(40)
    await page.keyboard.press("Tab")
    await expect(page.locator("#skip")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#page")).to_be_focused()
    search = page.get_by_role("searchbox")
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await search.evaluate("field => field === document.activeElement"):
            break
    await expect(search).to_be_focused()
    await page.keyboard.type("node-03")
    await expect(page.locator("tr[data-node]")).to_have_count(1)
    await expect(search).to_be_focused()
    link = visitor.row("node-03").get_by_role("link")
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await link.evaluate("link => link === document.activeElement"):
            break
    await expect(link).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="node-03")).to_be_visible()
    await expect(page.locator(".state .status")).to_have_text("degraded")
    # The badge says the status in the page's language; the sentence does not say it again.
    await expect(page.locator("#summary")).not_to_be_empty()
    await expect(page.locator("#summary")).not_to_contain_text("degraded")
    await expect(page.locator("#page")).to_be_focused()
    await page.go_back()
    await expect(page.get_by_role("searchbox")).to_have_value("node-03")


async def test_who_is_at_a_machine_in_the_table_stays_there_while_its_line_changes(
    town: Town, visit: Visit
) -> None:
    visitor = await visit(f"{town.http}/?q=node-0", token=READER)
    row = visitor.row("node-03")
    link, since = row.get_by_role("link"), row.locator("td.number").first
    await link.focus()
    before = await since.inner_text()
    await expect(since).not_to_have_text(before)
    await expect(link).to_be_focused()


async def test_the_language_is_the_browsers_until_another_one_is_chosen(
    town: Town, visit: Visit
) -> None:
    visitor = await visit(town.http, token=READER, locale="zh-CN")
    page = visitor.page
    await expect(page.locator("html")).to_have_attribute("lang", "zh")
    await expect(visitor.row("node-00").locator(".status")).to_have_text("就绪")
    await expect(page.locator("#link")).to_have_text("实时")
    await page.get_by_role("button", name="English").click()
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await expect(visitor.row("node-00").locator(".status")).to_have_text("ready")
    await page.reload()
    await expect(visitor.row("node-00").locator(".status")).to_have_text("ready")
    await expect(page.get_by_role("columnheader", name="Machine")).to_be_visible()


async def test_the_map_is_walked_with_arrow_keys_and_says_where_one_is(
    town: Town, visit: Visit
) -> None:
    visitor = await visit(f"{town.http}/?sort=node_id", token=READER)
    page = visitor.page
    await expect(page.locator("tr[data-node]")).to_have_count(40)
    await page.locator("#map").focus()
    for _ in range(4):
        await page.keyboard.press("ArrowRight")
    said = page.locator("#walked")
    await expect(said).to_contain_text(", 4 / 40")
    node_id = (await said.inner_text()).split(" · ")[0]
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name=node_id)).to_be_visible()


async def test_columns_are_chosen_and_kept_in_the_address(town: Town, visit: Visit) -> None:
    visitor = await visit(town.http, token=READER)
    page = visitor.page
    heading = page.get_by_role("columnheader", name="Version")
    await expect(page.locator("tr[data-node]")).to_have_count(40)
    await expect(heading).to_have_count(0)
    await page.locator("#columns summary").click()
    await page.get_by_role("checkbox", name="Version").check()
    await expect(heading).to_be_visible()
    await page.get_by_role("checkbox", name="Gateway").uncheck()
    await expect(page.get_by_role("columnheader", name="Gateway")).to_have_count(0)
    await expect(visitor.row("node-00")).to_contain_text("1.")
    other = await visit(page.url, token=READER)
    await expect(other.page.get_by_role("columnheader", name="Version")).to_be_visible()
    await expect(other.page.get_by_role("columnheader", name="Gateway")).to_have_count(0)


async def test_the_map_is_grouped_by_five_things_and_says_how_many_each_has(
    town: Town, visit: Visit
) -> None:
    visitor = await visit(f"{town.http}/?q=node-", token=token("reader"))
    async with town.asking() as client:
        rows = (await client.get("/v1/nodes?q=node-")).json()["nodes"]
    of: dict[str, Callable[[dict[str, Any]], str]] = {
        "status": lambda row: row["status"],
        "gpu": lambda row: row["gpus"][0]["name"],
        "region": lambda row: row["labels"]["region"],
        "gateway": lambda row: row["gateway"],
        "version": lambda row: row["program_version"],
    }
    drawn = visitor.page.locator("#map canvas")
    for group, name_of in of.items():
        await visitor.page.get_by_label("Group by").select_option(group)
        counts = Counter(map(name_of, rows))
        said = ", ".join(f"{name} {counts[name]}" for name in sorted(counts))
        await expect(drawn).to_have_attribute("aria-label", re.compile(f"by .*: {said}$"))
