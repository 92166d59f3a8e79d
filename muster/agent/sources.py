"""The sources of cards, in the order they are asked. Runs in the worker."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from muster.agent.amd import Amd
from muster.agent.causes import NoGpuCause, NoGpuError
from muster.agent.facts import CardFound, CardReading, CardWanted, Source
from muster.agent.macos import Macos
from muster.agent.nvidia_smi import NvidiaSmi
from muster.agent.nvml import Nvml

MOST_TELLING = (
    NoGpuCause.GPU_LOST,
    NoGpuCause.DRIVER_MISMATCH,
    NoGpuCause.NO_PERMISSION,
    NoGpuCause.UNKNOWN,
    NoGpuCause.NO_DRIVER,
    NoGpuCause.NO_GPU,
)
"""Of several causes, the one that knows most about a card that is there is told."""


class CardSource(Protocol):
    """Who knows the cards of one kind."""

    name: Source

    def find(self) -> list[CardFound]:
        """All usable cards, at least one; raises NoGpuError."""

    def begin(self) -> None:
        """Makes ready for a round of `read`; raises NoGpuError if no card can be read."""

    def read(self, wanted: CardWanted) -> CardReading:
        """How one card is now."""


def sources(root: Path, platform: str = sys.platform) -> list[CardSource]:
    """What to ask on this platform. `root` stands for `/`: where sysfs and procfs are read."""
    if platform == "darwin":
        return [Macos(root)]
    nvidia: list[CardSource] = [Nvml(root), NvidiaSmi(root)]
    return nvidia if platform == "win32" else [*nvidia, Amd(root)]


def find(
    asked: Sequence[CardSource], trying: Callable[[Source], None]
) -> tuple[Source, list[CardFound]]:
    """The cards of the first source that has any; raises NoGpuError with the most telling cause."""
    errors: list[NoGpuError] = []
    for source in asked:
        trying(source.name)
        try:
            return source.name, source.find()
        except NoGpuError as error:
            errors.append(error)
    raise min(errors, key=lambda error: MOST_TELLING.index(error.cause))
