"""What pages forget: nobody is let in, the token is wrong."""

from __future__ import annotations

from playwright.async_api import expect

from tests.pages.conftest import Visit
from tests.pages.town import Town
from tests.support.api import token


async def test_without_a_token_one_is_asked_for_it_and_with_a_wrong_one_told_so(
    town: Town, visit: Visit
) -> None:
    visitor = await visit()
    visitor.expects("status of 401")
    page = visitor.page
    await page.goto(town.http)
    field = page.get_by_label("API token")
    await expect(field).to_be_focused()
    await page.keyboard.type("a-token-that-nobody-made")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("not known here")
    await expect(field).to_be_focused()
    await page.keyboard.type(token("reader"))
    await page.keyboard.press("Enter")
    await visitor.live()
    await expect(visitor.figure("all")).to_have_text("40")
    assert not [url for url in visitor.requests if token("reader") in url]
    assert token("reader") not in page.url
    await page.get_by_role("button", name="Forget the token").click()
    await expect(field).to_be_visible()
    await expect(page.locator("tr[data-node]")).to_have_count(0)
