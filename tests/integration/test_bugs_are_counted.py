"""Processes with a bug made on purpose: they live on, and their metrics say that it happened."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import httpx

from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.node import metrics
from tests.support.processes import Process

ROOT = Path(__file__).resolve().parents[2]
FAULT = """
from registry.registry import Registry
from sweeper.repair import Repair

async def bug(*_, **__):
    raise ZeroDivisionError("made on purpose")

Registry.overview = Repair.partition = bug
"""


async def counts(process: Process) -> bool:
    """Whether a bug was counted, and is in the log with its traceback."""
    found = "\nmuster_bugs_total 0.0\n" not in await metrics(process.url)
    return found and "ZeroDivisionError: made on purpose" in process.log()


async def test_a_bug_that_is_survived_is_counted_by_gateways_and_sweepers(
    system: System, tmp_path: Path
) -> None:
    # Python runs this first of all, before the process's own modules are asked for.
    (tmp_path / "sitecustomize.py").write_text(FAULT)
    faulty = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    start = system.processes.start
    gateway = start("gateway", "MUSTER_PORT", {}, faulty)
    sweeper = start("sweeper", "MUSTER_SWEEPER_PORT", {"repair_interval_s": 0.1}, faulty)
    await gateway.wait_ready()
    await sweeper.wait_ready()
    assert "\nmuster_bugs_total 0.0\n" in await metrics(gateway.url)
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as client:
        assert (await client.get("/v1/fleet")).json()["code"] == "INTERNAL_ERROR"
    for process in (gateway, sweeper):
        await until(partial(counts, process), f"{process.name} counts it")
        assert process.running
