"""What keeps somebody out of a page: as axe-core judges it, and by its width."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.async_playwright import Axe

from tests.pages.visitor import Visitor

GRAVE = ("serious", "critical")


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


async def too_wide(visitor: Visitor) -> list[str]:
    """A page is read downwards; only tables may be wider, within themselves."""
    width, there = await visitor.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    return [f"{width} px wide on {there}"] if width > there else []
