"""NVIDIA's cards by nvidia-smi: programs in its place print what it prints.

The outputs have the form nvidia-smi gives them (`--format=csv,noheader,nounits`, `-L`, its
sentences and exit codes); none of them was recorded from a card of this project.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.agent.causes import NoGpuCause, NoGpuError
from muster.agent.nvidia_smi import NvidiaSmi
from tests.support.cards import tree, wanted

GAMING = (
    "0, GPU-a, NVIDIA GeForce RTX 4090, 24564, 512, 3, 41, 570.86.15, [N/A], [N/A], Not Active\n"
)
CENTER = "1, GPU-b, NVIDIA A100-SXM4-40GB, 40960, 4, 0, 33, 570.86.15, 0, Disabled, Not Active\n"
CUT = "0, GPU-b, NVIDIA A100-SXM4-40GB, 40960, 4, [N/A], 33, 570.86.15, 0, Enabled, Not Active\n"
SLICES = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-b)
  MIG 3g.20gb     Device  0: (UUID: MIG-1)
  MIG 1g.5gb      Device  1: (UUID: MIG-2)
GPU 1: NVIDIA GeForce RTX 4090 (UUID: GPU-a)
"""
ON_BUS = {
    "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
}


class Program:
    """What stands in the place of nvidia-smi."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "nvidia-smi"

    def prints(self, text: str, code: int = 0, *, listed: str = "", error: str = "") -> None:
        self._script(
            f'if [ "$1" = -L ]; then printf %s {quoted(listed)}; exit 0; fi\n'
            f"printf %s {quoted(text)}; printf %s {quoted(error)} >&2; exit {code}"
        )

    def refuses_newer_fields(self, text: str) -> None:
        refusal = 'Field "mig.mode.current" is not a valid field to query.'
        self._script(
            f'case "$1" in *mig.mode*) printf %s {quoted(refusal)}; exit 2;; esac\n'
            f"printf %s {quoted(text)}"
        )

    def _script(self, body: str) -> None:
        self._path.write_text(f"#!/bin/sh\n{body}\n")
        self._path.chmod(0o755)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setenv("PATH", str(tmp_path))
    return Program(tmp_path)


@pytest.fixture
def smi(tmp_path: Path) -> NvidiaSmi:
    return NvidiaSmi(tree(tmp_path / "root", ON_BUS))


def test_cards_are_found_as_nvml_would_tell_them(program: Program, smi: NvidiaSmi) -> None:
    program.prints(GAMING + CENTER)
    assert smi.find() == [
        {
            "name": "NVIDIA GeForce RTX 4090",
            "memory_bytes": 24564 * 1024**2,
            "uuid": "GPU-a",
            "driver_version": "570.86.15",
            "index": 0,
        },
        {
            "name": "NVIDIA A100-SXM4-40GB",
            "memory_bytes": 40960 * 1024**2,
            "uuid": "GPU-b",
            "driver_version": "570.86.15",
            "index": 1,
        },
    ]


def test_a_driver_that_refuses_newer_fields_is_asked_without_them(
    program: Program, smi: NvidiaSmi
) -> None:
    program.refuses_newer_fields("0, GPU-a, Tesla K80, 11441, 0, 0, 30, 418.87, 0\n")
    assert [card["name"] for card in smi.find()] == ["Tesla K80"]


def test_memory_that_is_not_told_is_the_machines(program: Program, smi: NvidiaSmi) -> None:
    program.prints("0, GPU-a, NVIDIA GB10, [N/A], [N/A], 0, 30, 580.1, [N/A], [N/A], Not Active\n")
    assert smi.find()[0]["memory_bytes"] is None


def test_a_card_in_mig_mode_is_its_slices(program: Program, smi: NvidiaSmi) -> None:
    program.prints(CUT + GAMING.replace("0,", "1,", 1), listed=SLICES)
    assert [(card["name"], card["memory_bytes"], card["uuid"]) for card in smi.find()] == [
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", 20 * 1024**3, "MIG-1"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 5 * 1024**3, "MIG-2"),
        ("NVIDIA GeForce RTX 4090", 24564 * 1024**2, "GPU-a"),
    ]
    smi.begin()
    assert smi.read(wanted("MIG-2")) == {"temperature_c": 33, "ecc_uncorrected": 0, "hot": False}


def test_mig_mode_without_a_slice_is_no_gpu(program: Program, smi: NvidiaSmi) -> None:
    program.prints(CUT, listed="GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-b)\n")
    with pytest.raises(NoGpuError) as caught:
        smi.find()
    assert caught.value.cause is NoGpuCause.NO_GPU
    assert "no slice" in caught.value.detail


def test_a_reading_has_every_figure(program: Program, smi: NvidiaSmi) -> None:
    program.prints(CENTER.replace("Not Active", "Active"))
    smi.begin()
    assert smi.read(wanted("GPU-b")) == {
        "memory_used_bytes": 4 * 1024**2,
        "memory_total_bytes": 40960 * 1024**2,
        "busy_percent": 0,
        "temperature_c": 33,
        "ecc_uncorrected": 0,
        "hot": True,
    }


def test_figures_that_are_not_told_are_left_out(program: Program, smi: NvidiaSmi) -> None:
    program.prints("0, GPU-a, card, [N/A], [N/A], [Not Supported], N/A, 570, [N/A], [N/A], [N/A]\n")
    smi.begin()
    assert smi.read(wanted("GPU-a")) == {"hot": False}


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("[GPU is lost]", "gpu_lost"),
        ("[GPU requires reset]", "reset_required"),
        ("[Unknown Error]", "driver_error"),
    ],
)
def test_a_fault_in_the_place_of_a_figure_is_one_of_the_card(
    program: Program, smi: NvidiaSmi, said: str, fault: str
) -> None:
    program.prints(GAMING.replace("512", said) + CENTER)
    assert [card["uuid"] for card in smi.find()] == ["GPU-b"]
    assert smi.read(wanted("GPU-a")) == {"fault": fault}
    assert smi.read(wanted("GPU-gone")) == {"fault": "gpu_lost"}


@pytest.mark.parametrize(
    ("code", "said", "cause"),
    [
        (
            9,
            (
                "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
                "Make sure that the latest NVIDIA driver is installed and running.\n"
            ),
            NoGpuCause.NO_DRIVER,
        ),
        (
            18,
            (
                "Failed to initialize NVML: Driver/library version mismatch\n"
                "NVML library version: 580.173\n"
            ),
            NoGpuCause.DRIVER_MISMATCH,
        ),
        (4, "Failed to initialize NVML: Insufficient Permissions\n", NoGpuCause.NO_PERMISSION),
        (
            15,
            (
                "Unable to determine the device handle for GPU 0000:01:00.0: GPU is lost.  "
                "Reboot the system to recover this GPU\n"
            ),
            NoGpuCause.GPU_LOST,
        ),
        (
            255,
            "Unable to determine the device handle for GPU 0000:01:00.0: GPU is lost.\n",
            NoGpuCause.GPU_LOST,
        ),
        (255, "Failed to initialize NVML: Unknown Error\n", NoGpuCause.UNKNOWN),
        (6, "No devices were found\n", NoGpuCause.NO_DRIVER),  # nothing holds the card on the bus
        (0, "", NoGpuCause.NO_DRIVER),
    ],
)
def test_a_failure_says_why(
    program: Program, smi: NvidiaSmi, code: int, said: str, cause: NoGpuCause
) -> None:
    program.prints(said, code)
    with pytest.raises(NoGpuError) as caught:
        smi.find()
    assert caught.value.cause is cause
    if code not in (0, 6):
        assert f"nvidia-smi ended with {code}: {said.split()[0]}" in caught.value.detail
        assert "\n" not in caught.value.detail


def test_all_cards_lost_is_no_list_of_none(program: Program, smi: NvidiaSmi) -> None:
    program.prints(GAMING.replace("512", "[GPU is lost]"))
    with pytest.raises(NoGpuError) as caught:
        smi.find()
    assert caught.value.cause is NoGpuCause.GPU_LOST


@pytest.mark.usefixtures("program")
def test_without_the_program_nothing_is_claimed(smi: NvidiaSmi) -> None:
    with pytest.raises(NoGpuError) as caught:
        smi.find()
    assert caught.value.cause is NoGpuCause.NO_GPU
