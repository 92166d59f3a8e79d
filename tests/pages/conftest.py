"""One browser for all tests of a worker; a context of its own, and a system, for each that asks.

Everything here lives on one event loop, as a browser's connection belongs to the loop it was made
on. Each visitor's console and requests are judged after the test, whatever the test was about.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from registry.registry import Registry
from registry.settings import RegistrySettings
from tests.integration.conftest import QUICK, System
from tests.pages.chromium import launch
from tests.pages.town import Town
from tests.pages.visitor import Visitor
from tests.support.api import lines
from tests.support.processes import ProcessesFactory
from tests.support.stores import Backend, Stores

_HERE = Path(__file__).parent
# A test says what comes, not how soon: machines that run tests are busy.
expect.set_options(timeout=20_000)
Visit = Callable[..., Awaitable[Visitor]]
_VISITORS = pytest.StashKey[list[Visitor]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if _HERE in item.path.parents]
    for item in filter(pytest_asyncio.is_async_test, ours):
        item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
    if "pages" in str(config.option.markexpr):
        return
    long_ones = [item for item in ours if item.get_closest_marker("pages")]
    if long_ones:
        config.hook.pytest_deselected(items=long_ones)
        items[:] = [item for item in items if item not in long_ones]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test whose page complained has failed, whatever it was about."""
    report = yield
    faults = _unexpected(item) if report.when == "call" else []
    if faults:
        said = "\n".join(faults)
        if report.passed:
            report.outcome, report.longrepr = "failed", said
        else:
            report.sections.append(("faults of the page", said))
        for visitor in item.stash[_VISITORS]:
            visitor.faults.clear()  # told once
    return report


def _unexpected(item: pytest.Item) -> list[str]:
    return [fault for visitor in item.stash.get(_VISITORS, []) for fault in visitor.unexpected()]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The browser of this worker."""
    async with async_playwright() as playwright:
        made = await launch(playwright)
        yield made
        await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(request: pytest.FixtureRequest, browser: Browser) -> AsyncIterator[Visit]:
    """`await visit(url, token=…, look="dark", size=PHONE, locale="zh-CN")`: a visitor whose page is
    live. Without a URL: one who has not gone anywhere yet."""
    made: list[Visitor] = []

    async def arrive(url: str | None = None, **how: Any) -> Visitor:
        visitor = await Visitor.arrives(browser, **how)
        made.append(visitor)
        if url is not None:
            await visitor.opens(url)
        return visitor

    request.node.stash[_VISITORS] = made
    yield arrive
    for visitor in made:
        await visitor.leaves()
    faults = _unexpected(request.node)
    assert not faults, "\n".join(faults)


@pytest_asyncio.fixture(loop_scope="session")
async def system(processes: ProcessesFactory, valkey: Backend) -> AsyncIterator[System]:
    """Nothing started yet; short times, and a token for each of `tests.support.api.WHO`. A store
    that is slow beside a browser is waited for: a page says aloud what it is refused."""
    assert valkey.url is not None
    made = processes(valkey.url, **{**QUICK, "redis_timeout_s": 3.0, "api_tokens": lines()})
    names = RegistrySettings.__dataclass_fields__
    shared: dict[str, Any] = {k: v for k, v in QUICK.items() if k in names}
    registry = await Registry.connect(replace(RegistrySettings(), redis_url=valkey.url, **shared))
    yield System(made, registry, valkey)
    await registry.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """Forty machines that all tests look at; one that changes a machine puts in one of its own."""
    directory = tmp_path_factory.mktemp("town")
    stores = Stores(directory / "store")
    try:
        made = await Town.begin(directory, stores.backend("valkey"))
        try:
            await made.settle(40)
            yield made
        finally:
            await made.end()
    finally:
        stores.stop()
