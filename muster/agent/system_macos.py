"""macOS: the kernel's own counters (sysctl, Mach)."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any
from uuid import UUID

_CPU_LOAD = 3
_VM_64 = 4
_IDLE = 2
_STATES = 4
_VM_WORDS = 64


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class MacosMachine:
    """One Mac."""

    def __init__(self, root: Path, libc: Any = None) -> None:
        """`root` means nothing here. `libc` is the system's library."""
        self._libc = libc or ctypes.CDLL(None)

    def cores(self) -> int:
        """Logical processors."""
        return os.cpu_count() or 1

    def memory_bytes(self) -> int:
        """Physical memory."""
        return self._sysctl(b"hw.memsize")

    def memory_share(self) -> float | None:
        """What is neither free nor idle, as a share."""
        words = (ctypes.c_uint32 * _VM_WORDS)()
        total, page = self.memory_bytes(), self._sysctl(b"hw.pagesize")
        if not (total and page and self._statistics("host_statistics64", _VM_64, words)):
            return None
        free, _active, inactive = words[0], words[1], words[2]
        return max(0.0, 1 - (free + inactive) * page / total)

    def work(self) -> tuple[float, float] | None:
        """Ticks of all processors."""
        ticks = (ctypes.c_uint32 * _STATES)()
        if not self._statistics("host_statistics", _CPU_LOAD, ticks):
            return None
        return sum(ticks) - ticks[_IDLE], sum(ticks)

    def marks(self) -> tuple[str | None, str | None, str | None]:
        """The board alone: a Mac's installation has no id of its own."""
        found = (ctypes.c_ubyte * 16)()
        wait = _Timespec(1, 0)
        if self._libc.gethostuuid(found, ctypes.byref(wait)) != 0:
            return None, None, None
        return None, str(UUID(bytes=bytes(found))), None

    def _statistics(self, call: str, flavor: int, words: Any) -> bool:
        count = ctypes.c_uint32(len(words))
        host = self._libc.mach_host_self()
        return bool(
            getattr(self._libc, call)(host, flavor, ctypes.byref(words), ctypes.byref(count)) == 0
        )

    def _sysctl(self, name: bytes) -> int:
        value = ctypes.c_uint64()
        size = ctypes.c_size_t(ctypes.sizeof(value))
        failed = self._libc.sysctlbyname(
            name, ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0)
        )
        return 0 if failed else int(value.value)
