"""The batcher: order, no merging, no loss while the store is away, bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from gateway.batcher import Batcher
from registry.errors import StoreMisbehaved, StoreUnavailable
from registry.model import Beat, BeatAnswer, BeatOutcome, Verdict
from tests.support.fleet import until

FINE = BeatAnswer(BeatOutcome.FINE)


class Store:
    """Takes beats, or is away."""

    def __init__(self) -> None:
        self.calls: list[list[tuple[str, int]]] = []
        self.relayed: list[int] = []
        self.away = False
        self.away_in_part: set[int] = set()
        self.bug: Exception | None = None
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.may_answer.set()
        self.poison: str | None = None

    def lane_of(self, node_id: str) -> int:
        return ord(node_id[0])

    async def beat(self, beats: Sequence[Beat]) -> list[BeatAnswer | None]:
        self.asked.set()
        await self.may_answer.wait()
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("away")
        if self.bug is not None:
            raise self.bug
        if any(b.node_id == self.poison for b in beats):
            raise StoreMisbehaved("poison")
        taken = [b for b in beats if self.lane_of(b.node_id) not in self.away_in_part]
        if taken:
            self.calls.append([(b.node_id, b.seq) for b in taken])
        self.relayed += [b.relayed for b in beats]
        return [FINE if b in taken else None for b in beats]

    @property
    def taken(self) -> list[tuple[str, int]]:
        return [beat for call in self.calls for beat in call]


class Owner:
    def __init__(self) -> None:
        self.relayed = 7
        self.answers: list[tuple[int, BeatOutcome]] = []

    def answered(self, beat: Beat, answer: BeatAnswer, now: float) -> None:
        self.answers.append((beat.seq, answer.outcome))


def beat(node_id: str, seq: int) -> Beat:
    return Beat(node_id, "sid", seq, 0.0, Verdict.PASS, 0, 1, 0, b"")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def batcher(store: Store) -> AsyncIterator[Batcher]:
    made = Batcher(store, window_s=0.001, batch_max=10, pending_per_node=4)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_beats_of_one_window_go_in_one_call(batcher: Batcher, store: Store) -> None:
    owner = Owner()
    for i in range(5):
        batcher.offer(beat(f"n{i}", 1), owner)
    assert await batcher.drain(2)
    assert len(store.calls) == 1
    assert owner.answers == [(1, BeatOutcome.FINE)] * 5


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch, batcher: Batcher) -> Batcher:
    """One whose beats wait for ever unless something hurries."""
    monkeypatch.setattr("gateway.batcher.PATIENCE", 1_000_000)
    return batcher


async def test_beats_that_change_nothing_go_with_the_first_that_hurries(
    patient: Batcher, store: Store
) -> None:
    owner = Owner()
    for i in range(3):
        patient.offer(beat(f"n{i}", 1), owner, hurry=False)
    await asyncio.sleep(0.02)
    assert store.calls == []
    patient.offer(beat("m", 1), owner)
    await _answered(owner, 4)
    assert store.calls == [[("n0", 1), ("n1", 1), ("n2", 1), ("m", 1)]]


async def test_who_waits_for_answers_hurries_what_was_offered(
    patient: Batcher, store: Store
) -> None:
    owner = Owner()
    patient.offer(beat("n", 1), owner, hurry=False)
    patient.hurry()
    await _answered(owner, 1)
    patient.offer(beat("n", 2), owner, hurry=False)
    assert await patient.drain(2)
    assert store.taken == [("n", 1), ("n", 2)]


async def test_a_full_batch_waits_for_nothing(patient: Batcher, store: Store) -> None:
    owner = Owner()
    for i in range(10):
        patient.offer(beat(f"n{i}", 1), owner, hurry=False)
    await _answered(owner, 10)
    assert len(store.calls) == 1


async def test_what_comes_while_a_call_is_under_way_waits_for_company_too(
    patient: Batcher, store: Store
) -> None:
    owner = Owner()
    store.may_answer.clear()
    patient.offer(beat("n", 1), owner)
    await store.asked.wait()
    patient.offer(beat("n", 2), owner, hurry=False)
    store.may_answer.set()
    await _answered(owner, 1)
    await asyncio.sleep(0.02)
    assert store.taken == [("n", 1)]
    patient.offer(beat("n", 3), owner)
    await _answered(owner, 3)
    assert store.calls == [[("n", 1)], [("n", 2), ("n", 3)]]


async def test_a_beat_that_changes_nothing_goes_by_itself_after_a_while(
    batcher: Batcher, store: Store
) -> None:
    owner = Owner()
    batcher.offer(beat("n", 1), owner, hurry=False)
    await _answered(owner, 1)
    assert store.taken == [("n", 1)]


async def _answered(owner: Owner, count: int) -> None:
    async def all_answered() -> bool:
        return len(owner.answers) >= count

    await until(all_answered, f"{count} beats are answered")


async def test_beats_of_one_node_are_neither_merged_nor_reordered(
    batcher: Batcher, store: Store
) -> None:
    owner = Owner()
    for seq in range(1, 61):
        batcher.offer(beat("n", seq), owner)
    assert await batcher.drain(2)
    assert store.taken == [("n", seq) for seq in range(1, 61)]
    assert all(len(call) <= 10 for call in store.calls)


async def test_a_beat_carries_what_was_told_when_it_is_sent(batcher: Batcher, store: Store) -> None:
    owner = Owner()
    batcher.offer(beat("n", 1), owner)
    owner.relayed = 9
    assert await batcher.drain(2)
    assert store.relayed == [9]


async def test_beats_wait_for_the_store_and_keep_their_order(
    batcher: Batcher, store: Store
) -> None:
    owner = Owner()
    store.away = True
    for seq in (1, 2, 3):
        batcher.offer(beat("n", seq), owner)
    assert not await batcher.drain(0.1)
    seen = [batcher.store_ok]
    store.away = False
    assert await batcher.drain(5)
    seen.append(batcher.store_ok)
    assert seen == [False, True]
    assert store.taken == [("n", 1), ("n", 2), ("n", 3)]
    assert owner.answers == [(seq, BeatOutcome.FINE) for seq in (1, 2, 3)]


async def test_while_the_store_is_away_the_oldest_go_first(batcher: Batcher, store: Store) -> None:
    owner = Owner()
    store.away = True
    batcher.offer(beat("n", 1), owner)
    assert not await batcher.drain(0.05)
    for seq in range(2, 11):
        batcher.offer(beat("n", seq), owner)
    assert not await batcher.drain(0.3)
    store.away = False
    assert await batcher.drain(5)
    assert store.taken == [("n", seq) for seq in (7, 8, 9, 10)]
    assert sorted(seq for seq, _ in owner.answers) == list(range(1, 11))
    assert len(batcher) == 0


async def test_a_beat_no_script_can_take_spares_the_others(batcher: Batcher, store: Store) -> None:
    owner = Owner()
    store.poison = "bad"
    for name in ("a", "bad", "b"):
        batcher.offer(beat(name, 1), owner)
    assert await batcher.drain(2)
    assert store.taken == [("a", 1), ("b", 1)]
    assert len(owner.answers) == 3


async def test_a_part_of_the_store_that_is_away_holds_up_only_its_own_beats(
    batcher: Batcher, store: Store
) -> None:
    stuck, free = Owner(), Owner()
    store.away_in_part = {ord("x")}
    for seq in range(1, 4):
        for i in range(12):  # more than one call can take
            batcher.offer(beat(f"x{i}", seq), stuck)
        batcher.offer(beat("a", seq), free)
    assert not await batcher.drain(0.2)
    assert free.answers == [(seq, BeatOutcome.FINE) for seq in (1, 2, 3)]
    assert stuck.answers == []
    assert (batcher.store_ok, batcher.reaches("a"), batcher.reaches("x1")) == (False, True, False)
    batcher.offer(beat("a", 4), free)
    batcher.offer(beat("x0", 4), stuck)
    store.away_in_part = set()
    assert await batcher.drain(5)
    assert [b for b in store.taken if b[0] == "x0"] == [("x0", seq) for seq in (1, 2, 3, 4)]
    assert batcher.store_ok and batcher.reaches("x1")
    assert len(stuck.answers) == 37


async def test_what_comes_while_a_part_is_found_away_keeps_its_order(
    batcher: Batcher, store: Store
) -> None:
    owner = Owner()
    store.away_in_part = {ord("x")}
    store.may_answer.clear()
    batcher.offer(beat("x", 1), owner)
    await store.asked.wait()
    batcher.offer(beat("x", 2), owner)
    store.may_answer.set()
    assert not await batcher.drain(0.1)
    batcher.offer(beat("x", 3), owner)
    store.away_in_part = set()
    assert await batcher.drain(5)
    assert store.taken == [("x", 1), ("x", 2), ("x", 3)]


async def test_a_bug_in_the_store_s_client_loses_no_beat(batcher: Batcher, store: Store) -> None:
    owner = Owner()
    store.bug = AttributeError("'NoneType' object has no attribute 'writelines'")
    batcher.offer(beat("n", 1), owner)
    assert not await batcher.drain(0.1)
    store.bug = None
    assert await batcher.drain(5)
    assert owner.answers == [(1, BeatOutcome.FINE)]
