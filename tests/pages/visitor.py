"""Somebody who looks at a page, and hears what people who look at pages never hear: errors on the
console, refusals of the Content-Security-Policy, requests to other hosts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    ViewportSize,
    expect,
)

DESKTOP = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=390, height=844)
_HERE = ("127.0.0.1", "localhost")
_ENTER = """token => { try { sessionStorage.setItem('muster.token', token) } catch {} }"""
_POLICY = """addEventListener('securitypolicyviolation', event =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`))"""


@dataclass
class Visitor:
    """One page in a browser context of its own. `faults` are what a test must not have caused."""

    page: Page
    context: BrowserContext
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _expected: list[str] = field(default_factory=list)

    @classmethod
    async def arrives(
        cls,
        browser: Browser,
        *,
        token: str | None = None,
        look: str = "light",
        size: ViewportSize = DESKTOP,
        locale: str = "en-GB",
    ) -> Visitor:
        """With a token as one who entered it in this tab."""
        context = await browser.new_context(
            viewport=size,
            color_scheme="dark" if look == "dark" else "light",
            locale=locale,
            reduced_motion="reduce",
            has_touch=size is PHONE,
            is_mobile=size is PHONE,
            device_scale_factor=2 if size is PHONE else 1,
        )
        await context.add_init_script(_POLICY)
        if token is not None:
            await context.add_init_script(f"({_ENTER})({token!r})")
        made = cls(await context.new_page(), context)
        context.on("request", made._requested)
        context.on("console", made._said)
        context.on("weberror", lambda fault: made.faults.append(f"uncaught: {fault.error}"))
        made.page.set_default_timeout(20_000)
        return made

    def expects(self, *patterns: str) -> None:
        """Faults that this test causes on purpose, as regular expressions."""
        self._expected += patterns

    def unexpected(self) -> list[str]:
        """What was heard and nobody expected."""
        return [f for f in self.faults if not any(re.search(p, f) for p in self._expected)]

    async def live(self) -> None:
        """Waits until the page says that it is."""
        await expect(self.page.locator("#link")).to_have_attribute("data-link", "live")

    async def opens(self, url: str) -> None:
        """Goes to an address and waits until it is live."""
        await self.page.goto(url)
        await self.live()

    def row(self, node_id: str) -> Locator:
        """A machine's row of the fleet's table."""
        return self.page.locator(f'tr[data-node="{node_id}"]')

    def figure(self, status: str) -> Locator:
        """The number of machines with a status, or of `all`."""
        return self.page.locator(f'.figure[data-status="{status}"] b')

    async def leaves(self) -> None:
        """Closes the page and all that belongs to it."""
        await self.context.close()

    def _requested(self, request: Request) -> None:
        self.requests.append(request.url)
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname not in _HERE:
            self.faults.append(f"a request left the host: {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            place: Any = message.location
            self.faults.append(f"console {message.type}: {message.text} ({place.get('url', '')})")


async def stays_the_same(page: Page) -> None:
    """Marks this document; `was_reloaded` tells whether it is another one by then."""
    await page.evaluate("window.sameDocument = true")


async def was_reloaded(page: Page) -> bool:
    """Whether the document was loaded anew since it was marked."""
    return not await page.evaluate("window.sameDocument === true")


__all__ = ["DESKTOP", "PHONE", "Visitor", "stays_the_same", "was_reloaded"]
