"""`python -m bench`: what a heartbeat, a socket, a node, an agent and a booting fleet cost, each
beside a floor.

Processor time is what the operating system accounts to the process, never wall time; figures are
medians of repeats; each floor is measured in the same run on the same machine. One run on one
machine is a beginning, not a proof: the ratio travels better than the microseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from bench import history
from bench.agent import agent_rows
from bench.boot import boot
from bench.figures import Report
from bench.gateway import NotMeasuredError, gateway_rows
from bench.selecting import select_rows
from bench.store import bytes_per_node, cpu_per_beat

_HERE = Path(__file__).resolve().parent
_PARTS = ("store", "gateway", "memory", "select", "agent", "boot")
_FLEET, _SMALL_FLEET = 100_000, 2_000


async def _run(report: Report, parts: list[str], clients: int, fleet: int) -> None:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        directory = Path(name)
        if "store" in parts:
            report.rows.append(await cpu_per_beat(directory, quick=report.quick))
        if "gateway" in parts:
            try:
                report.rows += await gateway_rows(directory, quick=report.quick, clients=clients)
            except NotMeasuredError as error:
                report.failures.append(f"gateway: {error}")
        if "memory" in parts:
            report.rows.append(await bytes_per_node(directory, quick=report.quick))
        if "select" in parts:
            report.rows += await select_rows(directory, quick=report.quick)
        if "agent" in parts:
            try:
                report.rows += await agent_rows(directory, quick=report.quick)
            except NotMeasuredError as error:
                report.failures.append(f"agent: {error}")
        if "boot" in parts:
            try:
                report.boot, rows = await boot(directory, fleet)
                report.rows += rows
            except NotMeasuredError as error:
                report.failures.append(f"boot: {error}")
    report.duration_s = time.monotonic() - begun


def main() -> int:
    """0: everything asked for was measured (whether or not it reached its target)."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a shorter run, for orientation only")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--only", choices=_PARTS, action="append", help="only this part")
    parser.add_argument("--clients", type=int, default=500, help="sockets that beat (500)")
    parser.add_argument("--fleet", type=int, help=f"nodes that boot ({_FLEET})")
    parser.add_argument(
        "--keep", type=Path, default=_HERE, metavar="DIR",
        help="where last.json and last.txt are written and a line is added to history.jsonl; "
        "a quick or partial run writes none",
    )  # fmt: skip
    options = parser.parse_args()
    report = Report(quick=options.quick)
    fleet = options.fleet or (_SMALL_FLEET if options.quick else _FLEET)
    asyncio.run(_run(report, options.only or list(_PARTS), options.clients, fleet))
    as_json = json.dumps(report.as_dict(), indent=2, ensure_ascii=False) + "\n"
    if not (options.quick or options.only):
        (options.keep / "last.json").write_text(as_json)
        (options.keep / "last.txt").write_text(report.as_text())
        history.add(report.as_dict(), options.keep / history.HISTORY.name)
    sys.stdout.write(as_json if options.json else report.as_text())
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
