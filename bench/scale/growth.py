"""`python -m bench.scale.growth`: how costs grow, drawn from the last measurements.

Each line is fitted by cost = a * size^e in logarithms; e is written beside it. 0: the cost of one
thing does not depend on the size; 1: it grows as the size does. What is paid for each node (a beat,
a node of a repair) must stay near 0 as the fleet grows; what is paid for all of something at once
(a look at all partitions, finding a share among all sweepers) may reach 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.drawing import Plot, Scale, ink, page, words
from bench.scale.machine import LAST

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "scale-growth.svg"
_WIDE, _HIGH, _LEFT, _TOP, _RIGHT, _BOTTOM = 860, 300, 60, 40, 330, 40

Lines = dict[str, list[float]]

COSTS: dict[str, Callable[[dict[str, Any]], float]] = {
    "store, µs a beat": lambda at: at["store_us_a_beat"],
    "store, µs to enrol a node": lambda at: at["growing"]["store_us_a_node"],
    "sweeper, µs to make a node ready": lambda at: at["growing"]["sweeper_us_a_node"],
    "select a tenth, p50 in µs": lambda at: at["select_a_tenth"]["p50_ms"] * 1000,
    "select 1 of 10 000, p50 in µs": lambda at: at["select_one_in_10000"]["p50_ms"] * 1000,
    "page of 100 nodes, p50 in µs": lambda at: at["list_page_of_100"]["p50_ms"] * 1000,
    "overview, p50 in µs": lambda at: at["overview"]["p50_ms"] * 1000,
    "sweeper, µs an alarm": lambda at: at["alarms"]["sweeper_us_a_node"],
    "sweeper, µs a silent node": lambda at: at["fallen_silent"]["sweeper_us_a_node"],
    "repair, sweeper's µs a node": lambda at: at["repair_of_one_partition"]["sweeper_us_a_node"],
    "store, bytes a node": lambda at: at["bytes_a_node"],
}


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of the straight line through the logarithms."""
    xs, ys = [math.log(x) for x in sizes], [math.log(y) for y in costs]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    over = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return over / sum((x - mean_x) ** 2 for x in xs)


def fleet(found: dict[str, Any]) -> tuple[list[int], Lines]:
    """Costs by the number of nodes, of `bench.scale.store`."""
    rows = found["sizes"]
    lines = {name: [float(of(row)) for row in rows if _has(of, row)] for name, of in COSTS.items()}
    whole = {name: costs for name, costs in lines.items() if len(costs) == len(rows)}
    return [row["nodes"] for row in rows], whole


def _has(of: Callable[[dict[str, Any]], float], row: dict[str, Any]) -> bool:
    try:
        return of(row) > 0
    except KeyError:  # measured before there was such a row
        return False


def series(rows: list[dict[str, Any]], what: str) -> tuple[list[int], Lines]:
    """Costs of one series of `bench.scale.series`: the processors of store and caller together."""
    lines: Lines = {}
    for row in rows:
        for name, cost in row.items():
            if name != what:
                spent = cost["store_us"] + cost["own_us"]
                lines.setdefault(f"{name}, µs", []).append(float(spent))
    return [row[what] for row in rows], lines


def panel(title: str, sizes: Sequence[int], lines: Lines, top: int) -> list[str]:
    """One chart, both axes tenfold, its upper edge at `top`."""
    plot = Plot(
        _LEFT, top + _TOP, _WIDE - _LEFT - _RIGHT, _HIGH - _TOP - _BOTTOM,
        Scale(sizes[0], sizes[-1], tenfold=True),
        Scale.of(cost for costs in lines.values() for cost in costs),
    )  # fmt: skip
    parts = [
        words(_LEFT, top + 24, title, size=14),
        *plot.ruled(plot.y.tens),
        *plot.marked([(size, f"{size:,}") for size in sizes], below=20),
    ]
    for place, (name, costs) in enumerate(lines.items()):
        said = f"{name}: e = {exponent(sizes, costs):+.2f}"
        parts += [
            plot.line(list(zip(sizes, costs, strict=True)), ink(place)),
            words(plot.right + 12, plot.top + 20 + place * 20, said, colour=ink(place)),
        ]
    return parts


def drawn(found: dict[str, Any], more: dict[str, Any]) -> str:
    """The picture as SVG: costs by nodes, then each series."""
    charts = [(f"by nodes, in a Cluster ({found['when']})", *fleet(found))]
    for what in ("partitions", "gateways", "sweepers", "capabilities"):
        of = " of a node" if what == "capabilities" else ""
        charts.append((f"by {what}{of} ({more['when']})", *series(more[what], what)))
    parts = [words(_LEFT, 22, "Cost, both axes logarithmic; e: fitted exponent", size=15)]
    for place, (title, sizes, lines) in enumerate(charts):
        parts += panel(title, sizes, lines, 30 + place * _HIGH)
    return page(_WIDE, 30 + _HIGH * len(charts), parts)


def main() -> None:
    """Draws it."""
    store, more = (json.loads((LAST / f"{name}.json").read_text()) for name in ("store", "series"))
    PICTURE.write_text(drawn(store, more), encoding="utf-8")


if __name__ == "__main__":
    main()
