"""A Mac's graphics, by system_profiler; how busy they are, by ioreg.

Apple's own chips share the machine's memory. Graphics of Intel processors are not offered.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from muster.agent.causes import NoGpuCause, NoGpuError
from muster.agent.commands import output_of
from muster.agent.facts import CardFound, CardReading, CardWanted, Source

_BUSY = re.compile(r'"Device Utilization %"=(\d+)')
_USED = re.compile(r'"In use system memory"=(\d+)')
_SIZE = re.compile(r"(\d+) *(MB|GB)")
_UNITS = {"MB": 1024**2, "GB": 1024**3}


class Macos:
    """system_profiler and ioreg as a source of cards."""

    name: Source = "macos"

    def __init__(self, root: Path) -> None:
        self._accelerators: list[str] = []

    def find(self) -> list[CardFound]:
        """All graphics that can be used; raises NoGpuError if there are none."""
        output = output_of("system_profiler", "SPDisplaysDataType", "-json")
        if output is None or output.code:
            raise NoGpuError(NoGpuCause.UNKNOWN, "system_profiler can't be asked")
        try:
            listed = json.loads(output.text)["SPDisplaysDataType"]
            found = [card for card in map(_card, listed) if card is not None]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise NoGpuError(NoGpuCause.UNKNOWN, "system_profiler can't be understood") from None
        if not found:
            raise NoGpuError(NoGpuCause.NO_GPU, "system_profiler lists no usable graphics")
        for index, card in enumerate(found):
            card["index"] = index
        return found

    def begin(self) -> None:
        """Asks for everything at once; raises NoGpuError."""
        output = output_of("ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator")
        if output is None or output.code:
            raise NoGpuError(NoGpuCause.UNKNOWN, "ioreg can't be asked")
        self._accelerators = output.text.split("+-o ")[1:]

    def read(self, wanted: CardWanted) -> CardReading:
        """How a card is now. Of several, nobody tells which is which: then there are no figures."""
        if not self._accelerators:
            return {"fault": "gpu_lost"}
        reading = CardReading()
        if len(self._accelerators) == 1:
            if (busy := _BUSY.search(self._accelerators[0])) is not None:
                reading["busy_percent"] = int(busy[1])
            if (used := _USED.search(self._accelerators[0])) is not None:
                reading["memory_used_bytes"] = int(used[1])
        return reading


def _card(entry: dict[str, Any]) -> CardFound | None:
    """One entry; None for graphics that are not offered."""
    name = entry.get("sppci_model") or entry.get("_name")
    memory = _size(entry.get("spdisplays_vram") or entry.get("_spdisplays_vram"))
    apple = "apple" in str(entry.get("spdisplays_vendor", "")).lower()
    if not name or not (apple or memory) or "spdisplays_vram_shared" in entry:
        return None
    return {
        "name": str(name),
        "memory_bytes": None if apple else memory,
        "uuid": None,
        "driver_version": None,
        "index": None,
    }


def _size(said: Any) -> int | None:
    size = _SIZE.fullmatch(said.strip()) if isinstance(said, str) else None
    return int(size[1]) * _UNITS[size[2]] if size else None
