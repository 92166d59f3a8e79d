"""Former versions of the code, for runs in which two versions stand side by side."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.kept import all_kept, load

_ROOT = Path(__file__).resolve().parents[2]
_ROOMS = ("muster", "registry", "gateway", "sweeper")


def environment(code: Path) -> dict[str, str]:
    """What makes a process run the code of a folder, whatever folder it is started in."""
    return {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}


def former(directory: Path) -> Path:
    """The code that wrote the newest kept store, unpacked from this repository's history. Without
    that history (a shallow clone, an unpacked archive) the test is skipped."""
    commit = load(all_kept()[-1]).written_by.split()[0]
    packed = subprocess.run(
        ["git", "archive", commit, *_ROOMS], cwd=_ROOT, capture_output=True, check=False
    )
    if packed.returncode:
        pytest.skip(f"the history here does not reach back to {commit}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(directory, filter="data")
    _check(directory)
    return directory


def _check(code: Path) -> None:
    """That a process started so runs this code and no other."""
    where = subprocess.run(
        [sys.executable, "-c", "import gateway, registry; print(gateway.__file__)"],
        env=dict(os.environ) | environment(code),
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert Path(where.strip()).is_relative_to(code), f"{where} instead of {code}"
