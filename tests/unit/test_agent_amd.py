"""AMD's cards by sysfs: trees of files in its form, as the kernel documents it for amdgpu."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from muster.agent.amd import Amd
from muster.agent.causes import NoGpuCause, NoGpuError
from tests.support.cards import tree, wanted

BUS = "sys/devices/pci0000:00/0000:03:00.0"
LARGE = {
    f"{BUS}/vendor": "0x1002\n",
    f"{BUS}/device": "0x744c\n",
    f"{BUS}/class": "0x030000\n",
    f"{BUS}/unique_id": "4f2c7a0e91d3b685\n",
    f"{BUS}/mem_info_vram_total": "25753026560\n",
    f"{BUS}/mem_info_vram_used": "1073741824\n",
    f"{BUS}/gpu_busy_percent": "17\n",
    f"{BUS}/hwmon/hwmon2/temp1_input": "48000\n",
    f"{BUS}/hwmon/hwmon2/temp1_crit": "100000\n",
    f"{BUS}/ras/umc_err_count": "ue: 0\nce: 3\n",
    f"{BUS}/drm/renderD128/dev": "226:128\n",
    "sys/class/drm/card1/device": "-> ../../../devices/pci0000:00/0000:03:00.0",
    "sys/class/drm/card1-DP-1/status": "connected\n",
    "dev/dri/renderD128": "",
    "usr/share/hwdata/pci.ids": (
        "1001  Kolter Electronic\n\t744c  Not this one\n"
        "1002  Advanced Micro Devices, Inc. [AMD/ATI]\n"
        "# a remark\n"
        "\t7448  Navi 31 [Radeon Pro W7900]\n"
        "\t744c  Navi 31 [Radeon RX 7900 XT/7900 XTX]\n\t\t1002 0e3b  A board\n"
        "1003  ULSI Systems\n\t744c  Nor this one\n"
    ),
}
PART_OF_PROCESSOR = {
    "sys/devices/pci0000:00/0000:07:00.0/vendor": "0x1002\n",
    "sys/devices/pci0000:00/0000:07:00.0/device": "0x1638\n",
    "sys/devices/pci0000:00/0000:07:00.0/mem_info_vram_total": "536870912\n",
    "sys/devices/pci0000:00/0000:07:00.0/drm/renderD129/dev": "226:129\n",
    "sys/class/drm/card0/device": "-> ../../../devices/pci0000:00/0000:07:00.0",
    "dev/dri/renderD129": "",
}
INTEL = {"sys/class/drm/card2/device/vendor": "0x8086\n"}


def amd(tmp_path: Path, *parts: dict[str, str], without: tuple[str, ...] = ()) -> Amd:
    files = {name: text for part in parts for name, text in part.items()}
    for name in without:
        del files[name]
    return Amd(tree(tmp_path / "root", files or {"etc/hostname": "x"}))


def cause(source: Amd) -> NoGpuError:
    with pytest.raises(NoGpuError) as caught:
        source.find()
    return caught.value


def test_a_card_is_found_by_the_name_it_is_sold_by(tmp_path: Path) -> None:
    assert amd(tmp_path, LARGE, INTEL).find() == [
        {
            "name": "AMD Radeon RX 7900 XT/7900 XTX",
            "memory_bytes": 25753026560,
            "uuid": "4f2c7a0e91d3b685",
            "driver_version": None,
            "index": 0,
        }
    ]


def test_a_name_the_card_tells_comes_first(tmp_path: Path) -> None:
    told = {f"{BUS}/product_name": "AMD Instinct MI210\n"}
    assert amd(tmp_path, LARGE, told).find()[0]["name"] == "AMD Instinct MI210"


def test_a_card_no_list_names_is_named_by_its_number(tmp_path: Path) -> None:
    source = amd(tmp_path, LARGE, without=("usr/share/hwdata/pci.ids",))
    assert source.find()[0]["name"] == "AMD GPU 744c"


def test_amdsmi_names_cards_where_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "amdsmi.py").write_text(AMDSMI)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert amd(tmp_path, LARGE).find()[0]["name"] == "AMD Radeon RX 7900 XTX"
    sys.modules.pop("amdsmi", None)


AMDSMI = """
def amdsmi_init(): pass
def amdsmi_get_processor_handles(): return [object(), None]
def amdsmi_get_gpu_device_bdf(handle): return "0000:03:00.0" if handle else 1 / 0
def amdsmi_get_gpu_asic_info(handle): return {"market_name": "AMD Radeon RX 7900 XTX"}
"""


def test_an_amdsmi_that_does_not_fit_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "amdsmi.py").write_text("raise KeyError('libamd_smi.so not found')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert amd(tmp_path, LARGE).find()[0]["name"] == "AMD Radeon RX 7900 XT/7900 XTX"


def test_graphics_of_a_processor_are_not_offered_beside_a_card(tmp_path: Path) -> None:
    found = amd(tmp_path, LARGE, PART_OF_PROCESSOR).find()
    assert [(card["index"], card["memory_bytes"]) for card in found] == [(1, 25753026560)]


def test_graphics_of_a_processor_alone_are_no_gpu(tmp_path: Path) -> None:
    error = cause(amd(tmp_path, PART_OF_PROCESSOR))
    assert error.cause is NoGpuCause.NO_GPU
    assert "2 GiB" in error.detail


def test_a_card_whose_device_is_not_there_is_not_permitted(tmp_path: Path) -> None:
    source = amd(tmp_path, LARGE, without=("dev/dri/renderD128",))
    assert cause(source).cause is NoGpuCause.NO_PERMISSION


def test_a_card_no_driver_holds_is_told_by_its_place(tmp_path: Path) -> None:
    on_bus = {
        "sys/bus/pci/devices/0000:03:00.0/vendor": "0x1002\n",
        "sys/bus/pci/devices/0000:03:00.0/class": "0x038000\n",
    }
    error = cause(amd(tmp_path, on_bus))
    assert error.cause is NoGpuCause.NO_DRIVER
    assert "0000:03:00.0" in error.detail


def test_a_machine_without_a_card_says_so(tmp_path: Path) -> None:
    assert cause(amd(tmp_path, INTEL)).cause is NoGpuCause.NO_GPU


def test_a_reading_has_every_figure(tmp_path: Path) -> None:
    assert amd(tmp_path, LARGE).read(wanted("4f2c7a0e91d3b685")) == {
        "memory_used_bytes": 1073741824,
        "memory_total_bytes": 25753026560,
        "busy_percent": 17,
        "temperature_c": 48.0,
        "hot": False,
        "ecc_uncorrected": 0,
    }


def test_a_card_at_its_critical_temperature_is_hot(tmp_path: Path) -> None:
    hot = {f"{BUS}/hwmon/hwmon2/temp1_input": "100000\n", f"{BUS}/ras/umc_err_count": "ue: 2\n"}
    reading = amd(tmp_path, LARGE, hot).read(wanted("4f2c7a0e91d3b685"))
    assert reading["hot"] is True
    assert reading["ecc_uncorrected"] == 2


def test_figures_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    source = amd(
        tmp_path,
        LARGE,
        without=(
            f"{BUS}/gpu_busy_percent",
            f"{BUS}/hwmon/hwmon2/temp1_input",
            f"{BUS}/ras/umc_err_count",
        ),
    )
    assert set(source.read(wanted("4f2c7a0e91d3b685"))) == {
        "memory_used_bytes",
        "memory_total_bytes",
    }


def test_a_card_without_a_unique_id_is_known_by_its_number(tmp_path: Path) -> None:
    source = amd(tmp_path, LARGE, without=(f"{BUS}/unique_id",))
    assert "fault" not in source.read(wanted(None, index=0))
    assert source.read(wanted(None, index=1)) == {"fault": "gpu_lost"}


@pytest.mark.parametrize(
    ("files", "fault"),
    [({}, "gpu_lost"), ({f"{BUS}/mem_info_vram_used": "?\n"}, "driver_error")],
)
def test_a_card_that_does_not_tell_its_memory_is_ill(
    tmp_path: Path, files: dict[str, str], fault: str
) -> None:
    source = amd(tmp_path, LARGE, files, without=() if files else (f"{BUS}/mem_info_vram_used",))
    assert source.read(wanted("4f2c7a0e91d3b685")) == {"fault": fault}


def test_a_card_that_is_gone_is_lost(tmp_path: Path) -> None:
    assert amd(tmp_path, INTEL).read(wanted("4f2c7a0e91d3b685")) == {"fault": "gpu_lost"}
