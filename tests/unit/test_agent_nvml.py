"""NVIDIA's cards by NVML: a library loaded in place of the real one says what a test wants."""

from __future__ import annotations

import ctypes
from collections.abc import AsyncIterator
from pathlib import Path

import pynvml
import pytest

from muster.agent.facts import CardReading, Request
from muster.agent.hardware import Gpu, Hardware, NoGpuCause, NoGpuError
from muster.agent.nvml import Nvml
from muster.agent.probe import probe
from muster.agent.worker import Worker, WorkerHung
from tests.fake_nvml import HANG, FakeNvml
from tests.support.cards import DEADLINE_S, read, tree, wanted

ON_BUS = {
    "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
    # the sound part of the same card
    "sys/bus/pci/devices/0000:01:00.1/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:01:00.1/class": "0x040300\n",
}
OTHERS_ON_BUS = {
    "sys/bus/pci/devices/0000:00:02.0/vendor": "0x8086\n",
    "sys/bus/pci/devices/0000:00:02.0/class": "0x030000\n",
}
HELD_BY_NVIDIA = {
    "sys/bus/pci/devices/0000:01:00.0/driver": "-> ../../../../bus/pci/drivers/nvidia"
}
DRIVERS = {"sys/bus/pci/drivers/nvidia/uevent": "", "sys/bus/pci/drivers/vfio-pci/uevent": ""}
HELD_BY_VFIO = {
    "sys/bus/pci/devices/0000:01:00.0/driver": "-> ../../../../bus/pci/drivers/vfio-pci"
}
LOADED = {"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module\n"}
CONTAINER = {".dockerenv": ""}


@pytest.fixture
def machine(fake_nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake_nvml.take_over(monkeypatch)
    return fake_nvml


@pytest.fixture
async def worker(machine: FakeNvml, tmp_path: Path) -> AsyncIterator[Worker]:
    worker = Worker(tmp_path)
    yield worker
    await worker.close()


async def found(tmp_path: Path, files: dict[str, str] | None = None) -> Hardware:
    return await probe(DEADLINE_S, root=tree(tmp_path / "root", files or {"etc/hostname": "x"}))


async def refused(tmp_path: Path, files: dict[str, str]) -> NoGpuError:
    with pytest.raises(NoGpuError) as caught:
        await found(tmp_path, files)
    return caught.value


# Finding


async def test_a_card_is_found_with_all_that_identifies_it(
    machine: FakeNvml, tmp_path: Path
) -> None:
    machine.card("NVIDIA GeForce RTX 3070", 8192)
    hardware = await found(tmp_path)
    assert hardware.source == "nvml"
    assert hardware.gpus == (
        Gpu(
            name="NVIDIA GeForce RTX 3070",
            memory_gb=8.0,
            uuid="GPU-0",
            driver_version="570.86.15",
            index=0,
        ),
    )


async def test_all_cards_are_found_in_the_order_of_the_driver(
    machine: FakeNvml, tmp_path: Path
) -> None:
    machine.card("NVIDIA GeForce RTX 4090", 24564)
    machine.card("NVIDIA GeForce RTX 4060", 8188)
    hardware = await found(tmp_path)
    assert [(gpu.index, gpu.name, gpu.memory_gb) for gpu in hardware.gpus] == [
        (0, "NVIDIA GeForce RTX 4090", 24.0),
        (1, "NVIDIA GeForce RTX 4060", 8.0),
    ]


async def test_a_driver_that_knows_only_the_old_memory_call_is_asked_that(
    machine: FakeNvml, tmp_path: Path
) -> None:
    machine.card(memory_mib=6144)
    machine.set({"nvmlDeviceGetMemoryInfo_v2": 13})
    assert (await found(tmp_path)).gpus[0].memory_gb == 6.0


async def test_a_card_that_shares_the_machines_memory_has_the_machines(
    machine: FakeNvml, tmp_path: Path
) -> None:
    machine.card("NVIDIA GB10")
    machine.set({"nvmlDeviceGetMemoryInfo_v2": 3})
    hardware = await found(tmp_path, {"proc/meminfo": "MemTotal:       125829120 kB\n"})
    assert hardware.gpus[0].memory_gb == hardware.memory_gb == 120.0


async def test_a_card_without_a_uuid_is_still_a_card(machine: FakeNvml, tmp_path: Path) -> None:
    machine.card()
    machine.set({"nvmlDeviceGetUUID": 3})
    assert (await found(tmp_path)).gpus[0].uuid is None


async def test_one_lost_card_does_not_hide_the_other(machine: FakeNvml, tmp_path: Path) -> None:
    machine.card()
    machine.card()
    machine.set({"0.*": 15})
    assert [gpu.uuid for gpu in (await found(tmp_path)).gpus] == ["GPU-1"]


async def test_a_card_in_mig_mode_is_its_slices(machine: FakeNvml, tmp_path: Path) -> None:
    card = machine.card("NVIDIA A100-SXM4-40GB", 40960)
    machine.slice(card, "NVIDIA A100-SXM4-40GB MIG 3g.20gb", 19968)
    machine.slice(card, "NVIDIA A100-SXM4-40GB MIG 1g.5gb", 4864)
    machine.card("NVIDIA A100-SXM4-40GB", 40960)
    assert [(gpu.name, gpu.memory_gb, gpu.uuid) for gpu in (await found(tmp_path)).gpus] == [
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", 19.5, "MIG-0-0"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 4.8, "MIG-0-1"),
        ("NVIDIA A100-SXM4-40GB", 40.0, "GPU-1"),
    ]


async def test_mig_mode_without_a_slice_is_no_gpu_and_says_so(
    machine: FakeNvml, tmp_path: Path
) -> None:
    machine.card()
    machine.set({"0.mig": 0})
    error = await refused(tmp_path, ON_BUS)
    assert error.cause is NoGpuCause.NO_GPU
    assert "no slice" in error.detail


# Why there is none


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (4, NoGpuCause.NO_PERMISSION),
        (9, NoGpuCause.NO_DRIVER),
        (15, NoGpuCause.GPU_LOST),
        (16, NoGpuCause.GPU_LOST),
        (18, NoGpuCause.DRIVER_MISMATCH),
        (999, NoGpuCause.UNKNOWN),
        (4711, NoGpuCause.UNKNOWN),
    ],
)
async def test_a_library_that_does_not_start_says_why(
    machine: FakeNvml, tmp_path: Path, code: int, cause: NoGpuCause
) -> None:
    machine.card()
    machine.set({"nvmlInitWithFlags": code})
    error = await refused(tmp_path, ON_BUS)
    assert error.cause is cause
    assert f"NVML error {code}" in error.detail


@pytest.mark.parametrize(
    ("code", "cause"),
    [(4, NoGpuCause.NO_PERMISSION), (15, NoGpuCause.GPU_LOST), (4711, NoGpuCause.UNKNOWN)],
)
async def test_a_card_that_can_not_be_reached_says_why(
    machine: FakeNvml, tmp_path: Path, code: int, cause: NoGpuCause
) -> None:
    machine.card()
    machine.set({"0.nvmlDeviceGetHandleByIndex_v2": code})
    error = await refused(tmp_path, ON_BUS)
    assert error.cause is cause
    assert f"NVML error {code}" in error.detail


@pytest.mark.parametrize(
    ("files", "cause", "said"),
    [
        (OTHERS_ON_BUS, NoGpuCause.NO_GPU, "no NVIDIA card"),
        ({"etc/hostname": "x"}, NoGpuCause.NO_GPU, "no NVIDIA card"),
        (ON_BUS, NoGpuCause.NO_DRIVER, "0000:01:00.0; NVML error 12"),
        (
            {**ON_BUS, **HELD_BY_VFIO, **DRIVERS},
            NoGpuCause.NO_DRIVER,
            "0000:01:00.0 (held by vfio-pci)",
        ),
        ({**ON_BUS, **LOADED}, NoGpuCause.NO_DRIVER, "0000:01:00.0"),
        ({**ON_BUS, **LOADED, **CONTAINER}, NoGpuCause.NO_PERMISSION, "given no card"),
        ({**ON_BUS, **CONTAINER}, NoGpuCause.NO_DRIVER, "0000:01:00.0"),
    ],
)
async def test_without_the_library_the_bus_tells_no_card_from_no_driver_from_a_closed_container(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    files: dict[str, str],
    cause: NoGpuCause,
    said: str,
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    error = await refused(tmp_path, files)
    assert error.cause is cause
    assert said in error.detail


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        (OTHERS_ON_BUS, NoGpuCause.NO_GPU),
        (ON_BUS, NoGpuCause.NO_DRIVER),
        ({**ON_BUS, **LOADED, **CONTAINER}, NoGpuCause.NO_PERMISSION),
        ({"etc/hostname": "x"}, NoGpuCause.NO_DRIVER),
    ],
)
async def test_a_driver_that_is_not_loaded_is_told_from_a_card_that_is_not_there(
    machine: FakeNvml, tmp_path: Path, files: dict[str, str], cause: NoGpuCause
) -> None:
    machine.set({"nvmlInitWithFlags": 9})
    assert (await refused(tmp_path, files)).cause is cause


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        ({"etc/hostname": "x"}, NoGpuCause.NO_GPU),
        (OTHERS_ON_BUS, NoGpuCause.NO_GPU),
        ({**ON_BUS, **HELD_BY_NVIDIA, **DRIVERS}, NoGpuCause.GPU_LOST),
        ({**ON_BUS, **HELD_BY_VFIO, **DRIVERS}, NoGpuCause.NO_DRIVER),
        ({**ON_BUS, **HELD_BY_NVIDIA, **DRIVERS, **CONTAINER}, NoGpuCause.NO_PERMISSION),
    ],
)
async def test_a_driver_that_lists_no_card_means_what_the_bus_says(
    machine: FakeNvml, tmp_path: Path, files: dict[str, str], cause: NoGpuCause
) -> None:
    assert (await refused(tmp_path, files)).cause is cause


async def test_a_library_that_hangs_costs_the_deadline_and_is_named(
    machine: FakeNvml, tmp_path: Path
) -> None:
    machine.card()
    machine.set({"nvmlInitWithFlags": HANG})
    with pytest.raises(NoGpuError) as caught:
        await probe(2.0, root=tmp_path)
    assert caught.value.cause is NoGpuCause.PROBE_TIMEOUT
    assert "nvml did not answer within 2 s" in caught.value.detail


# Reading


async def test_a_reading_has_every_figure(machine: FakeNvml, worker: Worker) -> None:
    machine.card(memory_mib=8192)
    machine.set({"0.used_mib": 2048, "0.busy": 37, "0.temperature": 64, "0.ecc": 0})
    assert await read(worker, "GPU-0") == {
        "GPU-0": {
            "memory_used_bytes": 2048 * 1024**2,
            "memory_total_bytes": 8192 * 1024**2,
            "busy_percent": 37,
            "temperature_c": 64,
            "hot": False,
            "ecc_uncorrected": 0,
        }
    }


@pytest.mark.parametrize("code", [2, 3, 4, 13, 25, 26])
async def test_a_figure_that_is_not_told_is_left_out_and_the_card_is_not_ill(
    machine: FakeNvml, worker: Worker, code: int
) -> None:
    machine.card()
    machine.set(
        {
            "nvmlDeviceGetUtilizationRates": code,
            "nvmlDeviceGetTemperature": code,
            "nvmlDeviceGetTotalEccErrors": code,
            "nvmlDeviceGetCurrentClocksThrottleReasons": code,
        }
    )
    reading = (await read(worker, "GPU-0"))["GPU-0"]
    assert set(reading) == {"memory_used_bytes", "memory_total_bytes", "hot"}
    assert reading["hot"] is False


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (15, "gpu_lost"),
        (28, "gpu_lost"),
        (16, "reset_required"),
        (9, "no_driver"),
        (18, "driver_mismatch"),
        (999, "nvml_999"),
        (4711, "nvml_4711"),
    ],
)
async def test_any_other_failure_is_a_fault_of_the_card(
    machine: FakeNvml, worker: Worker, code: int, fault: str
) -> None:
    machine.card()
    machine.card()
    machine.set({"1.nvmlDeviceGetTemperature": code})
    readings = await read(worker, "GPU-0", "GPU-1")
    assert readings["GPU-1"] == {"fault": fault}
    assert "fault" not in readings["GPU-0"]


async def test_a_card_that_recovers_is_read_again(machine: FakeNvml, worker: Worker) -> None:
    machine.card()
    assert "fault" not in (await read(worker, "GPU-0"))["GPU-0"]
    machine.set({"0.*": 15})
    assert (await read(worker, "GPU-0"))["GPU-0"] == {"fault": "gpu_lost"}
    machine.set({"0.*": None})
    assert "fault" not in (await read(worker, "GPU-0"))["GPU-0"]


def test_a_lost_cards_handle_stays_dead_until_the_library_is_started_anew_after_half_a_minute(
    nvml_library: Path, machine: FakeNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(nvml_library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    now = 1000.0
    nvml = Nvml(tmp_path, clock=lambda: now)

    def fault() -> str | None:
        nvml.begin()
        return nvml.read(wanted("GPU-0")).get("fault")

    machine.card()
    assert fault() is None
    machine.set({"0.epoch": 1})
    assert fault() == "gpu_lost"
    now += 29.9
    assert fault() == "gpu_lost"
    now += 0.1
    assert fault() is None
    machine.set({"0.epoch": 2, "nvmlInitWithFlags": 999})
    assert fault() == "gpu_lost"
    now += 30.0
    with pytest.raises(NoGpuError) as caught:
        nvml.begin()
    assert caught.value.fault == "nvml_999"
    machine.set({"nvmlInitWithFlags": None})
    assert fault() is None  # a library that did not start is tried again at once


def test_a_library_whose_cards_are_well_is_not_started_anew(
    nvml_library: Path, machine: FakeNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(nvml_library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    now = 1000.0
    nvml = Nvml(tmp_path, clock=lambda: now)
    machine.card()
    nvml.begin()
    machine.set({"0.epoch": 1})  # only handles from before are dead now
    now += 1000.0
    nvml.begin()
    assert nvml.read(wanted("GPU-0")) == {"fault": "gpu_lost"}


async def test_a_card_nobody_lists_any_more_is_lost(machine: FakeNvml, worker: Worker) -> None:
    machine.card()
    assert (await read(worker, "GPU-elsewhere"))["GPU-elsewhere"] == {"fault": "gpu_lost"}


@pytest.mark.parametrize(
    ("said", "hot"),
    [
        ({"0.temperature": 92}, False),
        ({"0.temperature": 93}, True),
        ({"0.temperature": 93, "0.slowdown": None}, False),
        ({"0.throttle": 0x40}, True),
        ({"0.throttle": 0x40, "0.temperature": None, "0.slowdown": None}, True),
        ({"0.throttle": 0x24}, False),  # power, and the driver's own gentle limit
    ],
)
async def test_a_card_is_hot_if_it_slows_itself_down_for_heat(
    machine: FakeNvml, worker: Worker, said: dict[str, object], hot: bool
) -> None:
    machine.card()
    machine.set(said)
    assert (await read(worker, "GPU-0"))["GPU-0"]["hot"] is hot


async def test_uncorrected_memory_errors_are_counted(machine: FakeNvml, worker: Worker) -> None:
    machine.card()
    machine.set({"0.ecc": 2})
    assert (await read(worker, "GPU-0"))["GPU-0"]["ecc_uncorrected"] == 2


async def test_an_xid_is_told_once_and_of_its_card_only(machine: FakeNvml, worker: Worker) -> None:
    machine.card()
    machine.card()
    machine.set({"xids": "1:48"})  # before anybody listened: not told
    assert "xids" not in (await read(worker, "GPU-0", "GPU-1"))["GPU-1"]
    machine.set({"xids": "1:48,1:79"})
    readings = await read(worker, "GPU-0", "GPU-1")
    assert readings["GPU-1"]["xids"] == [79]
    assert "xids" not in readings["GPU-0"]
    assert "xids" not in (await read(worker, "GPU-1"))["GPU-1"]


async def test_xids_of_faulty_programs_are_passed_over(machine: FakeNvml, worker: Worker) -> None:
    machine.card()
    await read(worker, "GPU-0")
    machine.set({"xids": "0:31,0:13,0:62"})
    assert (await read(worker, "GPU-0"))["GPU-0"]["xids"] == [62]


async def test_an_xid_of_one_slice_spares_the_others(machine: FakeNvml, worker: Worker) -> None:
    card = machine.card()
    machine.slice(card, "MIG 1g.5gb", 4864)
    machine.slice(card, "MIG 1g.5gb", 4864)
    await read(worker, "MIG-0-0", "MIG-0-1")
    machine.set({"xids": "0:62:2"})
    readings = await read(worker, "MIG-0-0", "MIG-0-1")
    assert "xids" not in readings["MIG-0-0"]
    assert readings["MIG-0-1"]["xids"] == [62]
    machine.set({"xids": "0:62:2,0:79"})
    readings = await read(worker, "MIG-0-0", "MIG-0-1")
    assert [reading["xids"] for reading in readings.values()] == [[79], [79]]


async def test_a_card_that_hangs_at_every_touch_lets_those_asked_before_it_answer(
    machine: FakeNvml, worker: Worker
) -> None:
    machine.card()
    machine.card()
    machine.set({"0.*": HANG})
    answered: list[int] = []
    request: Request = {
        "ask": "read",
        "source": "nvml",
        "cards": [wanted("GPU-1", at=1, index=1), wanted("GPU-0", at=0, index=0)],
    }
    with pytest.raises(WorkerHung):
        await worker.ask(
            request,
            DEADLINE_S,
            lambda answer: answered.append(answer["at"]) if "at" in answer else None,
            each_s=2.0,
        )
    assert answered == [1]


async def test_a_card_that_got_another_number_is_found_by_its_uuid(
    machine: FakeNvml, worker: Worker
) -> None:
    machine.card()
    machine.card()
    machine.set({"0.temperature": 50, "1.temperature": 60})
    readings: list[CardReading] = []
    request: Request = {
        "ask": "read",
        "source": "nvml",
        "cards": [wanted("GPU-0", index=1), wanted("GPU-1", index=7)],
    }
    await worker.ask(
        request,
        DEADLINE_S,
        lambda answer: readings.append(answer["reading"]) if "reading" in answer else None,
    )
    assert [reading["temperature_c"] for reading in readings] == [50, 60]


@pytest.mark.parametrize("call", ["nvmlEventSetCreate", "nvmlDeviceRegisterEvents"])
async def test_without_events_cards_are_read_all_the_same(
    machine: FakeNvml, worker: Worker, call: str
) -> None:
    machine.card()
    machine.set({call: 3})
    assert "fault" not in (await read(worker, "GPU-0"))["GPU-0"]


async def test_a_slice_has_the_heat_of_its_card_and_memory_of_its_own(
    machine: FakeNvml, worker: Worker
) -> None:
    card = machine.card(memory_mib=40960)
    machine.slice(card, "MIG 1g.5gb", 4864)
    machine.set({"0.temperature": 55, "0.0.used_mib": 100})
    reading = (await read(worker, "MIG-0-0"))["MIG-0-0"]
    assert reading["temperature_c"] == 55
    assert reading["memory_total_bytes"] == 4864 * 1024**2
    assert reading["memory_used_bytes"] == 100 * 1024**2
    assert "busy_percent" not in reading
