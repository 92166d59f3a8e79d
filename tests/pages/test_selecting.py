"""Trying a selection: who matches, who does not and by what, and how near they were."""

from __future__ import annotations

from playwright.async_api import expect

from tests.pages.conftest import Visit
from tests.pages.town import Town
from tests.support.api import token

NEEDS = {"kind": "nmt", "src_lang": "zh", "tgt_lang": "en", "labels": {"region": "eu-west"}}


async def test_a_form_says_who_matches_and_why_the_others_do_not(town: Town, visit: Visit) -> None:
    async with town.asking() as client:
        found = (await client.post("/v1/select/explain", json=NEEDS)).json()
    assert 0 < found["matching"] < found["examined"]
    visitor = await visit(f"{town.http}/select", token=token("reader"))
    page = visitor.page
    await page.get_by_label("Work").select_option("nmt")
    await page.get_by_label("Source language").fill("zh")
    await page.get_by_label("Target language").fill("en")
    await page.get_by_label("Labels").fill("region=eu-west")
    await page.keyboard.press("Enter")
    matches = page.locator("#matches")
    await expect(matches).to_contain_text(f"{found['matching']} of {found['examined']}")
    # What is read aloud is how many, not the tables.
    said = f"{found['matching']} of {found['examined']} match"
    await expect(page.locator("#verdict")).to_have_text(said)
    await expect(page.locator("[aria-live]")).to_have_count(0)
    for reason, count in found["reasons"].items():
        line = page.locator(f'#excluded li[data-reason="{reason}"]')
        await expect(line.locator("b")).to_have_text(str(count))
    for miss in found["nearest"]:
        await expect(page.locator(f'#nearest li[data-node="{miss["node_id"]}"]')).to_be_visible()
    other = await visit(page.url, token=token("reader"))
    await expect(other.page.locator("#matches")).to_contain_text(f"{found['matching']} of")
    await expect(other.page.get_by_role("textbox", name="Labels")).to_have_value("region=eu-west")


async def test_a_field_that_can_not_be_understood_is_named(town: Town, visit: Visit) -> None:
    visitor = await visit(token=token("reader"))
    visitor.expects("status of 400")
    page = visitor.page
    await visitor.opens(f"{town.http}/select?kind=asr")
    await expect(page.get_by_role("alert")).to_have_text(
        "Source language can't be understood: a language as the models name it, such as zh or en."
    )
    await expect(page.locator("#matches")).to_have_count(0)
    await page.get_by_label("Source language").fill("zh")
    await page.get_by_role("button", name="Find").click()
    await expect(page.locator("#matches")).to_be_visible()
    await expect(page.locator("#said")).to_be_empty()


async def test_labels_without_a_name_are_told_in_the_language_of_the_page(
    town: Town, visit: Visit
) -> None:
    address = f"{town.http}/select?labels=%3Dnothing"
    visitor = await visit(address, token=token("reader"), locale="zh-CN")
    alert = visitor.page.get_by_role("alert")
    await expect(alert).to_have_text("“标签”无法理解：名称=值，多个值用 | 分隔，排除用 !=。")
    await expect(visitor.page.locator("#matches")).to_have_count(0)
    assert not [url for url in visitor.requests if url.endswith("/v1/select/explain")]
