"""`python -m gateway.api.document`: writes the reference part of docs/api.md.

It is made from the table of endpoints; the rest of the document is left as it is. With `--check`
nothing is written and the exit status says whether the document is as it should be.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from gateway.api import recorded, shapes
from gateway.api.curl import command
from gateway.api.endpoint import EVERYWHERE, Endpoint, Example
from gateway.api.pretty import pretty
from gateway.api.problems import CODES
from gateway.api.table import TABLE

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def drawn(document: str) -> str:
    """The document with its drawn parts made anew. Raises ValueError if a part has no place."""
    parts = {"index": _index(TABLE), "endpoints": _endpoints(TABLE), "problems": _problems()}
    for name, part in parts.items():
        begin, end = f"<!-- {name}: drawn from gateway/api/table.py -->", f"<!-- end of {name} -->"
        before, found, rest = document.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the document has no place for the {name}")
        text = "\n".join(part).rstrip()
        document = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    return document


def _index(table: Sequence[Endpoint]) -> Iterator[str]:
    yield "| | | role |"
    yield "|---|---|---|"
    for e in table:
        yield f"| [`{e.title}`](#{_anchor(e)}) | {e.summary.lower()} | `{e.role.value}` |"


def _endpoints(table: Sequence[Endpoint]) -> Iterator[str]:
    for endpoint in table:
        yield from _endpoint(endpoint)
    yield from ("## Shapes", "")
    for type_ in shapes.mentioned(table):
        yield from (f"### {type_.__name__}", "", shapes.about(type_), "", *_table(type_), "")


def _endpoint(endpoint: Endpoint) -> Iterator[str]:
    yield from (f"### {endpoint.title}", "", f"{endpoint.summary}. {endpoint.text}", "")
    yield from _asked("Query", endpoint.query)
    yield from _asked("Body", endpoint.body)
    yield from _example(endpoint, endpoint.example)
    if endpoint.answer is None:
        yield from ("Answered by `204`, without a body.", "")
    else:
        yield from (f"Answered by `200` and {shapes.link(endpoint.answer)}:", "")
        yield from _json(recorded.answer(endpoint.name))
    if endpoint.problem is not None:
        code, example = endpoint.problem
        yield from ("Where it can't be done:", "", *_example(endpoint, example))
        yield from (f"Answered by `{CODES[code].status}`:", "")
        yield from _json(recorded.problem(endpoint.name))
    own = [code for code in endpoint.every_code if code not in EVERYWHERE]
    yield from (
        ("Problems of its own: " + ", ".join(f"`{code}`" for code in own) + ".", "") if own else ()
    )


def _asked(title: str, type_: Any) -> Iterator[str]:
    if type_ is None:
        return
    kinds = shapes.kinds(type_)
    if len(kinds) == 1:
        yield from (f"{title}:", "", *_table(kinds[0].cls), "")
    else:
        links = ", ".join(f"`{kind.tag}` {shapes.link(kind.cls)}" for kind in kinds)
        yield from (f"{title}, by `{kinds[0].tag_field}`: {links}.", "")


def _table(type_: type[Struct]) -> Iterator[str]:
    yield "| name | what it is | meaning |"
    yield "|---|---|---|"
    for row in shapes.rows(type_):
        must = ", required" if row.required and shapes.is_asked(type_) else ""
        yield f"| `{row.name}`{must} | {row.what} | {row.meaning} |"


def _example(endpoint: Endpoint, example: Example) -> Iterator[str]:
    yield from ("```sh", command(endpoint, example), "```", "")


def _json(value: Any) -> Iterator[str]:
    yield from ("```json", pretty(value), "```", "")


def _problems() -> Iterable[str]:
    yield "| code | status | when | what to do |"
    yield "|---|---|---|---|"
    for code in CODES.values():
        yield f"| `{code.code}` | {code.status} | {code.when} | {code.to_do} |"


def _anchor(endpoint: Endpoint) -> str:
    """As a heading becomes a link: lower case, without punctuation, spaces as hyphens."""
    kept = (c for c in endpoint.title.lower() if c.isalnum() or c in " -_")
    return "".join(kept).replace(" ", "-")


def main(argv: Sequence[str]) -> int:
    before = DOCUMENT.read_text("utf-8")
    after = drawn(before)
    if "--check" in argv:
        return int(before != after)
    DOCUMENT.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
