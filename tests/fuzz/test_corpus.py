"""Whatever once went wrong, and what is like it, goes right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from tests.fuzz.corpus import PLACE, inputs, keep
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import Target, targets
from tests.support.stores import Backend

NAMES = ("json", "msgpack", "short", "http", "scripts")
NEW = {"json": 2000, "msgpack": 2000, "short": 2000, "http": 100, "scripts": 50}
"""How many more are tried, made of those that are kept; the same ones each time."""


@pytest_asyncio.fixture
async def by_name(valkey: Backend) -> AsyncIterator[dict[str, Target]]:
    store = await valkey.connect()
    async with targets(store) as all_of_them:
        yield {target.name: target for target in all_of_them}
    await store.close()


@pytest.mark.parametrize("name", NAMES)
async def test_what_is_kept_and_what_is_made_of_it_goes_right(
    name: str, by_name: dict[str, Target]
) -> None:
    kept, random = inputs(name), Random(name)
    assert len(kept) >= 2
    known = [data for _, data in kept]
    made = [mutated(random.choice(known), known, random) for _ in range(NEW[name])]
    for label, data in (*kept, *((f"new {n}", data) for n, data in enumerate(made))):
        try:
            await by_name[name].run(data)
        except Exception as error:
            raise AssertionError(f"{label}: {data!r}") from error


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.name for path in PLACE.iterdir()} == set(NAMES) == set(NEW)


def test_changes_reach_far_and_are_the_same_with_the_same_seed() -> None:
    def some(seed: int) -> list[bytes]:
        random = Random(seed)
        return [mutated(b"abcdef", [b"xyz"], random) for _ in range(500)]

    assert some(1) == some(1) != some(2)
    assert len(set(some(1))) > 300
    assert any(b"node_register" in made for made in some(1))


def test_a_bug_is_found_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.corpus.PLACE", tmp_path)
    path = keep("json", b"[", "found")
    assert path.name.startswith("found-")
    assert inputs("json") == [(path.name, b"[")]
