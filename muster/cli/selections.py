"""What a selection found, or why it found nobody. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from muster.cli import looks
from muster.cli.looks import Column, Fitting
from muster.cli.remote import clean
from muster.cli.telling import lack
from muster.client import Chosen, NoAvailableNodeError

_LACKS_MOST = 3


def table(found: Sequence[Chosen], now: int) -> Fitting:
    """The machines; holds, where there are any. `now` is this machine's clock, ms."""
    columns = [
        Column("NODE"),
        Column("LOAD", right=True),
        Column("REPORT", rank=2, right=True),
        Column("GATEWAY", rank=3),
    ]
    if any(chosen.hold for chosen in found):
        columns += [Column("HOLD"), Column("UNTIL", rank=1)]
    return Fitting(columns, [_row(chosen, len(columns), now) for chosen in found])


def missed(error: NoAvailableNodeError) -> RenderableType:
    """Why nobody can, who nearly can, what to do next."""
    document = error.document
    looked = f"{document.get('examined', 0)} of {document.get('total', 0)}"
    parts: list[RenderableType] = [Text(f"{error.title}; {looked} machines were looked at")]
    reasons = sorted(error.reasons.items(), key=lambda reason: -reason[1])
    if reasons:
        rows = [(clean(reason), str(count)) for reason, count in reasons]
        parts += [Text("\nwhat they lack first", looks.QUIET)]
        columns = (Column(""), Column("", right=True))
        parts.append(Fitting(columns, rows, headers=False, indent=2))
    near = error.nearest
    if near:
        parts.append(Text("\nwho lacks least", looks.QUIET))
        for node in near:
            parts.append(
                Text.assemble("  ", (clean(node.node_id), "bold"), "  ", looks.state(node.status))
            )
            parts += [Text(f"      {lack(one)}") for one in node.lacks[:_LACKS_MOST]]
            if len(node.lacks) > _LACKS_MOST:
                parts.append(Text(f"      and {len(node.lacks) - _LACKS_MOST} more"))
    hint = f"; `muster explain {clean(near[0].node_id)} …` tells more of one" if near else ""
    parts.append(Text(f"\nNext: {error.next_step}{hint}."))
    return Group(*parts)


def _row(chosen: Chosen, length: int, now: int) -> tuple[Text | str, ...]:
    hold = chosen.hold
    whole = (
        Text(clean(chosen.node_id), "bold"),
        f"{chosen.load}/{chosen.capacity}",
        f"{chosen.age_ms / 1000:.1f}s",
        clean(chosen.gateway),
        clean(hold.id) if hold else "",
        looks.clock(hold.expires, now) if hold else "",
    )
    return whole[:length]
