"""`python -m tests.soak`: half an hour at true speed, mild chaos meanwhile, and what grew.

A store, gateways and sweepers with the settings people get (but few events are kept, so that their
bound is reached), 10 000 simulated machines that beat every 15 s, a scheduler that asks ten times a
second, a watcher of events, machines that come and go. Samples, verdict and picture are written
into one folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.gateway import NotMeasuredError
from bench.scale.machine import header
from tests.soak.picture import drawn
from tests.soak.sample import Sample
from tests.soak.soaking import Soak, run
from tests.soak.verdict import Counts, Finding, judged, kept

LAST = Path(__file__).resolve().parents[2] / "docs" / "soak"
_SIGNS = {True: "kept  ", False: "BROKEN", None: "  —   "}


def main(arguments: list[str] | None = None) -> int:
    """0: no promise was broken; 1: one was."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000, help="simulated machines (10 000)")
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="after all are ready, at true speed (30)"
    )
    parser.add_argument("--gateways", type=int, default=4, help="at least 3 (4)")
    parser.add_argument("--sweepers", type=int, default=2, help="(2)")
    parser.add_argument(
        "--speed", type=float, choices=(1.0, 10.0), default=1.0,
        help="10: ten times as fast, heartbeats every 1.5 s (1)",
    )  # fmt: skip
    parser.add_argument("--every", type=float, default=10.0, help="seconds between samples (10)")
    parser.add_argument("--rate", type=float, default=400.0, help="new sockets a second (400)")
    parser.add_argument(
        "--out", type=Path, default=LAST, metavar="DIR", help="where it is kept (docs/soak)"
    )
    options = parser.parse_args(arguments)
    asked = Soak(
        nodes=options.nodes, minutes=options.minutes, gateways=max(3, options.gateways),
        sweepers=max(1, options.sweepers), speed=options.speed, every_s=options.every,
        per_s=options.rate,
    )  # fmt: skip
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="muster-soak-") as name:
        try:
            samples, counts = run(asked, Path(name), _tell)
        except NotMeasuredError as error:
            print(f"not begun, as not all became ready: {error}")
            return 1
    findings = judged(samples, counts)
    about = header(begun)
    text = said(about, asked, counts, findings)
    keep(options.out, about, asked, samples, counts, findings)
    print(text)
    return 0 if kept(findings) else 1


def said(about: dict[str, Any], asked: Soak, counts: Counts, findings: list[Finding]) -> str:
    """The verdict, for people."""
    wide = max(len(finding.what) for finding in findings)
    broken = sum(finding.kept is False for finding in findings)
    unshown = sum(finding.kept is None for finding in findings)
    done = ", ".join(f"{number} x {what}" for what, number in sorted(counts.done.items()))
    where = (
        f"{about['when']}, {about['machine']}, {about['duration_s']:.0f} s in all, "
        f"load average {about['load_average_at_the_end']} at the end"
    )
    shape = (
        f"{asked.nodes} machines over {asked.gateways} gateways and {asked.sweepers} sweepers, "
        f"{asked.minutes:g} minutes, {_pace(asked)}"
    )
    return "\n".join(
        [
            where,
            shape,
            f"meanwhile: {done or 'nothing'}; {counts.visits} visits of machines that come and go",
            "",
            *(f"{_SIGNS[f.kept]}  {f.what:<{wide}}  {f.found}" for f in findings),
            "",
            "every promise that this run could show was kept" * (not broken)
            + f"{broken} promises BROKEN" * bool(broken)
            + f"; {unshown} could not be shown by it" * bool(unshown),
        ]
    )


def keep(
    directory: Path,
    about: dict[str, Any],
    asked: Soak,
    samples: list[Sample],
    counts: Counts,
    findings: list[Finding],
) -> None:
    """Writes verdict.txt, samples.json and picture.svg."""
    directory.mkdir(parents=True, exist_ok=True)
    text = said(about, asked, counts, findings)
    (directory / "verdict.txt").write_text(text + "\n", encoding="utf-8")
    found = about | {
        "asked": asdict(asked),
        "kept": kept(findings),
        "findings": [asdict(finding) for finding in findings],
        "counts": asdict(counts),
        "samples": [sample.as_dict() for sample in samples],
    }
    written = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    (directory / "samples.json").write_text(written + "\n", encoding="utf-8")
    title = f"{asked.nodes} machines, {asked.minutes:g} minutes, {_pace(asked)}, {about['when']}"
    (directory / "picture.svg").write_text(drawn(samples, title), encoding="utf-8")


def _pace(asked: Soak) -> str:
    return "at true speed" if asked.speed == 1 else f"{asked.speed:g} times as fast"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
