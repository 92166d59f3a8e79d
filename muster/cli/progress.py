"""A line on a terminal that shows, while something takes long, that it goes on.

It is drawn beside what the command prints: on standard error, and only if that is a terminal.
Whoever prints while it may be drawn does so by `say`, so that neither tears the other.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer

QUIET_FOR_S = 1.0
"""What takes longer shows that it goes on."""

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAME_S = 0.1
_HIDE = "\r\x1b[2K"


class Progress:
    """The line, shown in a `with` block once that takes long. `text` may change meanwhile."""

    def __init__(self, text: str = "Waiting for an answer …") -> None:
        self.text = text
        self._drawn = False
        self._lock = threading.Lock()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows it for the length of a block."""
        if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            yield
            return
        ended = threading.Event()
        drawing = threading.Thread(target=self._draw, args=(ended,), daemon=True)
        drawing.start()
        try:
            yield
        finally:
            ended.set()
            drawing.join()
            with self._lock:
                self._hide()

    def say(self, line: str, *, err: bool = False) -> None:
        """Prints a line on standard output, or on standard error."""
        with self._lock:
            self._hide()
            typer.echo(line, err=err)

    def _draw(self, ended: threading.Event) -> None:
        if ended.wait(QUIET_FOR_S):
            return
        while not ended.wait(_FRAME_S):
            with self._lock:
                self._hide()
                sys.stderr.write(self._line())
                sys.stderr.flush()
                self._drawn = True

    def _line(self) -> str:
        """As much as fits into one line: what wraps can't be taken back."""
        from rich.cells import set_cell_size

        frame = _FRAMES[int(time.monotonic() / _FRAME_S) % len(_FRAMES)]
        if not (sys.stderr.encoding or "").lower().startswith("utf"):
            frame = "-"
        return set_cell_size(f"{frame} {self.text}", _columns() - 1).rstrip()

    def _hide(self) -> None:
        if self._drawn:
            sys.stderr.write(_HIDE)
            sys.stderr.flush()
            self._drawn = False


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
