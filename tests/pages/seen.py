"""When a status of a machine was first to be seen on a page, by the page's own clock."""

from __future__ import annotations

from playwright.async_api import Page

_WATCH = """() => {
  const seen = window.seen = {};
  const look = () => {
    for (const row of document.querySelectorAll('tr[data-node]')) {
      const [, status] = /\\bs-(\\w+)/.exec(row.querySelector('.status').className);
      seen[`${row.dataset.node} ${status}`] ??= Date.now();
    }
  };
  new MutationObserver(look).observe(document.body, {
    childList: true, subtree: true, characterData: true, attributes: true });
  look();
}"""


class Seen:
    """What was seen in the table of the fleet since it began to look."""

    def __init__(self, page: Page) -> None:
        self._page = page

    @classmethod
    async def begin(cls, page: Page) -> Seen:
        await page.evaluate(_WATCH)
        return cls(page)

    async def all(self) -> dict[str, int]:
        """By `node_id status`, the first instant, ms since the epoch."""
        found: dict[str, int] = await self._page.evaluate("window.seen")
        return found
