"""Cards that are not there, to try the whole of it without a GPU."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from muster.agent import system
from muster.agent.facts import CardReading
from muster.agent.hardware import BYTES_PER_GIB, Gpu, Hardware, gib
from muster.agent.probe import PLATFORMS

EXPECTED = 'a name, a colon and a size in GiB for each card, as "RTX 4090:24,RTX 3090:24"'
CARDS_MOST = 64
MEMORY_MOST_GIB = 4096.0

_IDLE_SHARE = 0.02
_IDLE_C = 38.0


class SimulateError(ValueError):
    """What was given does not describe cards: `entry` is the part that does not fit."""

    def __init__(self, entry: str, expected: str = EXPECTED) -> None:
        super().__init__(f"simulate: expected {expected}; got {entry!r}")
        self.entry = entry
        self.expected = expected


def simulated(described: str) -> Hardware:
    """This machine with the cards described, as `RTX 4090:24,RTX 3090:24`; raises SimulateError."""
    entries = [entry.strip() for entry in described.split(",")]
    if len(entries) > CARDS_MOST:
        raise SimulateError(f"{len(entries)} cards", f"at most {CARDS_MOST} cards")
    machine = system.machine(Path("/"))
    return Hardware(
        cpu_cores=machine.cores(),
        memory_gb=gib(machine.memory_bytes()),
        gpus=tuple(_gpu(at, entry) for at, entry in enumerate(entries)),
        platform=PLATFORMS.get(sys.platform, sys.platform),
        source="simulated",
    )


class SimulatedSource:
    """Reads those cards: idle and well."""

    def __init__(self, hardware: Hardware) -> None:
        self._readings: list[CardReading] = [
            {
                "memory_used_bytes": int(gpu.memory_gb * BYTES_PER_GIB * _IDLE_SHARE),
                "temperature_c": _IDLE_C,
                "busy_percent": 0.0,
            }
            for gpu in hardware.gpus
        ]

    async def read(self) -> Sequence[CardReading]:
        """One reading for each card."""
        return self._readings


def _gpu(at: int, entry: str) -> Gpu:
    """The size is what follows the last colon: a name may have colons of its own."""
    name, colon, size = entry.rpartition(":")
    try:
        memory_gb = float(size)
    except ValueError:
        raise SimulateError(entry) from None
    if not (colon and name.strip()):
        raise SimulateError(entry)
    if not (math.isfinite(memory_gb) and 0 < memory_gb <= MEMORY_MOST_GIB):
        raise SimulateError(entry, f"a size above 0 and up to {MEMORY_MOST_GIB:g} GiB")
    return Gpu(name=name.strip(), memory_gb=memory_gb, index=at, driver_version="simulated")
