"""How living sweepers share the partitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.keys import PARTITIONS
from sweeper.leases import share

names = st.lists(st.text("abc0123456789-", min_size=1, max_size=8), min_size=1, max_size=8)


@given(names)
def test_every_partition_has_exactly_one_sweeper(sweepers: list[str]) -> None:
    taken = [p for name in set(sweepers) for p in share(sweepers, name)]
    assert sorted(taken) == list(range(PARTITIONS))


@given(names)
def test_when_one_goes_the_others_keep_what_they_had(sweepers: list[str]) -> None:
    living = sorted(set(sweepers))
    for name in living[1:]:
        assert set(share(living, name)) <= set(share(living[1:], name))


@pytest.mark.parametrize("many", [2, 3, 4, 8])
def test_sweepers_with_alike_names_get_alike_shares(many: int) -> None:
    living = [f"host-{number}-abcd" for number in range(many)]
    for name in living:
        assert PARTITIONS / many / 3 < len(share(living, name)) < PARTITIONS / many * 2


def test_a_sweeper_nobody_has_heard_of_yet_counts_itself() -> None:
    assert share([], "alone") == list(range(PARTITIONS))
    assert share(["other"], "new")
