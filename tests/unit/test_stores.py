"""The stores the suite stands on answer, and so does the count of what they passed."""

from __future__ import annotations

from registry.store import Store
from tests.support.floors import FLOORS, below_floor
from tests.support.stores import BACKENDS, Backend


async def test_every_store_answers(store: Store) -> None:
    await store.ping()


async def test_every_store_is_empty_when_a_test_begins(backend: Backend) -> None:
    assert [server.command("DBSIZE") for server in backend.servers] == [0] * len(backend.servers)


def test_every_store_has_a_floor() -> None:
    assert set(FLOORS) == set(BACKENDS)


def test_a_store_whose_tests_vanished_is_named() -> None:
    passed = {**FLOORS, "cluster": 0}
    assert [s for s in below_floor(passed, set()) if "cluster" in s] == below_floor(passed, set())


def test_a_store_this_machine_lacks_is_excused() -> None:
    assert below_floor({**FLOORS, "redis": 0}, {"redis"}) == []
