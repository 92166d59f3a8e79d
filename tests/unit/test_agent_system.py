"""The machine apart from its cards: on trees of files in the kernel's form, and fake kernels."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from muster.agent import system
from muster.agent.system import SystemLoad, fingerprint, same_machine
from muster.agent.system_linux import LinuxMachine
from muster.agent.system_macos import MacosMachine
from muster.agent.system_windows import WindowsMachine, board_uuid
from tests.support.cards import tree

MIB = 1024**2
GROUP = "sys/fs/cgroup"
MACHINE = {
    "proc/meminfo": "MemTotal:       33554432 kB\nMemFree: 1 kB\nMemAvailable:   25165824 kB\n",
    "proc/stat": "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1\n",
    "sys/devices/system/cpu/online": "0-15\n",
}
VERSION_2 = {
    f"{GROUP}/cpu.max": "250000 100000\n",
    f"{GROUP}/cpu.stat": "usage_usec 4000000\nuser_usec 1\n",
    f"{GROUP}/cpuset.cpus.effective": "0-3,8\n",
    f"{GROUP}/memory.max": f"{1024 * MIB}\n",
    f"{GROUP}/memory.current": f"{768 * MIB}\n",
    f"{GROUP}/memory.stat": f"anon 1\ninactive_file {256 * MIB}\n",
}
VERSION_1 = {
    f"{GROUP}/cpu/cpu.cfs_quota_us": "250000\n",
    f"{GROUP}/cpu/cpu.cfs_period_us": "100000\n",
    f"{GROUP}/cpuacct/cpuacct.usage": "4000000000\n",
    f"{GROUP}/cpuset/cpuset.effective_cpus": "0-3,8\n",
    f"{GROUP}/memory/memory.limit_in_bytes": f"{1024 * MIB}\n",
    f"{GROUP}/memory/memory.usage_in_bytes": f"{768 * MIB}\n",
    f"{GROUP}/memory/memory.stat": f"cache 1\ntotal_inactive_file {256 * MIB}\n",
}
UNLIMITED_2 = {
    f"{GROUP}/cpu.max": "max 100000\n",
    f"{GROUP}/memory.max": "max\n",
    f"{GROUP}/cpuset.cpus.effective": "0-15\n",
}
UNLIMITED_1 = {
    f"{GROUP}/cpu/cpu.cfs_quota_us": "-1\n",
    f"{GROUP}/cpu/cpu.cfs_period_us": "100000\n",
    f"{GROUP}/memory/memory.limit_in_bytes": "9223372036854771712\n",
}
UNIT = {
    f"{GROUP}/cpuset.cpus.effective": "0-15\n",
    f"{GROUP}/system.slice/muster-agent.service/memory.max": f"{256 * MIB}\n",
    f"{GROUP}/system.slice/muster-agent.service/cpu.max": "10000 100000\n",
}


def linux(tmp_path: Path, *parts: dict[str, str], now: list[float] | None = None) -> LinuxMachine:
    root = tree(tmp_path, {name: text for part in parts for name, text in part.items()})
    return LinuxMachine(root, clock=lambda: (now or [0.0])[0])


# Linux


@pytest.mark.parametrize("group", [{}, UNLIMITED_2, UNLIMITED_1, UNIT])
def test_a_machine_is_all_of_it_whatever_the_agents_own_service_is_limited_to(
    tmp_path: Path, group: dict[str, str]
) -> None:
    machine = linux(tmp_path, MACHINE, group)
    assert machine.cores() == 16
    assert machine.memory_bytes() == 32 * 1024 * MIB
    assert machine.memory_share() == 0.25
    assert machine.work() == (200, 1000)


@pytest.mark.parametrize("group", [VERSION_2, VERSION_1])
def test_a_container_is_its_limits(tmp_path: Path, group: dict[str, str]) -> None:
    now = [10.0]
    machine = linux(tmp_path, MACHINE, group, now=now)
    assert machine.cores() == 2  # of 5 it may run on, two and a half at once
    assert machine.memory_bytes() == 1024 * MIB
    assert machine.memory_share() == 0.5
    assert machine.work() == (4.0, 25.0)


def test_a_quota_below_one_processor_is_one(tmp_path: Path) -> None:
    assert linux(tmp_path, MACHINE, {f"{GROUP}/cpu.max": "50000 100000\n"}).cores() == 1


def test_a_limit_above_the_machines_memory_is_none(tmp_path: Path) -> None:
    machine = linux(tmp_path, MACHINE, {f"{GROUP}/memory.max": f"{2**50}\n"})
    assert machine.memory_bytes() == 32 * 1024 * MIB
    assert machine.memory_share() == 0.25


def test_what_is_not_told_is_not_guessed(tmp_path: Path) -> None:
    machine = linux(tmp_path, {"etc/hostname": "x"})
    assert machine.cores() == os.cpu_count()
    assert machine.memory_bytes() == 0
    assert machine.memory_share() is None
    assert machine.work() is None
    assert machine.marks() == (None, None, None)


def test_this_machine_can_be_read() -> None:
    machine = system.machine()
    share, work = machine.memory_share(), machine.work()
    assert machine.cores() >= 1
    assert machine.memory_bytes() > 64 * MIB
    assert share is not None and 0 < share < 1
    assert work is not None and 0 <= work[0] <= work[1]


# How busy


class Counted:
    """Meters that say what a test says."""

    def __init__(self) -> None:
        self.counts: tuple[float, float] | None = (0.0, 0.0)
        self.share: float | None = 0.5

    def cores(self) -> int:
        return 1

    def memory_bytes(self) -> int:
        return 1

    def memory_share(self) -> float | None:
        return self.share

    def work(self) -> tuple[float, float] | None:
        return self.counts

    def marks(self) -> tuple[str | None, str | None, str | None]:
        return None, None, None


class Load:
    def __init__(self) -> None:
        self.now = 0.0
        self.meters = Counted()
        self.load = SystemLoad(self.meters, clock=lambda: self.now)

    def after(self, seconds: float, counts: tuple[float, float] | None) -> float | None:
        self.now += seconds
        self.meters.counts = counts
        return self.load.cpu_percent()


def test_busy_is_told_of_the_time_since_the_last_call() -> None:
    load = Load()
    assert load.after(15.0, (15.0, 60.0)) == 25.0
    assert load.after(15.0, (75.0, 120.0)) == 100.0
    assert load.after(15.0, (75.0, 180.0)) == 0.0


def test_within_a_second_what_was_said_holds() -> None:
    load = Load()
    assert load.after(0.5, (1.0, 1.0)) is None
    assert load.after(0.5, (0.5, 2.0)) == 25.0
    assert load.after(0.9, (9.0, 9.0)) == 25.0


@pytest.mark.parametrize("counts", [None, (10.0, 10.0), (5.0, 9.0)])
def test_counts_that_do_not_grow_say_nothing(counts: tuple[float, float] | None) -> None:
    load = Load()
    assert load.after(1.0, (10.0, 10.0)) == 100.0
    assert load.after(1.0, counts) is None


def test_a_count_that_outran_the_clock_is_all_of_it() -> None:
    assert Load().after(1.0, (10.5, 10.0)) == 100.0


def test_memory_is_told_as_a_percentage() -> None:
    load = Load()
    assert load.load.mem_percent() == 50.0
    load.meters.share = None
    assert load.load.mem_percent() is None


# Which machine

NETWORK = "sys/devices/pci0000:00/0000:00:1f.6/net/eno1"
MARKS = {
    "etc/machine-id": "3d1219c7c4c5404aaa1f6d2a48adfda4\n",
    "sys/class/dmi/id/product_uuid": "4C4C4544-0031-3510-8052-B4C04F4A3832\n",
    "sys/devices/pci0000:00/0000:00:1f.6/vendor": "0x8086\n",
    "sys/class/net/eno1/device": "-> ../../../devices/pci0000:00/0000:00:1f.6",
    "sys/class/net/eno1/address": "a4:bb:6d:01:02:03\n",
    "sys/class/net/eno1/addr_assign_type": "0\n",
}


def test_a_machine_has_an_installation_a_board_and_a_network_card(tmp_path: Path) -> None:
    assert linux(tmp_path, MARKS).marks() == (
        "3d1219c7c4c5404aaa1f6d2a48adfda4",
        "4c4c4544-0031-3510-8052-b4c04f4a3832",
        "a4:bb:6d:01:02:03",
    )


@pytest.mark.parametrize(
    "told",
    ["03000200-0400-0500-0006-000700080009", "00000000-0000-0000-0000-000000000000", "\n"],
)
def test_an_id_that_many_boards_have_is_none(tmp_path: Path, told: str) -> None:
    assert linux(tmp_path, MARKS, {"sys/class/dmi/id/product_uuid": told}).marks()[1] is None


def test_only_the_address_a_built_in_card_was_made_with_counts(tmp_path: Path) -> None:
    others = {
        "sys/class/net/lo/address": "00:00:00:00:00:00\n",
        "sys/class/net/docker0/address": "02:42:00:00:00:01\n",
        "sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/x": "",
        "sys/class/net/eth9/device": "-> ../../../devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0",
        "sys/class/net/eth9/address": "00:00:00:00:00:09\n",
        "sys/class/net/eth9/addr_assign_type": "0\n",
        "sys/devices/pci0000:00/0000:00:03.0/x": "",
        "sys/class/net/wlan0/device": "-> ../../../devices/pci0000:00/0000:00:03.0",
        "sys/class/net/wlan0/address": "3e:00:00:00:00:01\n",
        "sys/class/net/wlan0/addr_assign_type": "1\n",
    }
    assert linux(tmp_path, MARKS, others).marks()[2] == "a4:bb:6d:01:02:03"


def test_a_fingerprint_stays_and_does_not_show_what_it_is_made_of(tmp_path: Path) -> None:
    print_ = fingerprint(linux(tmp_path, MARKS))
    assert print_ == fingerprint(linux(tmp_path / "again", MARKS))
    assert [len(part) for part in print_.split(".")] == [16, 16, 16]
    assert "3d1219c7" not in print_


def test_a_machine_that_nothing_is_known_of_has_no_fingerprint(tmp_path: Path) -> None:
    assert fingerprint(linux(tmp_path, {"etc/hostname": "x"})) == ""


@pytest.mark.parametrize(
    ("saved", "present", "same"),
    [
        ("i.b.n", "i.b.n", True),
        ("i.b.n", "i.x.n", False),  # a copied disk
        ("i.b.n", "x.b.n", False),  # a clone that was given its own installation id
        ("i.b.n", "i.b.x", True),  # another network card in the same board
        ("i.-.n", "i.-.x", False),  # a copied disk, as seen by who may not read the board
        ("i.b.n", "i.-.x", False),
        ("i.b.n", "i.-.n", True),  # by another user
        ("i.b.n", "i.b.-", True),  # the network card is not up yet
        ("i.-.-", "i.b.n", True),
        ("-.-.-", "i.b.n", True),
        ("", "i.b.n", True),
        ("i.b.n", "", True),
        ("", "", True),
        ("written by hand", "i.b.n", False),
    ],
)
def test_two_fingerprints_are_of_one_machine_unless_something_both_know_differs(
    saved: str, present: str, same: bool
) -> None:
    assert same_machine(saved, present) is same


# Windows and macOS, whose kernels are played here


class WindowsKernel:
    """kernel32, as far as it is called."""

    def __init__(self, table: bytes = b"") -> None:
        self._table = table

    def GlobalMemoryStatusEx(self, status: Any) -> int:  # noqa: N802 - Windows' name
        told = status._obj
        assert told.length == 64
        told.total, told.available = 32 * 1024 * MIB, 8 * 1024 * MIB
        return 1

    def GetSystemTimes(self, idle: Any, kernel: Any, user: Any) -> int:  # noqa: N802
        idle._obj.value, kernel._obj.value, user._obj.value = 600, 700, 300
        return 1

    def GetSystemFirmwareTable(self, of: int, which: int, into: Any, size: int) -> int:  # noqa: N802
        assert of.to_bytes(4, "big") == b"RSMB"
        if into is not None:
            ctypes.memmove(into, self._table, size)
        return len(self._table)


def smbios(uuid: UUID) -> bytes:
    """A BIOS entry with two strings, then the system's, after the header Windows puts before."""
    bios = bytes([0, 24, 0, 0]) + bytes(20) + b"Maker\0Version\0\0"
    system_information = bytes([1, 27, 1, 0, 1, 2, 3, 4]) + uuid.bytes_le + bytes(3) + b"Name\0\0"
    return bytes(8) + bios + system_information + bytes([127, 4, 0, 0, 0, 0])


BOARD = UUID("4c4c4544-0031-3510-8052-b4c04f4a3832")


def test_windows_tells_memory_work_and_board(tmp_path: Path) -> None:
    machine = WindowsMachine(tmp_path, WindowsKernel(smbios(BOARD)))
    assert machine.cores() >= 1
    assert machine.memory_bytes() == 32 * 1024 * MIB
    assert machine.memory_share() == 0.75
    assert machine.work() == (400, 1000)
    assert machine.marks()[1] == str(BOARD)
    assert WindowsMachine(tmp_path, WindowsKernel()).marks()[1] is None


@pytest.mark.parametrize("table", [b"", bytes(8), smbios(BOARD)[:40], smbios(UUID(int=0))])
def test_a_board_table_that_tells_nothing_is_no_board(table: bytes) -> None:
    assert board_uuid(table) is None


class MacosLibrary:
    """libc, as far as it is called."""

    def __init__(self, *, works: bool = True) -> None:
        self._failed = 0 if works else 5

    def mach_host_self(self) -> int:
        return 1

    def sysctlbyname(self, name: bytes, value: Any, size: Any, new: Any, new_size: Any) -> int:
        value._obj.value = {b"hw.memsize": 16 * 1024 * MIB, b"hw.pagesize": 16384}[name]
        return self._failed

    def host_statistics(self, host: int, flavor: int, into: Any, count: Any) -> int:
        assert (flavor, count._obj.value) == (3, 4)
        into._obj[:] = [150, 50, 790, 10]  # user, system, idle, nice
        return self._failed

    def host_statistics64(self, host: int, flavor: int, into: Any, count: Any) -> int:
        assert flavor == 4
        into._obj[0:4] = [65536, 1, 196608, 2]  # free, active, inactive, wired: pages
        return self._failed

    def gethostuuid(self, into: Any, wait: Any) -> int:
        into[:] = list(BOARD.bytes)
        return self._failed


def test_a_mac_tells_memory_work_and_board(tmp_path: Path) -> None:
    machine = MacosMachine(tmp_path, MacosLibrary())
    assert machine.cores() >= 1
    assert machine.memory_bytes() == 16 * 1024 * MIB
    assert machine.memory_share() == 0.75
    assert machine.work() == (210, 1000)
    assert machine.marks() == (None, str(BOARD), None)


def test_a_mac_that_does_not_tell_is_not_guessed_at(tmp_path: Path) -> None:
    machine = MacosMachine(tmp_path, MacosLibrary(works=False))
    assert machine.memory_share() is None
    assert machine.work() is None
    assert machine.marks() == (None, None, None)
