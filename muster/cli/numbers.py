"""The fleet in numbers. Pure: an answer in, something rich can draw out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from muster.cli import looks
from muster.cli.looks import Column, Fitting
from muster.cli.remote import clean
from muster.client import Fleet
from muster.client.answers import Tally

_BAR = 24
_SHOWN_MOST = 8
_STALE_MS = 5000


def fleet(found: Fleet, *, ascii_only: bool = False) -> RenderableType:
    """All of it."""
    parts: list[RenderableType] = [headline(found), states(found, ascii_only=ascii_only)]
    parts += [Text(warning, "bold red") for warning in warnings(found)]
    groups = (
        ("KIND", found.kinds),
        ("LANGUAGES", found.languages),
        ("GPU", found.gpus),
        ("PROGRAM", found.program_versions),
        ("PLATFORM", found.platforms),
    )
    tables = [_tallies(title, tallies) for title, tallies in groups if tallies]
    if tables:
        parts += [Text(""), Columns(tables, padding=(1, 4))]
    if found.sampled:
        note = f"\nThe tables count a sample of {found.examined} machines."
        parts.append(Text(note, looks.QUIET))
    return Group(*parts)


def headline(found: Fleet) -> Text:
    """How many there are and may be given work, and who looks after them."""
    text = Text.assemble((f"{found.total} machines", "bold"))
    text.append(f", {found.selectable} may be given work")
    watch = found.watch
    text.append(
        f"   gateways {found.gateways}, sweepers {found.sweepers}, "
        f"partitions watched {watch.watched} of {watch.partitions}",
        looks.QUIET,
    )
    return text


def states(found: Fleet, *, ascii_only: bool = False) -> Table:
    """A bar for each state."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    most = max([1, *found.status.values()])
    for status, count in found.status.items():
        colour = looks.MARKS.get(status, ("", "", "default"))[2]
        length = -(-count * _BAR // most)
        bar = Text(("#" if ascii_only else "█") * length, colour)
        table.add_row(looks.state(status, ascii_only=ascii_only), str(count), bar)
    return table


def warnings(found: Fleet) -> Iterator[str]:
    """What an operator should know at once."""
    watch = found.watch
    if found.sweepers == 0:
        yield "No sweeper runs: nobody becomes ready, and silence is not noticed."
    elif watch.watched < watch.partitions:
        missing = watch.partitions - watch.watched
        yield f"{missing} partitions are not watched just now."
    if found.mass_expiry is not None:
        seen = found.mass_expiry
        ago = looks.age(found.now - seen.at)
        yield f"{seen.lost} machines fell silent at once {ago} ago; {seen.living} are left."
    if found.brake is not None:
        left = looks.age(found.brake.until - found.now)
        waiting = found.brake.waiting
        yield (
            f"The brake is on for {left} more: {waiting} silent machines are not called offline "
            "yet. `muster release-brake` ends that."
        )


def _tallies(title: str, tallies: Mapping[str, Tally]) -> RenderableType:
    ranked = sorted(tallies.items(), key=lambda item: (-item[1].nodes, item[0]))
    rows = [
        (clean(name), str(tally.ready), str(tally.nodes)) for name, tally in ranked[:_SHOWN_MOST]
    ]
    if len(ranked) > _SHOWN_MOST:
        rows.append((f"and {len(ranked) - _SHOWN_MOST} more", "", ""))
    columns = (Column(title), Column("READY", right=True), Column("ALL", right=True))
    return Fitting(columns, rows)
