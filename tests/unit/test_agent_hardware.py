"""Sizes as people know them, and the protocol's `hardware` object."""

from __future__ import annotations

import json

import pytest

from muster.agent.hardware import Gpu, Hardware, gib
from muster.wire.codec import JSON
from muster.wire.messages import Register
from muster.wire.reading import read

MIB = 1024**2


@pytest.mark.parametrize(
    ("mib", "told"),
    [
        (8192, 8),  # RTX 3070
        (8188, 8),  # RTX 4060
        (12282, 12),  # RTX 4070
        (24564, 24),  # RTX 4090
        (49140, 48),  # RTX A6000
        (81559, 80),  # H100 80 GB
        (15360, 15),  # T4, which keeps a sixteenth for ECC
        (23028, 22.5),  # A10, with ECC
        (11019, 10.8),  # RTX 2080 Ti
        (19968, 19.5),  # a slice of an A100
        (4864, 4.8),  # a smaller one
        (512, 0.5),
        (1, 0.1),
        (0, 0),
    ],
)
def test_a_size_is_what_people_call_it(mib: int, told: float) -> None:
    assert gib(mib * MIB) == told


def hardware(**gpu: object) -> Hardware:
    return Hardware(
        cpu_cores=16,
        memory_gb=32.0,
        gpus=(Gpu(name="RTX 3070", memory_gb=8.0, **gpu),),  # type: ignore[arg-type]
        platform="linux",
    )


def test_the_message_is_the_protocols_and_names_nothing_that_is_not_known() -> None:
    assert hardware().as_message() == {
        "cpu_cores": 16,
        "memory_gb": 32.0,
        "gpus": [{"name": "RTX 3070", "memory_gb": 8.0}],
    }


def test_a_gateway_reads_it_as_it_was_meant() -> None:
    found = hardware(uuid="GPU-0", driver_version="570.86.15", index=0)
    frame = {"type": "node_register", "hardware": found.as_message(), "installed_models": []}
    message = read(json.dumps(frame), JSON)
    assert isinstance(message, Register)
    assert message.hardware.gpus == found.gpus
    assert (message.hardware.cpu_cores, message.hardware.memory_gb) == (16, 32)
