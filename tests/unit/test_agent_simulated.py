"""Cards that are not there."""

from __future__ import annotations

import pytest

from muster.agent.simulated import CARDS_MOST, SimulateError, simulated


def test_cards_are_described_by_name_and_size() -> None:
    hardware = simulated("RTX 4090:24, RTX 3090 : 24.5 ,a:b:1")
    assert [(gpu.index, gpu.name, gpu.memory_gb) for gpu in hardware.gpus] == [
        (0, "RTX 4090", 24.0),
        (1, "RTX 3090", 24.5),
        (2, "a:b", 1.0),
    ]
    assert hardware.source == "simulated"
    assert {gpu.driver_version for gpu in hardware.gpus} == {"simulated"}


def test_the_machine_around_them_is_this_one() -> None:
    hardware = simulated("card:8")
    assert hardware.cpu_cores >= 1
    assert hardware.memory_gb > 0


@pytest.mark.parametrize(
    ("described", "entry", "expected"),
    [
        ("", "", "a name, a colon and a size"),
        ("RTX 4090", "RTX 4090", "a name, a colon and a size"),
        ("RTX 4090:24,", "", "a name, a colon and a size"),
        (":24", ":24", "a name, a colon and a size"),
        ("RTX 4090:24 GB", "RTX 4090:24 GB", "a name, a colon and a size"),
        ("a:8,RTX 4090:0", "RTX 4090:0", "a size above 0"),
        ("RTX 4090:-24", "RTX 4090:-24", "a size above 0"),
        ("RTX 4090:nan", "RTX 4090:nan", "a size above 0"),
        ("RTX 4090:inf", "RTX 4090:inf", "a size above 0"),
        ("RTX 4090:1e9", "RTX 4090:1e9", "a size above 0"),
        (",".join(["a:1"] * (CARDS_MOST + 1)), "65 cards", "at most 64"),
    ],
)
def test_what_does_not_describe_cards_is_named(described: str, entry: str, expected: str) -> None:
    with pytest.raises(SimulateError) as caught:
        simulated(described)
    assert caught.value.entry == entry
    assert expected in caught.value.expected
    assert repr(entry) in str(caught.value)
