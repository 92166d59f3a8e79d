"""docs/examples/scheduler.py gives every job to a machine that has a place for it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.node import Node

ROOT = Path(__file__).resolve().parents[2]
SCHEDULER = ROOT / "docs" / "examples" / "scheduler.py"
QUIET: dict[str, Any] = {
    "heartbeat_interval_s": 15.0, "heartbeat_timeout_s": 600.0, "warmup_timeout_s": 600.0,
}  # fmt: skip


def test_it_is_thirty_lines_long() -> None:
    docstring, code = SCHEDULER.read_text("utf-8").split('"""')[1:]
    assert docstring
    assert len([line for line in code.splitlines() if line.strip()]) == 30


async def test_it_lists_watches_selects_and_holds_while_gateways_die(system: System) -> None:
    await system.start(gateways=2, sweepers=1, **QUIET)
    first, second = system.gateways
    jobs = [f"job-{n}" for n in range(8)]
    async with Node(second.ws_url) as a, Node(second.ws_url) as b, Node(second.ws_url) as late:
        nodes = {"node-A": a, "node-B": b, "node-C": late}
        for node_id in ("node-A", "node-B"):
            await nodes[node_id].become_ready(node_id=node_id, labels={"region": "eu"})
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(SCHEDULER),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ
            | {"MUSTER_SERVER": f"{first.url},{second.url}", "PYTHONPATH": str(ROOT)},
        )
        assert process.stdin
        assert process.stdout
        process.stdin.write("\n".join(jobs).encode())
        process.stdin.close()
        given: dict[str, tuple[str, str]] = {}
        said: list[str] = []

        async def listen() -> None:
            assert process.stdout
            while line := (await process.stdout.readline()).decode().strip():
                said.append(line)
                if not line.startswith("#"):
                    job, _, rest = line.partition(": ")
                    node_id, _, hold = rest.partition(" as ")
                    given[job] = (node_id, hold)

        async def has_given(count: int) -> bool:
            return len(given) >= count

        listening = asyncio.create_task(listen())
        try:
            await until(lambda: has_given(2), "both machines have a job")
            assert {node_id for node_id, _ in given.values()} == {"node-A", "node-B"}
            first.kill()
            await nodes["node-C"].become_ready(node_id="node-C", labels={"region": "eu"})
            await until(lambda: has_given(3), "the newcomer has one, too")
            done: set[str] = set()
            while len(done) < len(jobs):
                running = Counter(n for job, (n, _) in given.items() if job not in done)
                assert max(running.values()) == 1  # as many as a machine has places
                job, (node_id, hold) = next((j, g) for j, g in given.items() if j not in done)
                result = {"type": "job_result", "job_id": hold, "success": True}
                await nodes[node_id].say(result)
                done.add(job)
                await until(
                    lambda: has_given(min(len(jobs), len(done) + 3)),
                    "the place is given to the next",
                )
            assert await asyncio.wait_for(process.wait(), 60) == 0
            await listening
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            listening.cancel()
    assert list(given) == jobs
    assert sorted(next(line for line in said if line.startswith("# ready:")).split()[2:]) == [
        "node-A",
        "node-B",
    ]
