"""Asking a worker about cards, as the agent does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from muster.agent.facts import Answer, CardReading, CardWanted, Source
from muster.agent.worker import Worker
from tests.support.fleet import until

DEADLINE_S = 20.0
"""Far beyond what an answer takes on a busy machine."""


def wanted(uuid: str | None, *, at: int = 0, index: int | None = None) -> CardWanted:
    """A card to look at."""
    return {"at": at, "uuid": uuid, "index": index}


async def read(worker: Worker, *uuids: str, source: Source = "nvml") -> dict[str, CardReading]:
    """How cards are, by uuid."""
    readings: dict[str, CardReading] = {}

    def told(answer: Answer) -> None:
        if "reading" in answer:
            readings[uuids[answer["at"]]] = answer["reading"]

    cards = [wanted(uuid, at=at) for at, uuid in enumerate(uuids)]
    await worker.ask({"ask": "read", "source": source, "cards": cards}, DEADLINE_S, told)
    return readings


async def eventually(true: Callable[[], bool], what: str) -> None:
    """Waits for something to become true; fails with its name when it does not."""

    async def holds() -> bool:
        return true()

    await until(holds, what, timeout_s=30.0)


def tree(root: Path, files: dict[str, str]) -> Path:
    """A file system with these files under `root`; a value `-> x` makes a link to x."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
        else:
            path.write_text(content)
    return root
