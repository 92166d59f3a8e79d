"""Draws the pictures of the agent's panel in docs/: `python -m tests.support.pictures`.

The same code draws them as draws the panel; the moment shown is always the same, so a picture
changes only when the panel does.
"""

from __future__ import annotations

import html
import io
import os
import re
import time
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.terminal_theme import SVG_EXPORT_THEME

from muster.agent import panel
from muster.wire.errors import Locale
from tests.support import watched

DOCS = Path(__file__).resolve().parents[2] / "docs"
NOW = 1_735_689_600.0
COLUMNS = 80
_CELL_WIDTH = 12.2  # the export's own
_SINCE_MS = 12 * 60_000
_FONTS = '"Fira Code", Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans Mono CJK SC", monospace'


def picture(locale: Locale) -> str:
    """A working node with one card that fell off the bus, as SVG."""
    status = watched.working()
    status.local_url = "http://127.0.0.1:7070"
    state = status.as_dict(locale)
    at = NOW * 1000
    state |= {"since": at - _SINCE_MS, "lastHeartbeat": at - 3_000, "nextHeartbeatInMs": 11_500}
    for event, age_ms in zip(
        reversed(state["recent"]), (720_000, 765_000, 765_100, 765_900), strict=True
    ):
        event["at"] = at - age_ms
    shown = panel.render(state, locale, now=NOW)
    return as_picture(shown, "muster agent run", f"panel-{locale}", COLUMNS)


def as_picture(shown: RenderableType, title: str, unique_id: str, columns: int) -> str:
    """A terminal of so many columns that shows this, as SVG."""
    console = Console(width=columns, record=True, file=io.StringIO(), force_terminal=True)
    console.print(shown)
    console.print()  # the export's frame cuts into the last line
    svg = console.export_svg(title=title, theme=SVG_EXPORT_THEME, unique_id=unique_id)
    # Pictures load nothing from elsewhere: the readers' own fonts will do.
    svg = re.sub(r' textLength="[\d.]+"([^>]*)>([^<]*)<', _as_wide_as_its_cells, svg)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family: Fira Code, ?monospace", f"font-family: {_FONTS}", svg)


def _as_wide_as_its_cells(found: re.Match[str]) -> str:
    """A Chinese character takes two cells; the export counts characters."""
    width = cell_len(html.unescape(found[2])) * _CELL_WIDTH
    return f' textLength="{width:.1f}"{found[1]}>{found[2]}<'


def main() -> None:
    """Writes both languages' pictures."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    locales: tuple[Locale, ...] = ("zh", "en")
    for locale in locales:
        (DOCS / f"agent-panel.{locale}.svg").write_text(picture(locale), "utf-8")


if __name__ == "__main__":
    main()
