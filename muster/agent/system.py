"""The machine apart from its cards: cores, memory, how busy it is, and which one it is.

In a container its limits count: half a machine's cores are half its cores, and busy means busy of
those. Only the limits of the whole container count. One that a service manager puts on the agent
alone says nothing of the machine, as the work is done by other programs.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

if sys.platform == "win32":
    from muster.agent.system_windows import WindowsMachine as Machine
elif sys.platform == "darwin":
    from muster.agent.system_macos import MacosMachine as Machine
else:
    from muster.agent.system_linux import LinuxMachine as Machine

SHORTEST_S = 1.0
"""What is seen of less time than this is chance."""

_ROOT = Path("/")
_UNKNOWN = "-"


class Meters(Protocol):
    """What a platform tells."""

    def cores(self) -> int:
        """Processor cores that can be used, at least 1."""

    def memory_bytes(self) -> int:
        """Memory that can be used."""

    def memory_share(self) -> float | None:
        """The share of it in use, 0 to 1."""

    def work(self) -> tuple[float, float] | None:
        """Two growing counts of one unit: work done, and work that could have been done."""

    def marks(self) -> tuple[str | None, str | None, str | None]:
        """What tells this machine from others: installation, board, network card.

        None for what can't be read now or means nothing.
        """


def machine(root: Path = _ROOT) -> Meters:
    """This machine; `root` is where sysfs and procfs are read."""
    return Machine(root)


class SystemLoad:
    """How busy the machine is. Reading it is quick and waits for nothing."""

    def __init__(self, meters: Meters, clock: Callable[[], float] = time.monotonic) -> None:
        self._meters = meters
        self._clock = clock
        self._at = clock()
        self._work = meters.work()
        self._percent: float | None = None

    def cpu_percent(self) -> float | None:
        """Of all cores, since the last call; within a second of it, what was said then."""
        if self._clock() - self._at < SHORTEST_S:
            return self._percent
        before, now = self._work, self._meters.work()
        self._at, self._work, self._percent = self._clock(), now, None
        if before is not None and now is not None and now[1] > before[1]:
            busy = (now[0] - before[0]) / (now[1] - before[1])
            self._percent = round(100 * min(max(busy, 0.0), 1.0), 1)
        return self._percent

    def mem_percent(self) -> float | None:
        """Of all memory."""
        share = self._meters.memory_share()
        return None if share is None else round(100 * share, 1)


_LOAD = SystemLoad(machine())
cpu_percent = _LOAD.cpu_percent
mem_percent = _LOAD.mem_percent


def fingerprint(meters: Meters | None = None) -> str:
    """Which machine this is, hashed: `installation.board.network`, `-` for what is not known.

    Empty if nothing is known. The marks themselves can't be got from it.
    """
    marks = (machine() if meters is None else meters).marks()
    if not any(marks):
        return ""
    return ".".join(_UNKNOWN if mark is None else _hashed(mark) for mark in marks)


def same_machine(saved: str, present: str) -> bool:
    """Whether two fingerprints may be of one machine.

    Only what both know is compared: something that can't be read right now, such as a network card
    that is not up yet, does not make a machine another one. The network card, which may be
    exchanged, only counts where the board is not known to both. A copied disk has the installation
    in common, not the board.
    """
    one, other = saved.split("."), present.split(".")
    if len(one) != 3 or len(other) != 3:
        return not saved or not present or saved == present
    differs = [
        _UNKNOWN not in (mine, theirs) and mine != theirs
        for mine, theirs in zip(one, other, strict=True)
    ]
    installation, board, network = differs
    board_known = _UNKNOWN not in (one[1], other[1])
    return not (installation or board or (network and not board_known))


def _hashed(mark: str) -> str:
    return hashlib.sha256(f"muster node {mark}".encode()).hexdigest()[:16]
