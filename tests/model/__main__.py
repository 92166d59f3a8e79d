"""`python -m tests.model`: plays the model for longer, each time otherwise; says its seed first.

--seed N repeats a run, --examples and --steps say how long it is, --store which store it is on.
--short plays what the suite plays. What fails is told by as few steps as can be found.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.model.play import EXAMPLES, STEPS, play
from tests.model.stage import on_fakeredis, on_valkey
from tests.support.launching import faketime_library


def main() -> int:
    """0 if nothing happened that may never happen, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--store", choices=("valkey", "fakeredis"), default="valkey")
    parser.add_argument("--short", action="store_true")
    asked = parser.parse_args()
    examples, steps = (EXAMPLES, STEPS) if asked.short else (asked.examples, asked.steps)
    said = f"--short --store {asked.store}"
    if not asked.short:
        said = f"--seed {asked.seed} --examples {examples} --steps {steps} --store {asked.store}"
    print(f"{examples} lives of {steps} steps; again: python -m tests.model {said}", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="muster-model-") as directory:
        where = Path(directory)
        on = on_fakeredis() if asked.store == "fakeredis" else on_valkey(where, faketime_library())
        with on as stage:
            play(stage, examples, steps, from_seed=None if asked.short else asked.seed)
    print(f"nothing happened that may never happen; {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
