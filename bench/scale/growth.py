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
_INKS = (
    "#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#16a085", "#7f8c8d", "#34495e",
    "#a04000", "#5d6d7e", "#b03a8b",
)  # fmt: skip


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
    """One chart, both axes logarithmic, its upper edge at `top`."""
    every = [math.log10(cost) for costs in lines.values() for cost in costs]
    low, high = math.floor(min(every)), math.ceil(max(every))
    left, right = math.log10(sizes[0]), math.log10(sizes[-1])

    def x(size: float) -> float:
        return _LEFT + (math.log10(size) - left) / (right - left) * (_WIDE - _LEFT - _RIGHT)

    def y(cost: float) -> float:
        part = (math.log10(cost) - low) / (high - low)
        return top + _HIGH - _BOTTOM - part * (_HIGH - _TOP - _BOTTOM)

    parts = [f'<text x="{_LEFT}" y="{top + 24}" font-size="14">{title}</text>']
    for power in range(low, high + 1):
        at = y(10.0**power)
        parts.append(
            f'<path d="M{_LEFT} {at:.0f}H{_WIDE - _RIGHT}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 6}" y="{at + 4:.0f}" text-anchor="end">{10**power:g}</text>'
        )
    parts += [
        f'<text x="{x(size):.0f}" y="{top + _HIGH - 20}" text-anchor="middle">{size:,}</text>'
        for size in sizes
    ]
    for place, (name, costs) in enumerate(lines.items()):
        ink = _INKS[place % len(_INKS)]
        points = " ".join(f"{x(s):.1f},{y(c):.1f}" for s, c in zip(sizes, costs, strict=True))
        slope = exponent(sizes, costs)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="2"/>'
            f'<text x="{_WIDE - _RIGHT + 12}" y="{top + _TOP + 20 + place * 20}" fill="{ink}">'
            f"{name}: e = {slope:+.2f}</text>"
        )
    return parts


def drawn(found: dict[str, Any], more: dict[str, Any]) -> str:
    """The picture as SVG: costs by nodes, then each series."""
    charts = [(f"by nodes, in a Cluster ({found['when']})", *fleet(found))]
    for what in ("partitions", "gateways", "sweepers", "capabilities"):
        of = " of a node" if what == "capabilities" else ""
        charts.append((f"by {what}{of} ({more['when']})", *series(more[what], what)))
    high = 30 + _HIGH * len(charts)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {high}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{_WIDE}" height="{high}" fill="#fff"/>',
        (
            f'<text x="{_LEFT}" y="22" font-size="15">Cost, both axes logarithmic; '
            "e: fitted exponent</text>"
        ),
    ]
    for place, (title, sizes, lines) in enumerate(charts):
        parts += panel(title, sizes, lines, 30 + place * _HIGH)
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Draws it."""
    store, more = (json.loads((LAST / f"{name}.json").read_text()) for name in ("store", "series"))
    PICTURE.write_text(drawn(store, more), encoding="utf-8")


if __name__ == "__main__":
    main()
