"""`python -m bench.scale.sockets --nodes 50000`: live sockets on this machine, at their own pace.

A store, four gateways and two sweepers with the settings people get; simulated nodes connect, are
ready and beat every 15 s. After a quiet fifth of the time one of a hundred falls silent; when they
have recovered, one gateway is killed with a quarter of the fleet on it. Sweepers are asked how many
nodes they called silent: exactly as many as were.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.scale.machine import LAST, Instant, System, header, keep, sweepers_said, system
from muster.cli.simulating import document
from muster.simulate import usage
from muster.simulate.order import Server
from muster.simulate.run import Plan, Run
from muster.simulate.verdict import judged

_GATEWAYS = 4
_SILENT = 0.01
_RECOVERED_S = 75.0
_LEAST_S = 270.0
"""The fault, the recovery from it and from the killed gateway take so long."""


async def measured(made: System, nodes: int, duration_s: float, per_s: float) -> dict[str, Any]:
    """Runs it; what was found."""
    servers = tuple(Server.of(f"http://127.0.0.1:{port}") for port in made.gateway_ports)
    plan = Plan(
        servers, "regional-loss", nodes, duration_s=duration_s, per_s=per_s, share=_SILENT,
        processes=max(1, nodes // 12_500),
    )  # fmt: skip
    last = [0.0]

    def tell(line: str) -> None:
        if time.monotonic() - last[0] > 10:
            last[0] = time.monotonic()
            print(f"{line}; load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)

    run = Run(plan, tell)
    running = asyncio.create_task(run.outcome())
    sayings: dict[str, dict[str, float]] = {}
    points: dict[str, tuple[Instant, dict[str, usage.Reading]]] = {}

    async def point(name: str) -> None:
        processes = made.processes() | {"load": [w.process.pid for w in run.workers]}
        pages = [f"http://127.0.0.1:{p}" for p in (*made.gateway_ports, *made.sweeper_ports)]
        readings = await asyncio.to_thread(usage.taken, pages, [])
        points[name] = (Instant.of(processes), readings)
        sayings[name] = await asyncio.to_thread(sweepers_said, made.sweeper_ports)

    async def at(seconds: float) -> bool:
        while run.held_s < seconds and not running.done():  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        return not running.done()

    if await at(5.0):
        await point("quiet from")
        plans = run.timeline()
        await at(plans.fault_at_s - 0.5)
        await point("quiet to")
        await at(plans.fault_ends_s + _RECOVERED_S)
        await point("before the kill")
        closed_before = sum(n for w, n in run.book.counts.items() if w.startswith("closed "))
        first = f"http://127.0.0.1:{made.gateway_ports[0]}"
        on_it = next(
            (
                r.sockets
                for page, r in points["before the kill"][1].items()
                if page.startswith(first)
            ),
            0.0,
        )
        made.gateways[0].kill()
        killed_at = run.held_s
        back_s = None
        while back_s is None and not running.done():
            await asyncio.sleep(0.2)
            closed = sum(n for w, n in run.book.counts.items() if w.startswith("closed "))
            if closed > closed_before and run.book.now["ready"] == nodes:
                back_s = run.held_s - killed_at
    outcome = await running
    found = document(outcome, judged(outcome), plan)
    if "before the kill" in points:
        found["gateway_killed"] = {
            "nodes_on_it": int(on_it),
            "all_ready_again_after_s": None if back_s is None else round(back_s, 1),
        }
        found["quiet"] = _between(points["quiet from"], points["quiet to"])
        found["silenced"] = _between(points["quiet to"], points["before the kill"])
        found["resident_bytes"] = points["quiet to"][0].resident
    found["sweepers_said"] = sayings | {"at the end": sweepers_said(made.sweeper_ports)}
    if not found["verdict"]["kept"]:
        found["sweepers_blame"] = blamed(found["sweepers_said"])
    return found


def _between(
    early: tuple[Instant, dict[str, usage.Reading]], late: tuple[Instant, dict[str, usage.Reading]]
) -> dict[str, Any]:
    waits: dict[float, float] = {}
    beats = 0.0
    for spent in usage.spent(early[1], late[1]):
        beats += spent.beats
        for edge, number in spent.waits.items():
            waits[edge] = waits.get(edge, 0.0) + number
    cores = late[0].cores_since(early[0])
    seconds = late[0].at - early[0].at
    return {
        "seconds": round(seconds, 1),
        "beats": int(beats),
        "beats_per_s": round(beats / seconds, 1),
        "beat_to_store_at_most_s": {f"p{q * 100:g}": usage.quantile_s(waits, q)
                                    for q in (0.5, 0.99, 0.999)},
        "cores": cores,
        "us_per_beat": {k: round(c * seconds / beats * 1e6, 1) for k, c in cores.items()}
        if beats else {},
        "load_average": late[0].load,
    }  # fmt: skip


def blamed(said: dict[str, dict[str, float]]) -> list[str]:
    """What sweepers said of themselves that keeps a silent node from being called so: time in which
    they could observe nothing, a brake, alarms answered late; where they were short of processor,
    the machine was too small, and nothing else was wrong."""
    early = said.get("quiet to", {}).get("unobserved_s", 0.0)
    unobserved = max((at["unobserved_s"] for at in said.values()), default=0.0) - early
    braked = max((at["held_back_by_the_brake"] for at in said.values()), default=0.0)
    late = max((at["most_overdue_s"] for at in said.values()), default=0.0)
    told = []
    if unobserved > 0:
        told.append(f"the sweepers said: {unobserved:.1f} s of the run were observed by nobody")
    if braked > 0:
        told.append(f"the sweepers said: {braked:.0f} nodes were held back by the brake")
    if late > 1:
        told.append(f"the sweepers said: they answered alarms up to {late:.1f} s late")
    return told or ["the sweepers said: all was observed, no brake, every alarm answered in time"]


def main() -> int:
    """0: every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale.sockets", description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--duration", type=float, default=300.0, help="seconds after all are ready")
    parser.add_argument("--rate", type=float, default=400.0, help="new sockets a second")
    parser.add_argument("--keep", type=Path, default=LAST, metavar="DIR")
    options = parser.parse_args()
    options.duration = max(options.duration, _LEAST_S)
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="muster-scale-") as name,
        system(Path(name), gateways=_GATEWAYS, sweepers=2) as made,
    ):
        found = asyncio.run(measured(made, options.nodes, options.duration, options.rate))
    keep(f"sockets-{options.nodes}", header(begun) | found, options.keep)
    return 0 if found["verdict"]["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
