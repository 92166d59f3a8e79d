"""Faults one after the other and at once, drawn from a seed.

`FAULTS_SEED=… pytest -m faults tests/faults/test_sequences.py` replays one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import Judge, MakeWorld
from tests.faults.sequence import Store, clock_errors, episodes
from tests.faults.stores import BehindSentinel, Clustered

EPISODES = 5


def test_a_seed_always_draws_the_same_sequence() -> None:
    assert episodes(7, 20) == episodes(7, 20)
    assert episodes(7, 20) != episodes(8, 20)
    assert len({clock_errors(seed) for seed in range(20)}) == 4


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("run", range(4))
async def test_random_faults(world: MakeWorld, judged: Judge, run: int, seed: int) -> None:
    """Five episodes of up to three faults, drawn from the seed, as clocks are: sequence {run}."""
    w = await world(machines=30, clock_errors_s=clock_errors(seed))
    for episode in episodes(seed, EPISODES):
        await w.suffer(episode)
    await judged(w)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("store", ["Sentinel", "Cluster"])
async def test_random_faults_of_several_servers(
    world: MakeWorld, judged: Judge, tmp_path: Path, store: Store, seed: int
) -> None:
    """{store}: three episodes of up to three faults at once, drawn from the seed."""
    kind = BehindSentinel if store == "Sentinel" else Clustered
    w = await world(store=kind(tmp_path / "servers"), machines=30)
    for episode in episodes(seed, 3, store):
        await w.suffer(episode)
    await judged(w)
