"""Processes with a bug made on purpose: they live on, and their metrics say that it happened."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.node import metrics
from tests.support.processes import Process, Setting

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


@pytest.fixture
def faulty(tmp_path: Path) -> dict[str, str]:
    """An environment whose processes have the bug."""
    # Python runs this first of all, before the process's own modules are asked for.
    (tmp_path / "sitecustomize.py").write_text(FAULT)
    return {"PYTHONPATH": f"{tmp_path}:{ROOT}"}


async def test_a_bug_that_a_gateway_survives_is_counted(
    system: System, faulty: dict[str, str]
) -> None:
    gateway = system.processes.start("gateway", "MUSTER_PORT", {}, faulty)
    await gateway.wait_ready()
    assert "\nmuster_bugs_total 0.0\n" in await metrics(gateway.url)
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as client:
        assert (await client.get("/v1/fleet")).json()["code"] == "INTERNAL_ERROR"
    await until(partial(counts, gateway), "it is counted")
    assert gateway.running


async def test_a_bug_that_a_sweeper_survives_is_counted(
    system: System, faulty: dict[str, str]
) -> None:
    often: dict[str, Setting] = {"repair_interval_s": 0.1}
    sweeper = system.processes.start("sweeper", "MUSTER_SWEEPER_PORT", often, faulty)
    await sweeper.wait_ready()
    await until(partial(counts, sweeper), "it is counted")
    assert sweeper.running
