"""`python -m sweeper.diagram`: writes the table and the diagram of `docs/lifecycle.md`.

Both are drawn from the rows of `sweeper.rules`; the rest of the document is left as it is. With
`--check` nothing is written and the exit status says whether the document is as it should be.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from registry.model import Reason, Status
from sweeper.rules import ANY_BUT_OFFLINE, TABLE, Row, warmup_ran_out

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "lifecycle.md"

# What a registration does is written by its own script; it has no row to be judged by.
BY_REGISTRATION = (
    (Status.REGISTERING, "a registration is accepted, no operator drains it", Reason.REGISTERED),
    (Status.DRAINING, "a registration is accepted while an operator drains it", Reason.OPERATOR),
)


def diagram() -> str:
    """The state diagram in mermaid."""
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {s.value}: {reason.value}" for s, _, reason in BY_REGISTRATION]
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in TABLE:
        for source in row.sources:
            words = arrows.setdefault((source.value, row.to.value), [])
            words.append(_plain(_reason(row)))
    for (origin, target), words in arrows.items():
        lines.append(f"    {origin} --> {target}: {', '.join(dict.fromkeys(words))}")
    lines += [f"    {Status.OFFLINE.value} --> [*]: expired", "```"]
    return "\n".join(lines)


def table() -> str:
    """The transitions in the order in which they are looked at."""
    lines = ["| from | to | when | reason |", "|---|---|---|---|"]
    for status, when, reason in BY_REGISTRATION:
        lines.append(f"| — or any | {status.value} | {when} | `{reason.value}` |")
    for row in TABLE:
        sources = "any but offline" if row.sources == ANY_BUT_OFFLINE else ", ".join(row.sources)
        lines.append(f"| {sources} | {row.to.value} | {row.words} | {_reason(row)} |")
    return "\n".join(lines)


def drawn(document: str) -> str:
    """The document with its drawn parts made anew. Raises ValueError if a part has no place."""
    for name, part in (("diagram", diagram()), ("table", table())):
        begin, end = f"<!-- {name}: drawn from sweeper/rules.py -->", f"<!-- end of {name} -->"
        before, found, rest = document.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the document has no place for the {name}")
        document = f"{before}{begin}\n{part}\n{end}{after}"
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
    """Its reason; where it has none of its own, what takes its place."""
    if row.reason is not None:
        return f"`{row.reason.value}`"
    if row.when is warmup_ran_out:
        return f"the last failure's, else `{row.otherwise.value}`"
    return "the last failure's"


def _plain(text: str) -> str:
    return text.replace("`", "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
