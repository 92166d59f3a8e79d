"""What the worker process and the agent say to each other: one JSON object a line.

Plain facts as the system tells them, sizes in bytes; what they mean is judged in the agent.
"""

from __future__ import annotations

from typing import Literal, TypedDict

Source = Literal["nvml", "nvidia-smi", "amd", "macos", "simulated"]
"""Who knows the cards."""


class CardFound(TypedDict):
    """One card as it was found; `memory_bytes` None: it shares the machine's memory."""

    name: str
    memory_bytes: int | None
    uuid: str | None
    driver_version: str | None
    index: int | None


class CardWanted(TypedDict):
    """One card to look at; `at` is its place in the agent's list."""

    at: int
    uuid: str | None
    index: int | None


class CardReading(TypedDict, total=False):
    """One card at one moment; what is not told is left out.

    `fault` is a code: the card can't be used now. `hot`: it slows itself down because of heat.
    `ecc_uncorrected` counts since the driver was loaded. `xids` came since the last reading.
    """

    fault: str
    memory_used_bytes: int
    memory_total_bytes: int
    temperature_c: float
    busy_percent: float
    hot: bool
    ecc_uncorrected: int
    xids: list[int]


class Request(TypedDict, total=False):
    """A question. `find` takes nothing else; `read` names the source and the cards."""

    ask: Literal["find", "read"]
    source: Source
    cards: list[CardWanted]


class Answer(TypedDict, total=False):
    """One line of an answer; the last one has `done`.

    find: `trying` names a source before it is asked; then `source` and `found`, or `cause` and
    `detail`. read: `begun` when the source answers at all, `at` and `reading` for each card; or
    `fault`, which holds for all cards that have no reading.
    """

    trying: Source
    source: Source
    found: list[CardFound]
    cause: str
    detail: str
    fault: str
    begun: bool
    at: int
    reading: CardReading
    done: bool
