"""Every page in every look, as axe-core judges it: no fault that keeps somebody out."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import ViewportSize, expect

from tests.pages.conftest import Visit
from tests.pages.town import Town
from tests.pages.visitor import DESKTOP, PHONE, Visitor
from tests.support.api import token

PAGES = {
    "fleet": ("/", "tr[data-node]"),
    "fleet-grouped": ("/?group=gpu&status=ready&sort=-load", "tr[data-node]"),
    "nothing-fits": ("/?q=nobody-is-called-so", "#page p.soft"),
    "node": ("/nodes/node-00", ".timeline li"),
    "node-degraded": ("/nodes/node-03", ".timeline li"),
    "node-gone": ("/nodes/nobody", "#page a"),
    "events": ("/events", ".events > li"),
}
LOOKS = {
    "light-desktop": ("light", DESKTOP),
    "dark-phone": ("dark", PHONE),
    "dark-desktop": ("dark", DESKTOP),
    "light-phone": ("light", PHONE),
}
SHORT = ("light-desktop", "dark-phone")
GRAVE = ("serious", "critical")


def _long(look: str) -> list[pytest.MarkDecorator]:
    return [] if look in SHORT else [pytest.mark.pages]


async def grave_faults(visitor: Visitor) -> list[str]:
    """What axe-core finds that is serious or critical, a line for each element."""
    result: dict[str, Any] = (await Axe().run(visitor.page)).response
    assert len(result["passes"]) > 10  # it looked at all
    return [
        f"{fault['id']} ({fault['impact']}): {node['html'][:160]} – {node['failureSummary']}"
        for fault in result["violations"]
        if fault["impact"] in GRAVE
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize("look", [pytest.param(look, marks=_long(look), id=look) for look in LOOKS])
async def test_axe_finds_no_serious_fault(town: Town, visit: Visit, look: str) -> None:
    colours, size = LOOKS[look]
    visitor = await visit(town.http, token=token("admin"), look=colours, size=size)
    visitor.expects("status of 404")
    faults = []
    for name, (path, sign) in PAGES.items():
        await visitor.opens(f"{town.http}{path}")
        await expect(visitor.page.locator(sign).first).to_be_visible()
        faults += [f"{name}: {fault}" for fault in await grave_faults(visitor)]
        faults += [f"{name}: {fault}" for fault in await _too_wide(visitor, size)]
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


async def _too_wide(visitor: Visitor, size: ViewportSize) -> list[str]:
    """A page is read downwards; only tables may be wider, within themselves."""
    width = await visitor.page.evaluate("document.documentElement.scrollWidth")
    return [f"{width} px wide on {size['width']}"] if width > size["width"] else []
