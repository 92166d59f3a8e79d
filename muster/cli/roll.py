"""The table of nodes: rows in, something rich can draw out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text

from muster.cli import looks
from muster.cli.looks import Column, Fitting
from muster.cli.remote import clean
from muster.client import Node

_COLUMNS = (
    Column("NODE"),
    Column("STATUS"),
    Column("FOR", right=True),
    Column("LOAD", rank=1, right=True),
    Column("WHY", rank=2, most=40),
    Column("GPUS", rank=3, most=40),
    Column("BEAT", rank=4, right=True),
    Column("LABELS", rank=6, most=48),
    Column("PROGRAM", rank=7),
    Column("PLATFORM", rank=8),
    Column("GATEWAY", rank=9),
)


def table(nodes: Sequence[Node], now: int, *, ascii_only: bool = False) -> Fitting:
    """One line a node, as many columns as fit. `now` is the store's clock, ms."""
    return Fitting(_COLUMNS, [_row(node, now, ascii_only=ascii_only) for node in nodes])


def summary(nodes: Iterable[Node]) -> str:
    """`6 nodes: 4 ready, 1 draining, 1 offline`"""
    counts = dict.fromkeys(looks.MARKS, 0)
    for node in nodes:
        counts[node.status] = counts.get(node.status, 0) + 1
    parts = ", ".join(f"{count} {clean(status)}" for status, count in counts.items() if count)
    return looks.count(sum(counts.values()), "node") + (f": {parts}" if parts else "")


def why(node: Node) -> Text:
    """Why it is so, and what else keeps work away."""
    text = Text(clean(node.reason))
    if node.operator is not None and node.operator.why:
        text.append(f": {clean(node.operator.why)}")
    if node.status != "offline" and not node.live:
        text.append(" · late", "red")
    if not node.public:
        text.append(" · private", looks.QUIET)
    return text


def _row(node: Node, now: int, *, ascii_only: bool) -> tuple[Text | str, ...]:
    return (
        looks.name(node),
        looks.state(node.status, ascii_only=ascii_only),
        looks.age(now - node.since),
        f"{node.load}/{node.capacity}",
        why(node),
        looks.cards(node.gpus),
        looks.age(now - node.last_heartbeat),
        looks.pairs(node.labels),
        clean(node.program_version or ""),
        clean(node.platform or ""),
        clean(node.gateway),
    )
