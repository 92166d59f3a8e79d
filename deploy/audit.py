"""`python deploy/audit.py PIP_AUDIT …`: asks a database of advisories about what is locked.

pip-audit calls it no fault if the database knows none of the packages, as where the network ends at
a mirror that has no advisories; and then nothing was checked. This says which it was.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"


def verdict(told: dict[str, Any]) -> tuple[str, int]:
    """What pip-audit's JSON amounts to, for people, and the exit status: 0 if every package was
    checked and none has a known hole, 1 if one has, 2 if not all could be checked."""
    rows = told["dependencies"]
    unchecked = [row for row in rows if "skip_reason" in row]
    holes = [
        f"{row['name']} {row['version']}: {hole['id']}, mended in "
        f"{', '.join(hole['fix_versions']) or 'no version yet'}"
        for row in rows
        for hole in row.get("vulns", ())
    ]
    lines = [*holes, f"{len(rows) - len(unchecked)} of {len(rows)} packages checked"]
    if unchecked:
        why = (
            "this says nothing about them" if len(unchecked) < len(rows) else "NOTHING was checked"
        )
        lines.append(
            f"the database of advisories does not know {len(unchecked)}, {why}: no network, or a "
            f"mirror without advisories? {unchecked[0]['skip_reason']}"
        )
    lines.append(f"{len(holes)} known holes" if holes or not unchecked else "no verdict")
    return "\n".join(lines), 1 if holes else 2 if unchecked else 0


def main(arguments: list[str]) -> int:
    """Asks; the exit status of the verdict, or 2 if the database could not be asked."""
    command = [*arguments, "--format", "json", "--require-hashes", "--disable-pip", "-r", str(LOCK)]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        text, status = verdict(json.loads(asked.stdout))
    except ValueError:
        last = asked.stderr.strip().splitlines()[-1:] or ["pip-audit said nothing"]
        text = (
            f"the database of advisories could not be asked, NOTHING was checked; it needs the "
            f"network: {last[0]}"
        )
        status = 2
    sys.stdout.write(f"{text}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
