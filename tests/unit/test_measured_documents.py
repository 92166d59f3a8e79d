"""The figures in the documents are those of the last outputs that are kept."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.document import filled

_ROOT = Path(__file__).resolve().parents[2]


def _checked() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.document", "--check"],
        cwd=_ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_documents_say_the_figures_that_were_measured_last() -> None:
    checked = _checked()
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", ["benchmarks.md", "operations.md", "scale.md"])
def test_a_figure_changed_by_hand_is_found(name: str) -> None:
    document = _ROOT / "docs" / name
    text = document.read_text(encoding="utf-8")
    place = text.index("<!-- measured: ")
    figure = re.compile(r"\d+").search(text, text.index("| --- |", place))
    assert figure is not None
    changed = text[: figure.start()] + "9" + text[figure.start() :]
    assert filled(changed) == text
