"""`python -m tests.faults`: runs the whole fault suite and writes `docs/reliability.md`.

Further arguments are pytest's; with them only they are run and nothing is written.
"""

from __future__ import annotations

import sys
import time

import pytest

from tests.faults.report import AT_ONCE, DOCUMENT, Collected, document


def main(arguments: list[str]) -> int:
    """pytest's exit status."""
    collected = Collected()
    began = time.monotonic()
    chosen = ["-m", "faults", "tests/faults", "-n", str(AT_ONCE), "-v", *arguments]
    status = pytest.main(chosen, plugins=[collected])
    if not arguments and collected.lines:
        DOCUMENT.write_text(document(collected.lines, time.monotonic() - began), encoding="utf-8")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
