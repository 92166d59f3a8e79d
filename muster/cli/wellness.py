"""What the doctor found. Pure: an answer in, something rich can draw out."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from muster.cli import looks
from muster.cli.remote import clean
from muster.client.answers import Diagnosis, Finding

_MARKS: Mapping[str, tuple[str, str, str]] = {
    "ok": ("✓", "+", "green"),
    "note": ("·", ".", "blue"),
    "warning": ("▲", "!", "yellow"),
    "fatal": ("✗", "x", "bold red"),
}
"""Level → mark, mark where only ASCII can be shown, colour."""
_NAMES = {"ok": "well", "note": "as one may want it", "warning": "not well", "fatal": "bad"}


def diagnosis(found: Diagnosis, *, ascii_only: bool = False) -> RenderableType:
    """A line for each finding and what to do about it, and one for all."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column()
    for finding in found.findings:
        table.add_row(*_row(finding, ascii_only=ascii_only))
    verdict = Text(f"{_NAMES.get(found.level, clean(found.level))}, as gateway ", "bold")
    return Group(table, Text(""), verdict.append(f"{clean(found.gateway)} sees it"))


def _row(finding: Finding, *, ascii_only: bool) -> tuple[Text, Text, Text]:
    mark, plain, colour = _MARKS.get(finding.level, ("?", "?", "default"))
    text = Text(clean(finding.what))
    if finding.to_do:
        text.append("\n-> " if ascii_only else "\n→ ").append(clean(finding.to_do), looks.QUIET)
    level = Text(f"{plain if ascii_only else mark} {clean(finding.level)}", colour)
    return level, Text(clean(finding.check), "bold"), text
