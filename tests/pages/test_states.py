"""What pages forget: nobody is there, nobody is let in, nobody watches."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Route, expect

from muster.wire.bearer import Entry, Role, digest
from tests.integration.conftest import System
from tests.pages.conftest import Visit
from tests.pages.judging import grave_faults, too_wide
from tests.pages.town import Town
from tests.pages.visitor import PHONE, stays_the_same, was_reloaded
from tests.support.api import Machines, token
from tests.support.files import put


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
    # Who comes next in this tab sees nothing of what the former was shown.
    async with town.asking("reader of x") as client:
        theirs = len((await client.get("/v1/nodes")).json()["nodes"])
    assert 0 < theirs < 40
    await field.fill(token("reader of x"))
    await page.keyboard.press("Enter")
    await visitor.live()
    await expect(visitor.figure("all")).to_have_text(str(theirs))
    await expect(page.locator("tr[data-node]")).to_have_count(theirs)


async def test_whose_token_is_changed_sees_nothing_of_what_they_could_see_before(
    system: System, visit: Visit, tmp_path: Path
) -> None:
    secret = "token-of-somebody-0123456789abc"
    tokens = tmp_path / "tokens"

    def says(role: Role, owner: str | None) -> None:
        put(tokens, Entry("ann", role, digest(secret), owner).line() + "\n")

    says(Role.ADMIN, None)
    quick: dict[str, Any] = {
        "api_tokens": [],
        "api_tokens_file": str(tokens),
        "watch_keepalive_s": 0.2,
    }
    await system.start(heartbeat_timeout_s=600.0, warmup_timeout_s=600.0, **quick)
    machines = Machines(system.registry)
    await machines.register("theirs", labels={"owner": "x"})
    await machines.register("others")
    visitor = await visit(system.http, token=secret)
    page = visitor.page
    visitor.expects("status of 401")
    await expect(visitor.row("others")).to_be_visible()
    await stays_the_same(page)
    says(Role.READ, "x")
    await expect(visitor.row("others")).to_have_count(0)
    await expect(visitor.row("theirs")).to_be_visible()
    await expect(visitor.figure("all")).to_have_text("1")
    await expect(page.locator("#top")).to_contain_text("ann · read · owner=x")
    put(tokens, "")
    await expect(page.get_by_label("API token")).to_be_visible()
    await expect(visitor.row("theirs")).to_have_count(0)
    assert not await was_reloaded(page)


async def test_before_the_list_is_read_the_page_says_so_and_has_the_numbers(
    town: Town, visit: Visit
) -> None:
    visitor = await visit(token=token("reader"))
    page = visitor.page
    answered = asyncio.Event()

    async def late(route: Route) -> None:
        await answered.wait()
        await route.continue_()

    await visitor.context.route("**/v1/nodes?snapshot=1*", late)
    await page.goto(town.http)
    await expect(page.locator("#link")).to_have_text("reading the list…")
    await expect(page.get_by_text("Reading…", exact=True)).to_be_visible()
    await expect(visitor.figure("all")).to_have_text("40")
    answered.set()
    await visitor.live()
    await expect(page.locator("tr[data-node]")).to_have_count(40)


@pytest.mark.pages
async def test_an_empty_fleet_says_how_the_first_machine_joins_to_copy(
    system: System, visit: Visit
) -> None:
    await system.start()
    visitor = await visit(system.http, token=token("admin"), size=PHONE)
    await visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visitor.page
    await expect(page.get_by_role("heading", name="No machine has joined yet")).to_be_visible()
    await page.get_by_role("button", name="Copy").first.click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied == f"muster agent run --server {system.ws} --models-dir models"
    await expect(page.locator("#page")).to_contain_text("MUSTER_AGENT_JOIN_TOKEN")
    assert not await grave_faults(visitor)
    assert not await too_wide(visitor)


async def test_the_commands_of_an_empty_page_bring_a_machine_in_that_becomes_ready(
    system: System, visit: Visit, tmp_path: Path
) -> None:
    await system.start(warmup_timeout_s=600.0)
    visitor = await visit(system.http, token=token("reader of x"))
    commands = visitor.page.locator(".command code")
    await expect(commands).to_have_count(3)
    real, model, pretended = await commands.all_inner_texts()
    assert pretended == f'{real} --simulate "RTX 4090:24"'
    environ = {name: value for name, value in os.environ.items() if name[:7] != "MUSTER_"}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    environ["MUSTER_AGENT_STATE_DIR"] = str(tmp_path / "state")
    with (tmp_path / "agent.log").open("wb") as log:
        agent = await asyncio.create_subprocess_shell(
            f"{model} && exec {pretended}", cwd=tmp_path, env=environ, stdout=log, stderr=log
        )
    try:
        # To the owner, who sees their own machines alone.
        row = visitor.page.locator("tr[data-node]")
        await expect(row.locator(".s-ready")).to_be_visible()
        await expect(row).to_contain_text("owner=x")
    finally:
        agent.terminate()
        await agent.wait()


@pytest.mark.pages
async def test_a_gateway_without_tokens_that_others_can_reach_says_what_to_configure(
    system: System, visit: Visit
) -> None:
    await system.start(host="0.0.0.0", api_tokens=[])
    visitor = await visit()
    visitor.expects("status of 403")
    await visitor.page.goto(system.http)
    await expect(visitor.page.get_by_role("heading", name="closed to pages")).to_be_visible()
    await expect(visitor.page.locator("#page")).to_contain_text("API_NOT_CONFIGURED")
    await expect(visitor.page.locator("#page")).to_contain_text("MUSTER_API_TOKENS_FILE")
    assert not await grave_faults(visitor)
    chinese = await visit(locale="zh-CN")
    chinese.expects("status of 403")
    await chinese.page.goto(system.http)
    await expect(chinese.page.locator("#page")).to_contain_text("会生成令牌")
    await expect(chinese.page.locator("#page")).not_to_contain_text("makes a token")


@pytest.mark.pages
async def test_time_that_nobody_watches_explains_itself(system: System, visit: Visit) -> None:
    await system.start(heartbeat_timeout_s=600, warmup_timeout_s=600)
    await Machines(system.registry).register("watched")
    visitor = await visit(system.http, token=token("reader"))
    banners = visitor.page.locator("#banners")
    await expect(visitor.row("watched")).to_be_visible()
    await expect(banners).to_be_empty()
    system.sweepers[0].kill()
    await expect(banners).to_contain_text("Parts of the fleet are not watched", timeout=30_000)
    await expect(banners).to_contain_text("counts against no machine")
    await system.processes.sweeper(heartbeat_timeout_s=600, warmup_timeout_s=600)
    await expect(banners).to_be_empty(timeout=30_000)
