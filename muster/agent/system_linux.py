"""Linux: procfs, sysfs, and the limits of a container (cgroup v2 or v1)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from muster.agent.bus import number, text

_CGROUP = Path("sys/fs/cgroup")
_MEANINGLESS = {
    "",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "03000200-0400-0500-0006-000700080009",  # many boards of one maker say this
}


class LinuxMachine:
    """One Linux machine or container.

    A container has its own root of the cgroups, and that has limits; the root of a machine has
    none, whatever a service manager set below it.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._groups = root / _CGROUP
        self._clock = clock
        self._quota = self._read_quota()

    def cores(self) -> int:
        """All processors, or those of the container; a quota is rounded down."""
        allowed = _counted(
            text(self._groups / "cpuset.cpus.effective")
            or text(self._groups / "cpuset/cpuset.effective_cpus")
            or text(self._root / "sys/devices/system/cpu/online")
        )
        cores = allowed or os.cpu_count() or 1
        return max(1, cores if self._quota is None else min(cores, int(self._quota)))

    def memory_bytes(self) -> int:
        """The machine's memory, or the container's limit."""
        total = self._meminfo().get("MemTotal", 0)
        limit = self._memory_limit()
        return total if limit is None else min(total, limit) if total else limit

    def memory_share(self) -> float | None:
        """What could not be given to a program that asks, as a share."""
        info = self._meminfo()
        total = info.get("MemTotal", 0)
        limit = self._memory_limit()
        if limit is not None and (not total or limit < total):
            used = self._group_memory()
            return None if used is None else used / limit
        available = info.get("MemAvailable")
        return None if not total or available is None else 1 - available / total

    def work(self) -> tuple[float, float] | None:
        """Under a quota seconds of it; else ticks of all processors."""
        if self._quota is not None:
            used = self._group_seconds()
            return None if used is None else (used, self._clock() * self._quota)
        line = (text(self._root / "proc/stat") or "").partition("\n")[0].split()
        if len(line) < 6 or line[0] != "cpu":
            return None
        ticks = [int(value) for value in line[1:9]]  # guests' time is in the users' already
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)

    def marks(self) -> tuple[str | None, str | None, str | None]:
        """The board's id can be read by root alone; that of the network card by all."""
        installation = text(self._root / "etc/machine-id")
        board = text(self._root / "sys/class/dmi/id/product_uuid") or text(
            self._root / "sys/firmware/devicetree/base/serial-number"
        )
        if board is not None and board.lower() in _MEANINGLESS:
            board = None
        return installation, board and board.lower(), self._network_card()

    def _network_card(self) -> str | None:
        """The address the first card was made with: not a dongle's, not one that was made up."""
        cards = []
        try:
            interfaces = list((self._root / "sys/class/net").iterdir())
        except OSError:
            return None
        for interface in interfaces:
            device, address = interface / "device", text(interface / "address")
            if not address or not device.exists() or number(interface / "addr_assign_type") != 0:
                continue
            place = str(device.resolve())
            if "/usb" not in place:
                cards.append((place, address))
        return min(cards)[1] if cards else None

    def _meminfo(self) -> dict[str, int]:
        lines = (text(self._root / "proc/meminfo") or "").splitlines()
        fields = (line.replace(":", " ").split() for line in lines)
        return {field[0]: int(field[1]) * 1024 for field in fields if len(field) >= 2}

    def _memory_limit(self) -> int | None:
        limit = number(self._groups / "memory.max")
        return limit if limit is not None else number(self._groups / "memory/memory.limit_in_bytes")

    def _group_memory(self) -> int | None:
        """What the container uses, less file pages nobody used lately: those are given back."""
        for folder, used, idle in (
            (self._groups, "memory.current", "inactive_file"),
            (self._groups / "memory", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            if (current := number(folder / used)) is not None:
                return max(0, current - _field(folder / "memory.stat", idle))
        return None

    def _group_seconds(self) -> float | None:
        if (self._groups / "cpu.stat").exists():
            return _field(self._groups / "cpu.stat", "usage_usec") / 1e6
        used = number(self._groups / "cpuacct/cpuacct.usage")
        return None if used is None else used / 1e9

    def _read_quota(self) -> float | None:
        """Processors the container may use at once, None without a limit."""
        quota, _, period = (text(self._groups / "cpu.max") or "").partition(" ")
        if not quota:
            quota = text(self._groups / "cpu/cpu.cfs_quota_us") or ""
            period = text(self._groups / "cpu/cpu.cfs_period_us") or ""
        if not (quota.isdecimal() and period.isdecimal() and int(quota) and int(period)):
            return None
        return int(quota) / int(period)


def _counted(ranges: str | None) -> int:
    """How many numbers there are in `0-3,8`."""
    count = 0
    for part in (ranges or "").split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            count += (int(last) if last.isdecimal() else int(first)) - int(first) + 1
    return count


def _field(path: Path, name: str) -> int:
    """A field of a file with `name value` lines, 0 if it is not there."""
    for line in (text(path) or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdecimal():
            return int(value)
    return 0
