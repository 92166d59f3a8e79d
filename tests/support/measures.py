"""Writes the tables of docs/metrics.md: `python -m tests.support.measures`.

They are made of what the processes declare, so the document can't say something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.metrics import Metrics
from registry.measuring import Measure
from sweeper.metrics import SweeperMetrics

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
VALUES_SHOWN = 12


def declared() -> dict[str, list[Measure]]:
    """What each kind of process measures, by the name of its part of the document."""
    return {"gateway": Metrics().declared, "sweeper": SweeperMetrics().declared}


def drawn(document: str) -> str:
    """The document with its tables made anew. Raises ValueError if one has no place."""
    for name, measures in declared().items():
        begin = f"<!-- {name}: drawn from {name}/metrics.py -->"
        end = f"<!-- end of {name} -->"
        before, found, rest = document.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the document has no place for the metrics of a {name}")
        table = "\n".join(_table(measures))
        document = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    return document


def _table(measures: Iterable[Measure]) -> Iterator[str]:
    yield "| metric | kind | unit | meaning | labels |"
    yield "|---|---|---|---|---|"
    for m in measures:
        labels = "<br>".join(_label(name, values) for name, values in m.labels.items())
        yield f"| `{m.name}` | {m.kind} | {m.unit} | {m.help} | {labels} |"


def _label(name: str, values: tuple[str, ...] | str) -> str:
    if isinstance(values, str):
        return f"`{name}`: {values}"
    shown = " ".join(f"`{value}`" for value in values[:VALUES_SHOWN])
    more = f" and {len(values) - VALUES_SHOWN} more" if len(values) > VALUES_SHOWN else ""
    return f"`{name}`: {shown}{more}"


def main() -> None:
    DOCUMENT.write_text(drawn(DOCUMENT.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
