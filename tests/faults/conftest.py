"""Worlds for a test; tests marked `faults` run only when asked for by that mark."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.faults.pace import QUICK, Pace
from tests.faults.report import row_of, section_of, sentence_of
from tests.faults.stores import Standalone, StoreUnderTest
from tests.faults.world import Outcome, World
from tests.support.processes import ProcessesFactory

MakeWorld = Callable[..., Awaitable[World]]
Judge = Callable[[World], Awaitable[Outcome]]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "faults" in str(config.option.markexpr):
        return
    long_ones = [i for i in items if i.get_closest_marker("faults")]
    if long_ones:
        config.hook.pytest_deselected(items=long_ones)
        items[:] = [i for i in items if not i.get_closest_marker("faults")]


@pytest.fixture(autouse=True)
def _said(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """What each test is about, for the report, and where it stands in it."""
    record_property("sentence", sentence_of(request.node))
    record_property("section", section_of(request.node))
    record_property("place", request.session.items.index(request.node))


@pytest.fixture
def seed() -> int:
    """What a run's chance is drawn from: `FAULTS_SEED` of the environment, else a new one."""
    given = os.environ.get("FAULTS_SEED")
    return int(given) if given else random.randrange(1_000_000)


@pytest.fixture
def judged(record_property: Callable[[str, object], None]) -> Judge:
    """`await judged(world)`: no law was broken; what was measured goes into the report."""

    async def judge(world: World) -> Outcome:
        outcome = await world.outcome()
        record_property("fault", row_of(world, outcome))
        if outcome.breaches:
            broken = [f"{world.clock_of(b.at)}  {b}" for b in outcome.breaches[:20]]
            lines = [*broken, *outcome.notes]
            pytest.fail(f"{world!r}\n" + "\n".join(lines), pytrace=False)
        return outcome

    return judge


@pytest_asyncio.fixture
async def world(
    processes: ProcessesFactory,
    tmp_path: Path,
    seed: int,
    record_property: Callable[[str, object], None],
) -> AsyncIterator[MakeWorld]:
    """`await world(pace=…, store=…, machines=…)`: a started world, ended after the test."""
    made: list[World] = []
    stores: list[StoreUnderTest] = []
    record_property("seed", seed)

    async def make(
        pace: Pace = QUICK, store: StoreUnderTest | None = None, **options: Any
    ) -> World:
        store = store or Standalone(tmp_path / "store")
        stores.append(store)
        new = World(
            store, processes(store.url, **pace.settings, **store.settings), pace, seed, **options
        )
        made.append(new)
        print(f"seed {seed}")
        await new.start()
        return new

    yield make
    for each in made:
        await each.stop()
    for store in stores:
        store.kill()
