"""Finding the hardware: who is asked, in which order, and which of several causes is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from muster.agent.causes import NoGpuCause, NoGpuError
from muster.agent.facts import CardFound, CardReading, CardWanted, Source
from muster.agent.hardware import Hardware
from muster.agent.probe import probe
from muster.agent.sources import find, sources
from tests.fake_nvml import FakeNvml
from tests.support.cards import DEADLINE_S, tree
from tests.unit.test_agent_amd import LARGE

CARD: CardFound = {
    "name": "card",
    "memory_bytes": 8 * 1024**3,
    "uuid": None,
    "driver_version": None,
    "index": 0,
}
SMI = """#!/bin/sh
echo '0, GPU-s, NVIDIA GeForce GTX 1080, 8192, 0, 0, 30, 570.1, [N/A], [N/A], Not Active'
"""


class Scripted:
    def __init__(self, name: Source, ends: NoGpuCause | None = None) -> None:
        self.name: Source = name
        self._ends = ends

    def find(self) -> list[CardFound]:
        if self._ends is not None:
            raise NoGpuError(self._ends, f"said by {self.name}")
        return [CARD]

    def begin(self) -> None: ...

    def read(self, wanted: CardWanted) -> CardReading:
        return {}


def cause_of(*causes: NoGpuCause) -> NoGpuError:
    names: list[Source] = ["nvml", "nvidia-smi", "amd"]
    asked = [Scripted(name, ends) for name, ends in zip(names, causes, strict=False)]
    with pytest.raises(NoGpuError) as caught:
        find(asked, lambda name: None)
    return caught.value


@pytest.mark.parametrize(
    ("platform", "order"),
    [
        ("linux", ["nvml", "nvidia-smi", "amd"]),
        ("win32", ["nvml", "nvidia-smi"]),
        ("darwin", ["macos"]),
    ],
)
def test_the_order_in_which_sources_are_asked(
    tmp_path: Path, platform: str, order: list[str]
) -> None:
    assert [source.name for source in sources(tmp_path, platform)] == order


def test_the_first_source_with_cards_ends_the_asking() -> None:
    asked: list[Source] = []
    three = [Scripted("nvml", NoGpuCause.NO_GPU), Scripted("nvidia-smi"), Scripted("amd")]
    assert find(three, asked.append) == ("nvidia-smi", [CARD])
    assert asked == ["nvml", "nvidia-smi"]


def test_the_cause_that_knows_most_of_a_card_that_is_there_is_told() -> None:
    none, driver = NoGpuCause.NO_GPU, NoGpuCause.NO_DRIVER
    assert cause_of(none, none, none).detail == "said by nvml"
    assert cause_of(none, none, driver).cause is driver
    assert cause_of(NoGpuCause.DRIVER_MISMATCH, driver, none).cause is NoGpuCause.DRIVER_MISMATCH
    assert cause_of(NoGpuCause.UNKNOWN, none, driver).cause is NoGpuCause.UNKNOWN
    assert cause_of(driver, NoGpuCause.GPU_LOST, driver).cause is NoGpuCause.GPU_LOST


@pytest.fixture
def machine(fake_nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake_nvml.take_over(monkeypatch)
    return fake_nvml


async def found(tmp_path: Path, files: dict[str, str]) -> Hardware:
    return await probe(DEADLINE_S, root=tree(tmp_path / "root", files))


async def test_without_nvml_nvidia_smi_is_asked(machine: FakeNvml, tmp_path: Path) -> None:
    machine.set({"nvmlInitWithFlags": 12})
    program = machine.programs / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)
    hardware = await found(tmp_path, {"etc/hostname": "x"})
    assert hardware.source == "nvidia-smi"
    assert [gpu.name for gpu in hardware.gpus] == ["NVIDIA GeForce GTX 1080"]


async def test_without_a_card_of_nvidias_amds_are_looked_for(
    machine: FakeNvml, tmp_path: Path
) -> None:
    hardware = await found(tmp_path, LARGE)
    assert hardware.source == "amd"
    assert [(gpu.name, gpu.memory_gb) for gpu in hardware.gpus] == [
        ("AMD Radeon RX 7900 XT/7900 XTX", 24.0)
    ]


async def test_a_library_that_prints_does_not_disturb_the_answer(
    machine: FakeNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loud = tmp_path / "loud"
    loud.mkdir()
    (loud / "amdsmi.py").write_text("import os\nprint('hello')\nos.write(1, b'hello')\n1 / 0")
    monkeypatch.syspath_prepend(str(loud))
    assert (await found(tmp_path, LARGE)).source == "amd"


async def test_the_machine_around_the_card_is_told_too(machine: FakeNvml, tmp_path: Path) -> None:
    machine.card()
    hardware = await found(
        tmp_path,
        {
            "proc/meminfo": "MemTotal:       32594588 kB\n",
            "sys/devices/system/cpu/online": "0-15\n",
        },
    )
    assert (hardware.cpu_cores, hardware.memory_gb) == (16, 31.0)
    assert hardware.platform == "linux"


async def test_a_worker_that_can_not_be_started_is_an_unknown_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(NoGpuError) as caught:
        await probe(DEADLINE_S)
    assert caught.value.cause is NoGpuCause.UNKNOWN
    assert "/nowhere/python" in caught.value.detail
