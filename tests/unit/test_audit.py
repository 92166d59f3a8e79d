"""An audit that could not be made is never told as one that found nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FINE = {"name": "a", "version": "1", "vulns": []}
HOLE = {
    "name": "b",
    "version": "2",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"], "aliases": [], "description": ""}],
}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


def audit(tmp_path: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Runs it over a stand-in for pip-audit."""
    stand_in = tmp_path / "pip_audit.py"
    stand_in.write_text(program)
    command = [sys.executable, str(ROOT / "deploy/audit.py"), sys.executable, str(stand_in)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("rows", "status", "says"),
    [
        ([FINE], 0, "0 known holes"),
        ([FINE, HOLE], 1, "b 2: PYSEC-1, mended in 3"),
        ([UNKNOWN], 2, "NOTHING was checked"),
        ([FINE, UNKNOWN], 2, "1 of 2 packages checked"),
        ([HOLE, UNKNOWN], 1, "1 known holes"),
    ],
)
def test_what_was_checked_is_told_apart_from_what_was_not(
    tmp_path: Path, rows: list[dict[str, Any]], status: int, says: str
) -> None:
    told = {"dependencies": rows, "fixes": []}
    found = audit(tmp_path, f"import json; print(json.dumps({told!r}))")
    assert (found.returncode, says in found.stdout) == (status, True), found.stdout


def test_without_a_network_it_says_so_and_fails(tmp_path: Path) -> None:
    found = audit(tmp_path, "import sys; sys.exit('ConnectionError: pypi.org')")
    assert found.returncode == 2
    assert "NOTHING was checked" in found.stdout
    assert "ConnectionError" in found.stdout
