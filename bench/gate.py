"""`python -m bench.gate`: fails if a heartbeat has become dearer beside the same floors.

A short run of the store's and the gateway's part of the benchmark, compared by ratio with the last
full one that is kept (`bench/last.json`). Neighbours make ratios waver, so what counts is the best
of a few tries, and a third more is allowed, half more for the store. `--prove` closes the short way
of heartbeats and must find that this is dearer: a gate that cannot fail guards nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench.figures import Row
from bench.gateway import NotMeasuredError, gateway_rows
from bench.store import cpu_per_beat

_KEPT = Path(__file__).resolve().parent / "last.json"
TOLERANCE = {
    "store CPU per heartbeat": 1.5,
    "gateway CPU per heartbeat": 1.3,
    "gateway CPU per connect and registration": 1.3,
}
"""How many times the kept ratio each may reach: what was seen between idle and crowded machines."""
TRIES = 3


def kept() -> dict[str, float]:
    """The ratios of the last full run."""
    rows = json.loads(_KEPT.read_text(encoding="utf-8"))["rows"]
    return {row["what"]: float(row["ratio"]) for row in rows if row["what"] in TOLERANCE}


def dearer(best: Mapping[str, float], was: Mapping[str, float]) -> list[str]:
    """What costs more than it may; empty if all is well."""
    return [
        f"{what}: {best[what]:.2f} times its floor; it was {was[what]:.2f}, and "
        f"{was[what] * TOLERANCE[what]:.2f} is the most"
        for what in was
        if best[what] > was[what] * TOLERANCE[what]
    ]


async def _measured(directory: Path, more: Mapping[str, str]) -> list[Row]:
    return [
        await cpu_per_beat(directory, quick=True),
        *await gateway_rows(directory, quick=True, clients=500, more=more),
    ]


def _best(was: Mapping[str, float], tries: int, more: Mapping[str, str]) -> dict[str, float]:
    """The least ratio of each over some tries; ends as soon as all are good."""
    best: dict[str, float] = {}
    for _ in range(tries):
        with tempfile.TemporaryDirectory(prefix="muster-gate-") as name:
            for row in asyncio.run(_measured(Path(name), more)):
                if row.what in was and row.ratio is not None:
                    best[row.what] = min(row.ratio, best.get(row.what, row.ratio))
        if not dearer(best, was):
            break
    return best


def main() -> int:
    """0: as cheap as it was; 1: dearer; 2: could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.gate", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--prove", action="store_true", help="must fail with the short way closed")
    options = parser.parse_args()
    was, more = kept(), dict[str, str]()
    if options.prove:
        more = {"MUSTER_SHORT_WAY": "false"}
        was = {what: ratio for what, ratio in was.items() if what == "gateway CPU per heartbeat"}
    try:
        best = _best(was, 1 if options.prove else TRIES, more)
    except NotMeasuredError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2
    found = dearer(best, was)
    if options.json:
        print(json.dumps({"ratios": best, "kept": was, "tolerance": TOLERANCE, "dearer": found}))
    else:
        for what in was:
            print(f"{what}: {best[what]:.2f} times its floor (kept: {was[what]:.2f})")
        for line in found:
            print(f"DEARER  {line}", file=sys.stderr)
        if found and not options.prove:
            print(
                "Find what made it so (make bench ARGS='--only gateway'), or keep a new full run.",
                file=sys.stderr,
            )
    return (0 if found else 1) if options.prove else (1 if found else 0)


if __name__ == "__main__":
    sys.exit(main())
