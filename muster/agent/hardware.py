"""What this machine is made of, and how its cards are at one moment.

Sizes are told in GiB as people know them. A card keeps a little of its memory for itself (8188 of
8192 MiB, 81559 of 81920), so a size within 2 % of a whole number is that number; any other is told
to one decimal. An 8 GB card says 8, a slice of 4864 MiB says 4.8.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from muster.agent.causes import NoGpuCause, NoGpuError
from muster.agent.facts import Source
from muster.wire.messages import Gpu

__all__ = ["Gpu", "GpuSnapshot", "GpuState", "Hardware", "NoGpuCause", "NoGpuError", "gib"]

BYTES_PER_GIB = 1024**3
KEPT_BY_CARD = 0.02
"""The share of its memory a card may keep for itself and still be called by its whole size."""


def gib(size_bytes: float) -> float:
    """A size in GiB as people know it; never 0 for what has a size at all."""
    exact = size_bytes / BYTES_PER_GIB
    whole = round(exact)
    if whole and abs(exact - whole) <= KEPT_BY_CARD * whole:
        return float(whole)
    return round(exact, 1) or (0.1 if size_bytes > 0 else 0.0)


class Hardware(Struct, frozen=True, kw_only=True):
    """One machine; memory in GiB. `platform` is `linux`, `windows` or `macos`.

    `source` is who knows the cards and is asked how they are.
    """

    cpu_cores: int
    memory_gb: float
    gpus: tuple[Gpu, ...]
    platform: str
    source: Source = "nvml"

    def as_message(self) -> dict[str, Any]:
        """The protocol's `hardware` object."""
        return {
            "cpu_cores": self.cpu_cores,
            "memory_gb": self.memory_gb,
            "gpus": [msgspec.to_builtins(gpu) for gpu in self.gpus],
        }


class GpuState(Struct, frozen=True, kw_only=True):
    """One card at one moment; memory in GiB, temperature in degrees Celsius.

    `reason` is a code, None for a healthy card. What the card does not tell is None.
    """

    index: int | None = None
    uuid: str | None = None
    healthy: bool = True
    reason: str | None = None
    memory_used_gb: float | None = None
    temperature_c: float | None = None
    gpu_percent: float | None = None


class GpuSnapshot(Struct, frozen=True, kw_only=True):
    """All cards at one moment, in the order of `Hardware.gpus`.

    The percentages are over all cards that tell them; None when none does.
    """

    gpu_percent: float | None = None
    gpu_mem_percent: float | None = None
    gpus: tuple[GpuState, ...] = ()
