"""Every page in every look, as axe-core judges it: no fault that keeps somebody out."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from tests.pages.conftest import Visit
from tests.pages.judging import grave_faults, too_wide
from tests.pages.town import Town
from tests.pages.visitor import DESKTOP, PHONE
from tests.support.api import token

# Fewer lines of a kind say as much, and are looked at sooner.
PAGES = {
    "fleet": ("/?q=node-0", "tr[data-node]"),
    "fleet-grouped": ("/?group=gpu&status=ready&sort=-load", "tr[data-node]"),
    "nothing-fits": ("/?q=nobody-is-called-so", "#page p.soft"),
    "node-drained": ("/nodes/node-11", "#timeline li"),
    "node-degraded": ("/nodes/node-03", "#timeline li"),
    "node-gone": ("/nodes/nobody", "#page a"),
    "owners": ("/mine", "#owner"),
    "owner": ("/mine?owner=x", "li[data-node] .bar"),
    "select": ("/select?kind=nmt&src_lang=zh&tgt_lang=en&labels=region%3Deu-west", "#nearest li"),
    "events": ("/events?node=node-1", ".events > li"),
}
LOOKS = {
    "light-desktop": ("light", DESKTOP),
    "dark-phone": ("dark", PHONE),
    "dark-desktop": ("dark", DESKTOP),
    "light-phone": ("light", PHONE),
}
SHORT_PASS = (("light-desktop", "dark-phone"), ("fleet", "node-degraded", "owner", "select"))


def _cases() -> list[Any]:
    """Every page in every look; the short pass takes some of both."""
    looks, pages = SHORT_PASS
    short = [pytest.param(look, pages, id=f"{look}-in-short") for look in looks]
    return short + [
        pytest.param(look, tuple(PAGES), id=look, marks=pytest.mark.pages) for look in LOOKS
    ]


@pytest.mark.parametrize(("look", "pages"), _cases())
async def test_axe_finds_no_serious_fault(
    town: Town, visit: Visit, look: str, pages: tuple[str, ...]
) -> None:
    colours, size = LOOKS[look]
    visitor = await visit(town.http, token=token("admin"), look=colours, size=size)
    visitor.expects("status of 404")
    faults = []
    for name in pages:
        path, sign = PAGES[name]
        await visitor.opens(f"{town.http}{path}")
        await expect(visitor.page.locator(sign).first).to_be_visible()
        faults += [f"{name}: {fault}" for fault in await grave_faults(visitor)]
        faults += [f"{name}: {fault}" for fault in await too_wide(visitor)]
    await visitor.opens(f"{town.http}/nodes/node-00")
    await visitor.page.get_by_role("button", name="Drain…").click()
    await expect(visitor.page.get_by_role("dialog")).to_be_visible()
    faults += [f"dialog: {fault}" for fault in await grave_faults(visitor)]
    assert not faults, "\n".join(faults)


async def test_axe_finds_no_serious_fault_where_a_token_is_asked_for(
    town: Town, visit: Visit
) -> None:
    visitor = await visit(look="dark")
    visitor.expects("status of 401")
    await visitor.page.goto(town.http)
    await expect(visitor.page.get_by_label("API token")).to_be_visible()
    assert not await grave_faults(visitor)
