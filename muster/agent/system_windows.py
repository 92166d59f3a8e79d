"""Windows: its kernel's own counters, its registry, and the board's table (SMBIOS)."""

from __future__ import annotations

import ctypes
import os
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

_RSMB = 0x52534D42
_SYSTEM_INFORMATION = 1
_HEADER_BYTES = 8
_UUID_AT = 8
_UUID_BYTES = 16
_MEANINGLESS = {bytes(_UUID_BYTES), b"\xff" * _UUID_BYTES}


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX."""

    _fields_ = [
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("total_page_file", ctypes.c_uint64),
        ("available_page_file", ctypes.c_uint64),
        ("total_virtual", ctypes.c_uint64),
        ("available_virtual", ctypes.c_uint64),
        ("available_extended", ctypes.c_uint64),
    ]


class WindowsMachine:
    """One Windows machine."""

    def __init__(self, root: Path, kernel: Any = None) -> None:
        """`root` means nothing here. `kernel` is kernel32."""
        self._kernel = kernel or ctypes.CDLL("kernel32")

    def cores(self) -> int:
        """Logical processors."""
        return os.cpu_count() or 1

    def memory_bytes(self) -> int:
        """Physical memory."""
        return int(self._memory().total)

    def memory_share(self) -> float | None:
        """Physical memory in use, as a share."""
        memory = self._memory()
        return 1 - memory.available / memory.total if memory.total else None

    def work(self) -> tuple[float, float] | None:
        """In units of 100 ns, of all processors. The kernel's time has the idle time in it."""
        idle, kernel, user = (ctypes.c_uint64() for _ in range(3))
        told = self._kernel.GetSystemTimes(
            ctypes.byref(idle), ctypes.byref(kernel), ctypes.byref(user)
        )
        possible = kernel.value + user.value
        return (possible - idle.value, possible) if told else None

    def marks(self) -> tuple[str | None, str | None, str | None]:
        """Installation and board."""
        return machine_guid(), self._board(), None

    def _memory(self) -> _MemoryStatus:
        status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
        self._kernel.GlobalMemoryStatusEx(ctypes.byref(status))
        return status

    def _board(self) -> str | None:
        """The UUID in the table `System Information`, which any user may read."""
        size = self._kernel.GetSystemFirmwareTable(_RSMB, 0, None, 0)
        table = ctypes.create_string_buffer(max(size, 0))
        if size <= 0 or self._kernel.GetSystemFirmwareTable(_RSMB, 0, table, size) != size:
            return None
        return board_uuid(table.raw)


def board_uuid(raw: bytes) -> str | None:
    """The UUID in raw SMBIOS data: structures, each followed by its strings and two zero bytes."""
    at = _HEADER_BYTES
    while at + 4 <= len(raw):
        kind, length = raw[at], raw[at + 1]
        if kind == _SYSTEM_INFORMATION and length >= _UUID_AT + _UUID_BYTES:
            found = raw[at + _UUID_AT : at + _UUID_AT + _UUID_BYTES]
            if found in _MEANINGLESS or len(found) < _UUID_BYTES:
                return None
            return str(UUID(bytes_le=found))
        end = raw.find(b"\0\0", at + length)
        if length < 4 or end < 0:
            return None
        at = end + 2
    return None


def machine_guid() -> str | None:
    """The installation's id."""
    try:
        registry: Any = import_module("winreg")
        path = r"SOFTWARE\Microsoft\Cryptography"
        with registry.OpenKey(registry.HKEY_LOCAL_MACHINE, path) as key:
            return str(registry.QueryValueEx(key, "MachineGuid")[0])
    except (ImportError, OSError):
        return None
