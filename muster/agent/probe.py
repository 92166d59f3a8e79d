"""Finds out what this machine is made of. Never an empty list: cards, or a reason why not."""

from __future__ import annotations

import sys
from pathlib import Path

from muster.agent import system
from muster.agent.causes import NoGpuCause, NoGpuError
from muster.agent.facts import Answer, CardFound
from muster.agent.hardware import Gpu, Hardware, gib
from muster.agent.worker import Worker, WorkerError, WorkerHung

PLATFORMS = {"win32": "windows", "darwin": "macos"}


async def probe(deadline_s: float = 10.0, *, root: Path = Path("/")) -> Hardware:
    """This machine, with at least one usable GPU; raises NoGpuError.

    A worker process asks NVML, then nvidia-smi, then AMD's sysfs (on a Mac system_profiler): if a
    driver hangs, that costs `deadline_s` and no more. `root` is where sysfs and procfs are read.
    """
    answers = Answer()
    worker = Worker(root)
    try:
        await worker.ask({"ask": "find"}, deadline_s, answers.update)
    except WorkerHung:
        waited = f"{answers.get('trying', 'the worker')} did not answer within {deadline_s:g} s"
        raise NoGpuError(NoGpuCause.PROBE_TIMEOUT, waited) from None
    except WorkerError as error:
        asked = answers.get("trying", "the worker")
        raise NoGpuError(NoGpuCause.UNKNOWN, f"{asked}: {error}") from error
    finally:
        await worker.close()
    if not answers.get("found"):
        raise NoGpuError(NoGpuCause(answers["cause"]), answers["detail"])
    machine = system.machine(root)
    memory_bytes = machine.memory_bytes()
    return Hardware(
        cpu_cores=machine.cores(),
        memory_gb=gib(memory_bytes),
        gpus=tuple(_gpu(card, memory_bytes) for card in answers["found"]),
        platform=PLATFORMS.get(sys.platform, sys.platform),
        source=answers["source"],
    )


def _gpu(card: CardFound, machine_bytes: int) -> Gpu:
    """A card without memory of its own works in the machine's."""
    return Gpu(
        name=card["name"],
        memory_gb=gib(card["memory_bytes"] or machine_bytes),
        uuid=card["uuid"],
        driver_version=card["driver_version"],
        index=card["index"],
    )
