"""A Mac's graphics: programs in the place of system_profiler and ioreg print what those print.

The outputs have the form published for Macs of these kinds; none was recorded by this project.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from muster.agent.causes import NoGpuCause, NoGpuError
from muster.agent.macos import Macos
from tests.support.cards import wanted

APPLE = {
    "_name": "Apple M3 Max",
    "spdisplays_mtlgpufamilysupport": "spdisplays_metal3",
    "spdisplays_ndrvs": [{"_name": "Color LCD", "_spdisplays_pixels": "3456 x 2234"}],
    "spdisplays_vendor": "sppci_vendor_Apple",
    "sppci_bus": "spdisplays_builtin",
    "sppci_cores": "40",
    "sppci_device_type": "spdisplays_gpu",
    "sppci_model": "Apple M3 Max",
}
INTEL = {
    "_name": "kHW_IntelUHDGraphics630Item",
    "_spdisplays_vram": "1536 MB",
    "spdisplays_vram_shared": "1536 MB",
    "spdisplays_vendor": "Intel",
    "sppci_model": "Intel UHD Graphics 630",
}
RADEON = {
    "_name": "kHW_AMDRadeonPro5500MItem",
    "spdisplays_vram": "8 GB",
    "spdisplays_vendor": "sppci_vendor_amd",
    "sppci_model": "AMD Radeon Pro 5500M",
}
ACCELERATOR = """\
+-o AGXAcceleratorG15X  <class AGXAcceleratorG15X, id 0x100000775, registered, matched, active>
    {
      "PerformanceStatistics" = {"In use system memory (driver)"=0,\
"Alloc system memory"=1574862848,"Tiler Utilization %"=20,"Renderer Utilization %"=19,\
"Device Utilization %"=21,"In use system memory"=351141888}
      "model" = "Apple M3 Max"
    }

"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def prints(programs: Path, name: str, text: str, code: int = 0) -> None:
    (programs / f"{name}.txt").write_text(text)
    program = programs / name
    program.write_text(f"#!/bin/sh\n/bin/cat {programs / name}.txt\nexit {code}\n")
    program.chmod(0o755)


def lists(programs: Path, *entries: object) -> None:
    prints(programs, "system_profiler", json.dumps({"SPDisplaysDataType": entries}))


def test_apples_own_chip_shares_the_machines_memory(programs: Path) -> None:
    lists(programs, APPLE)
    assert Macos(programs).find() == [
        {
            "name": "Apple M3 Max",
            "memory_bytes": None,
            "uuid": None,
            "driver_version": None,
            "index": 0,
        }
    ]


def test_a_card_is_found_and_the_processors_graphics_are_not_offered(programs: Path) -> None:
    lists(programs, INTEL, RADEON)
    assert [(card["name"], card["memory_bytes"]) for card in Macos(programs).find()] == [
        ("AMD Radeon Pro 5500M", 8 * 1024**3)
    ]


@pytest.mark.parametrize("entries", [(), (INTEL,), ({"sppci_bus": "no name"},)])
def test_a_mac_without_usable_graphics_says_so(programs: Path, entries: tuple[object, ...]) -> None:
    lists(programs, *entries)
    with pytest.raises(NoGpuError) as caught:
        Macos(programs).find()
    assert caught.value.cause is NoGpuCause.NO_GPU


@pytest.mark.parametrize("printed", ["", "not json", "[]", "{}", '{"SPDisplaysDataType": ["x"]}'])
def test_what_can_not_be_understood_is_not_taken_for_no_gpu(programs: Path, printed: str) -> None:
    prints(programs, "system_profiler", printed)
    with pytest.raises(NoGpuError) as caught:
        Macos(programs).find()
    assert caught.value.cause is NoGpuCause.UNKNOWN


@pytest.mark.usefixtures("programs")
def test_programs_that_are_missing_are_not_taken_for_no_gpu(tmp_path: Path) -> None:
    for ask in (Macos(tmp_path).find, Macos(tmp_path).begin):
        with pytest.raises(NoGpuError) as caught:
            ask()
        assert caught.value.cause is NoGpuCause.UNKNOWN


def test_the_only_accelerator_is_the_only_card(programs: Path) -> None:
    prints(programs, "ioreg", ACCELERATOR)
    macos = Macos(programs)
    macos.begin()
    assert macos.read(wanted(None, index=0)) == {
        "busy_percent": 21,
        "memory_used_bytes": 351141888,
    }


def test_of_several_accelerators_no_figures_are_guessed(programs: Path) -> None:
    prints(programs, "ioreg", ACCELERATOR * 2)
    macos = Macos(programs)
    macos.begin()
    assert macos.read(wanted(None, index=0)) == {}


def test_an_accelerator_that_is_gone_is_lost(programs: Path) -> None:
    prints(programs, "ioreg", "")
    macos = Macos(programs)
    macos.begin()
    assert macos.read(wanted(None, index=0)) == {"fault": "gpu_lost"}
