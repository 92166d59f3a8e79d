"""Breaks: what was known stays and is marked as old, and the page goes on where it was."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psutil
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from registry.embedded import EmbeddedStore
from tests.faults.proxy import Proxy
from tests.integration.conftest import System
from tests.pages.conftest import Visit
from tests.pages.judging import grave_faults
from tests.pages.visitor import stays_the_same, was_reloaded
from tests.support.api import Machines, token

READER = token("reader")
PATIENT: dict[str, Any] = {"heartbeat_timeout_s": 600.0, "warmup_timeout_s": 600.0}
OLD = """element => {
  const look = getComputedStyle(element);
  return [look.outlineStyle, look.opacity, look.filter.startsWith('grayscale')];
}"""
CUT = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING")


Door = Callable[[int], Awaitable[Proxy]]


@pytest_asyncio.fixture(loop_scope="session")
async def door() -> AsyncIterator[Door]:
    """`await door(port)`: a way to a gateway that can be shut."""
    made: list[Proxy] = []

    async def make(port: int) -> Proxy:
        made.append(await Proxy(port).start())
        return made[-1]

    yield make
    for proxy in made:
        await proxy.stop()


async def test_a_gateway_is_killed_and_comes_back(system: System, visit: Visit) -> None:
    await system.start(gateways=2, **PATIENT)
    machines = Machines(system.registry)
    await machines.register("before")
    visitor = await visit(system.http, token=READER)
    visitor.expects(*CUT)
    page = visitor.page
    await expect(visitor.row("before")).to_be_visible()
    await stays_the_same(page)
    first = system.gateways[0]
    first.kill()
    await expect(page.locator("#link")).to_have_text("reconnecting…")
    await expect(page.locator("#page")).to_have_attribute("data-stale", "")
    await expect(page.locator("#banners")).to_contain_text("Not live: this is how it was")
    # Read aloud when it comes; the banner itself, whose time goes on, is not.
    await expect(page.get_by_role("status").filter(has_text="Not live")).to_have_id("aloud")
    await expect(visitor.row("before")).to_be_visible()
    assert await page.locator(".live:has(table)").evaluate(OLD) == ["dashed", "1", True]
    assert not await grave_faults(visitor)  # what is old can be read
    await machines.register("meanwhile")
    await system.processes.gateway(port=first.port)
    await page.get_by_role("button", name="Try now").click()
    await visitor.live()
    await expect(visitor.row("meanwhile")).to_be_visible()
    await expect(page.locator("#page")).not_to_have_attribute("data-stale", "")
    await expect(page.locator("#banners")).to_be_empty()
    assert not await was_reloaded(page)


async def test_what_is_old_is_marked_and_its_countdowns_stand_still(
    system: System, visit: Visit
) -> None:
    await system.start(**PATIENT)
    await Machines(system.registry).register("warms", labels={"owner": "x"})
    one = await visit(f"{system.http}/nodes/warms", token=READER)
    owner = await visit(f"{system.http}/mine", token=token("reader of x"))
    shown = (
        (one, one.page.locator(".state"), one.page.locator("#countdown")),
        (
            owner,
            owner.page.get_by_role("region", name="Not ready, and what to do"),
            owner.page.locator("[data-ends]"),
        ),
    )
    for visitor, card, countdown in shown:
        visitor.expects(*CUT)
        await expect(countdown).to_have_text(re.compile(r"^9:\d\d$"))
        assert (await card.evaluate(OLD))[0] == "none"
    system.gateways[0].kill()
    for visitor, card, _ in shown:
        await expect(visitor.page.locator("#page")).to_have_attribute("data-stale", "")
        assert await card.evaluate(OLD) == ["dashed", "1", True]
    before = [await countdown.inner_text() for _, _, countdown in shown]
    await asyncio.sleep(2.2)
    assert [await countdown.inner_text() for _, _, countdown in shown] == before


async def test_a_network_that_was_away_costs_no_event(
    system: System, door: Door, visit: Visit
) -> None:
    await system.start(**PATIENT)
    machines = Machines(system.registry)
    await machines.register("before")
    proxy = await door(system.gateways[0].port)
    visitor = await visit(f"http://127.0.0.1:{proxy.port}/events", token=READER)
    visitor.expects(*CUT)
    page = visitor.page
    await expect(page.locator(".events")).to_contain_text("before")
    # What came by this stream must not come again by the next.
    await machines.register("already")
    await expect(page.locator(".events")).to_contain_text("already")
    await stays_the_same(page)
    proxy.shut()
    await expect(page.locator("#link")).to_have_text("reconnecting…")
    await _five_come(machines)
    await proxy.unshut()
    await _has_seen_all(page, machines)
    assert not await was_reloaded(page)


@pytest.mark.pages
async def test_a_laptop_that_slept_goes_on_where_it_was(
    system: System, door: Door, visit: Visit
) -> None:
    """Its processes stand still and its connections die without a word, as when a lid is shut."""
    await system.start(**PATIENT)
    machines = Machines(system.registry)
    await machines.register("before")
    proxy = await door(system.gateways[0].port)
    visitor = await visit(f"http://127.0.0.1:{proxy.port}/events", token=READER)
    visitor.expects(*CUT)
    page = visitor.page
    await expect(page.locator(".events")).to_contain_text("before")
    # What came by this stream must not come again by the next.
    await machines.register("already")
    await expect(page.locator(".events")).to_contain_text("already")
    await stays_the_same(page)
    sleepers = [child for child in psutil.Process().children(recursive=True) if _is_browser(child)]
    assert sleepers
    for sleeper in sleepers:
        sleeper.suspend()
    try:
        for link in proxy.links:
            link.lost = True
        await _five_come(machines)
        # More than the page's own clock may jump before it believes that it slept.
        await asyncio.sleep(17)
    finally:
        for sleeper in sleepers:
            sleeper.resume()
    await _has_seen_all(page, machines)
    assert not await was_reloaded(page)


def _is_browser(process: psutil.Process) -> bool:
    return process.name().startswith("chrom")


async def _five_come(machines: Machines) -> None:
    for number in range(5):
        await machines.register(f"meanwhile-{number}")


async def _has_seen_all(page: Page, machines: Machines) -> None:
    """Each once, in the order in which they happened, and no gap is spoken of."""
    shown = page.locator(".events")
    await expect(shown).to_contain_text("meanwhile-4")
    await machines.register("after")
    await expect(shown).to_contain_text("after")
    names = await page.locator(".events > li a").all_inner_texts()
    told = [name for name in names if name != "before"]
    meanwhile = [f"meanwhile-{number}" for number in reversed(range(5))]
    assert told == ["after", *meanwhile, "already"]
    await expect(page.locator("#banners")).to_be_empty()


@pytest.fixture
def store_of(system: System) -> EmbeddedStore:
    (store,) = system.backend.servers
    return store


async def test_a_store_that_can_not_be_asked_is_told_and_comes_back(
    system: System, store_of: EmbeddedStore, visit: Visit
) -> None:
    await system.start(**PATIENT)
    machines = Machines(system.registry)
    await machines.register("before")
    visitor = await visit(system.http, token=READER)
    visitor.expects("status of 503", *CUT)
    page = visitor.page
    await expect(visitor.row("before")).to_be_visible()
    store_of.pause()
    try:
        await expect(page.locator("#banners")).to_contain_text("The store can't be asked right now")
        await expect(page.locator("#link")).to_have_text("store not reached")
        await expect(page.locator("#link")).to_have_attribute("data-link", "store")
        await expect(page.locator("#page")).to_have_attribute("data-stale", "")
        await expect(visitor.row("before")).to_be_visible()
    finally:
        store_of.resume()
    await expect(page.locator("#banners")).to_be_empty()
    await visitor.live()
    await expect(page.locator("#page")).not_to_have_attribute("data-stale", "")
    await asyncio.wait_for(machines.register("after"), 20)
    await expect(visitor.row("after")).to_be_visible()
