"""`python -m sweeper.diagram`: writes the table and the diagram of `docs/lifecycle.md`.

Both are drawn from the rows of `sweeper.rules`; the rest of the document is left as it is. With
`--check` nothing is written and the exit status says whether the document is as it should be.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from registry.model import Reason, Status
from sweeper.rules import PRESENT, TABLE, Row

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "lifecycle.md"

# What a registration does is written by its own script; it has no row to be judged by.
BY_REGISTRATION = (
    (Status.REGISTERING, "a registration is accepted, no operator drains it", Reason.REGISTERED),
    (Status.DRAINING, "a registration is accepted while an operator drains it", Reason.OPERATOR),
)


def diagram() -> str:
    """The state diagram in mermaid."""
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {to.value}: {reason.value}" for to, _, reason in BY_REGISTRATION]
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in TABLE:
        for source in row.sources:
            words = arrows.setdefault((source.value, row.to.value), [])
            words.append(_plain(_reason(row)))
    for (source, to), words in arrows.items():
        lines.append(f"    {source} --> {to}: {', '.join(dict.fromkeys(words))}")
    lines += [f"    {Status.OFFLINE.value} --> [*]: expired", "```"]
    return "\n".join(lines)


def table() -> str:
    """The transitions in the order in which they are looked at."""
    lines = ["| from | to | when | reason |", "|---|---|---|---|"]
    for to, when, reason in BY_REGISTRATION:
        lines.append(f"| — or any | {to.value} | {when} | `{reason.value}` |")
    for row in TABLE:
        sources = "any but offline" if row.sources == PRESENT else ", ".join(row.sources)
        lines.append(f"| {sources} | {row.to.value} | {row.when.__doc__} | {_reason(row)} |")
    return "\n".join(lines)


def drawn(document: str) -> str:
    """The document with its drawn parts made anew. Raises ValueError if a part has no place."""
    for name, part in (("diagram", diagram()), ("table", table())):
        begin, end = f"<!-- {name}: drawn from sweeper/rules.py -->", f"<!-- end of {name} -->"
        place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        document, found = place.subn(lambda _, p=part, b=begin, e=end: f"{b}\n{p}\n{e}", document)
        if found != 1:
            raise ValueError(f"the document must have one place for the {name}, not {found}")
    return document


def main(argv: Sequence[str]) -> int:
    """Writes the document, or with `--check` only compares. Returns an exit status."""
    before = DOCUMENT.read_text(encoding="utf-8")
    after = drawn(before)
    if "--check" in argv:
        return int(before != after)
    if before != after:
        DOCUMENT.write_text(after, encoding="utf-8")
    return 0


def _reason(row: Row) -> str:
    if isinstance(row.reason, Reason):
        return f"`{row.reason.value}`"
    return row.reason.__doc__ or ""


def _plain(text: str) -> str:
    return text.replace("`", "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
