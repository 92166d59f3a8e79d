"""`docs/reliability.md`: the table of the last full run, from that run's own output."""

from __future__ import annotations

from typing import Any

from tests.faults.world import Outcome, World


def row_of(world: World, outcome: Outcome) -> dict[str, Any]:
    """What the report keeps of one run."""
    measured = outcome.measured
    return {
        "seed": world.seed,
        "pace": world.pace.name,
        "breaches": len(outcome.breaches),
        "recover_s": round(measured.recover_s, 2),
        "settle_s": round(measured.settle_s, 2),
        "unselectable_s": round(measured.unselectable_s, 1),
        "truth_s": round(measured.truth_s, 2),
        "counts": outcome.counts,
    }
