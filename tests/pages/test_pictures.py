"""Takes the pictures of docs/img/pages: each page, light and dark, on a desk and on a phone.

They are looked at by people; what a test can say of them is that they are there and small.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import expect

from registry.model import Verdict
from tests.pages.conftest import Visit
from tests.pages.pictures import DIRECTORY, keep
from tests.pages.town import Town
from tests.pages.visitor import DESKTOP, PHONE, Visitor
from tests.support.api import token
from tests.support.stores import Stores

pytestmark = [pytest.mark.pages, pytest.mark.timeout(400)]

MOST_BYTES_IN_ALL = 2_500_000
LOOKS = {
    "light-desktop": ("light", DESKTOP),
    "dark-desktop": ("dark", DESKTOP),
    "light-phone": ("light", PHONE),
    "dark-phone": ("dark", PHONE),
}
ILL, DRAINED = "node-103", "node-111"
PAGES = {
    "fleet": ("/?group=gpu", "tr[data-node]"),
    "node": (f"/nodes/{ILL}", "#timeline li"),
    "owner": ("/mine?owner=x", "li[data-node]:nth-of-type(5):has-text('What to do')"),
    "select": ("/select?kind=nmt&src_lang=zh&tgt_lang=en&labels=region%3Deu-west", "#nearest li"),
    "events": ("/events", ".events > li"),
}

# Who may get work is asked every five seconds, and says by then what the live numbers say.
_AGREE = """() => {
  const number = (status, part) =>
    parseInt(document.querySelector(`.figure[data-status="${status}"] ${part}`).innerText);
  return number('all', '.soft') === number('ready', 'b');
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shown(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> AsyncIterator[Town]:
    """Six hundred machines, most of them well."""
    backend = stores.backend("valkey")
    backend.empty()
    made = await Town.begin(tmp_path_factory.mktemp("shown"), backend)
    try:
        await made.settle(600)
        yield made
    finally:
        await made.end()


async def _a_while(town: Town, seconds: int) -> None:
    """Machines fall ill and recover, so that the numbers have a history."""
    chance = random.Random(7)
    ready = [id_ for place, id_ in enumerate(town.ids) if place % 20 not in (3, 7, 11, 15)]
    ill: list[str] = []
    for _ in range(seconds):
        new = chance.sample(ready, chance.randrange(2, 9))
        for _ in range(3):
            await town.beats(new, Verdict.SELF_REPORTED)
        await town.beats(ill[: len(ill) // 2])
        ill = [*ill[len(ill) // 2 :], *new]
        await asyncio.sleep(1)


async def test_every_page_has_its_picture_in_every_look(shown: Town, visit: Visit) -> None:
    who = token("admin")
    visitors: dict[str, Visitor] = {}
    for look, (colours, size) in LOOKS.items():
        visitors[look] = await visit(f"{shown.http}/?group=gpu", token=who, look=colours, size=size)
    await _a_while(shown, 12)
    for name, (path, sign) in PAGES.items():
        for look, visitor in visitors.items():
            if name != "fleet":
                # As a link would: what the page remembers of the last minutes stays.
                await visitor.opens(f"{shown.http}{path}")
            await expect(visitor.page.locator(sign).first).to_be_visible()
            if name == "fleet":
                await visitor.page.wait_for_function(_AGREE)
            assert who not in await visitor.page.content(), "a picture shows no secret"
            keep(f"{name}-{look}", await visitor.page.screenshot())


async def test_states_have_their_pictures(shown: Town, visit: Visit) -> None:
    asked = await visit()
    asked.expects("status of 401")
    await asked.page.goto(shown.http)
    await expect(asked.page.get_by_label("API token")).to_be_visible()
    signs = "Array.from(document.images).every((image) => image.complete)"
    await asked.page.wait_for_function(signs)
    keep("gate-light-desktop", await asked.page.screenshot())

    admin = await visit(f"{shown.http}/nodes/{DRAINED}", token=token("admin"), look="dark")
    await admin.page.get_by_role("button", name="Resume…").click()
    await admin.page.get_by_role("dialog").get_by_label("Reason").fill("fans are in")
    keep("resume-dark-desktop", await admin.page.screenshot())

    chinese = await visit(shown.http, token=token("reader"), locale="zh-CN")
    await expect(chinese.figure("all")).to_have_text("600")
    await chinese.page.wait_for_function(_AGREE)
    keep("fleet-chinese", await chinese.page.screenshot())

    await chinese.opens(f"{shown.http}/nodes/{ILL}")
    await expect(chinese.page.locator("#timeline li").first).to_be_visible()
    keep("node-chinese", await chinese.page.screenshot())

    day = await visit(f"{shown.http}/mine?owner=x", token=token("reader"))
    uptime = day.page.get_by_role("region", name="Last 24 hours")
    await expect(uptime.locator(".bar .u-theirs").first).to_be_visible()
    await uptime.evaluate("card => scrollBy(0, card.getBoundingClientRect().top - 330)")
    keep("owner-day-light-desktop", await day.page.screenshot())

    stale = await visit(shown.http, token=token("reader"))
    stale.expects("ERR_")
    await expect(stale.page.locator("tr[data-node]").first).to_be_visible()
    admin.expects("ERR_")
    chinese.expects("ERR_")
    day.expects("ERR_")
    shown.gateways[0].kill()
    await expect(stale.page.locator("#banners")).to_contain_text("Not live")
    keep("reconnecting-light-desktop", await stale.page.screenshot())


def test_all_pictures_together_are_small() -> None:
    found = list(DIRECTORY.glob("*.png"))
    assert len(found) >= 4 * len(PAGES) + 6
    assert sum(path.stat().st_size for path in found) <= MOST_BYTES_IN_ALL


def test_a_picture_that_can_not_be_small_is_refused(tmp_path: Path) -> None:
    noise = BytesIO()
    Image.frombytes("RGB", (99, 99), random.Random(1).randbytes(99 * 99 * 3)).save(noise, "PNG")
    with pytest.raises(ValueError, match="noise has"):
        keep("noise", noise.getvalue(), tmp_path, most_bytes=1000)
