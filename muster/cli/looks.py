"""How things look that several screens show: states, ages, cards, tables that fit.

Colour never says anything alone: each state has a mark and a word of its own. Whatever a machine
or another person wrote is shown without what would move a terminal's cursor.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.text import Text

from muster.cli.remote import clean
from muster.client import Gpu, Node

WIDE = 10_000
"""What is not read on a terminal is not cut to the width of one."""

MARKS: Mapping[str, tuple[str, str, str]] = {
    "ready": ("●", "*", "green"),
    "registering": ("◐", "~", "yellow"),
    "degraded": ("▲", "!", "red"),
    "draining": ("▼", "v", "blue"),
    "offline": ("○", "o", "red"),
}
"""State → mark, mark where only ASCII can be shown, colour."""

QUIET = "dim"
SIMULATED = "SIMULATED"
_PADDING = 2


def console(*, stderr: bool = False) -> Console:
    """Standard output, or error."""
    found = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not found.is_terminal:
        found.width = WIDE
    return found


def show(what: RenderableType, console: Console) -> None:
    """Prints it; where it goes elsewhere than to a terminal, without blanks at the ends of
    lines."""
    if console.is_terminal:
        console.print(what)
        return
    with console.capture() as captured:
        console.print(what)
    for line in captured.get().splitlines():
        console.file.write(line.rstrip() + "\n")


def state(status: str, *, ascii_only: bool = False) -> Text:
    """`● ready`"""
    mark, plain, colour = MARKS.get(status, ("?", "?", "default"))
    return Text(f"{plain if ascii_only else mark} {clean(status)}", colour)


def name(node: Node) -> Text:
    """The id, whole, as it is copied; a node that only pretends is called so."""
    text = Text(clean(node.node_id), "bold")
    if node.simulated:
        text.append(" ").append(f" {SIMULATED} ", "black on yellow")
    return text


def cards(gpus: Sequence[Gpu]) -> str:
    """`2× L40S 48G, RTX 4090 24G`"""
    counts: dict[Gpu, int] = {}
    for gpu in gpus:
        counts[gpu] = counts.get(gpu, 0) + 1
    return ", ".join(
        f"{f'{count}× ' if count > 1 else ''}{clean(gpu.name)} {gpu.memory_gb:g}G"
        for gpu, count in counts.items()
    )


def age(ms: int) -> str:
    """How long that is, in the unit that tells enough: `85s`, `12m`, `30h`, `12d`."""
    seconds = max(0, ms) // 1000
    for unit, size, most in (("s", 1, 120), ("m", 60, 120), ("h", 3600, 48)):
        if seconds < size * most:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86400}d"


def clock(at_ms: int, now_ms: int) -> str:
    """`14:03:59`, with the date if that was another day."""
    at = time.localtime(at_ms / 1000)
    same = time.localtime(now_ms / 1000)[:3] == at[:3]
    return time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M:%S", at)


def count(number: int, noun: str) -> str:
    """`1 job`, `2 jobs`"""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def here_ms() -> int:
    """This machine's clock, for want of a better one."""
    return time.time_ns() // 1_000_000


def pairs(values: Mapping[str, str]) -> str:
    """`region=eu tier=gold`"""
    return " ".join(f"{clean(key)}={clean(value)}" for key, value in sorted(values.items()))


@dataclass(frozen=True, slots=True)
class Column:
    """A column: those of the highest `rank` go first where the width does not suffice; rank 0
    stays. What is wider than `most` cells is cut on a terminal; `right` is where numbers stand."""

    title: str
    rank: int = 0
    right: bool = False
    most: int = WIDE


class Fitting:
    """A table with as many columns as fit. The first cell of a row is never cut, only folded: it is
    what people copy."""

    def __init__(
        self,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Text | str]],
        *,
        headers: bool = True,
        indent: int = 0,
    ) -> None:
        self._columns = columns
        self._rows = rows
        self._headers = headers
        self._indent = indent

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._lines(options.max_width)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = max((line.cell_len for line in self._lines(options.max_width)), default=1)
        return Measurement(min(width, options.max_width), min(width, options.max_width))

    def _lines(self, width: int) -> Iterator[Text]:
        widths = self._widths(width)
        shown = self._fit(widths, width - self._indent)
        titles = [Text(column.title, QUIET) for column in self._columns]
        for row in [titles, *self._rows] if self._headers else self._rows:
            line = Text(" " * self._indent)
            for place in shown:
                line.append(self._cell(row[place], self._columns[place], widths[place]))
                line.append(" " * _PADDING)
            line.rstrip()
            if self._indent + _width(row[shown[0]]) < width:
                line.truncate(width, overflow="ellipsis")
            yield line

    def _cell(self, given: Text | str, column: Column, width: int) -> Text:
        cell = given.copy() if isinstance(given, Text) else Text(given)
        cell.truncate(width, overflow="ellipsis")
        cell.pad_left(width - cell.cell_len) if column.right else cell.pad_right(
            width - cell.cell_len
        )
        return cell

    def _widths(self, width: int) -> list[int]:
        """What each column would like to have."""
        return [
            min(
                column.most if width < WIDE else WIDE,
                max([cell_len(column.title), *(_width(row[place]) for row in self._rows)]),
            )
            for place, column in enumerate(self._columns)
        ]

    def _fit(self, widths: Sequence[int], width: int) -> list[int]:
        """The places of the columns that are shown."""
        shown = list(range(len(self._columns)))
        for place in sorted(shown, key=lambda place: -self._columns[place].rank):
            needed = sum(widths[at] + _PADDING for at in shown) - _PADDING
            if needed <= width or not self._columns[place].rank:
                break
            shown.remove(place)
        return shown


def _width(cell: Text | str) -> int:
    return cell.cell_len if isinstance(cell, Text) else cell_len(cell)
