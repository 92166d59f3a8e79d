"""A terminal for a program under test: it believes in it, the test reads what stands on it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import pyte

DEADLINE_S = 25.0


def _surroundings() -> dict[str, str]:
    """Our own environment, without the size and the looks of the terminal we run in."""
    ours = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    return {name: value for name, value in os.environ.items() if name not in ours}


class _Screen(pyte.Screen):
    """A screen with an alternate one beside it: leaving that finds the first as it was, empty."""

    def reset_mode(self, *modes: int, **more: bool) -> None:
        super().reset_mode(*modes, **more)
        if more.get("private") and _ALTERNATE in modes:
            self.reset()


_ALTERNATE = 1049


class Terminal:
    """A program on a pseudo-terminal of so many columns and rows; `with` ends it."""

    def __init__(
        self, argv: Sequence[str], columns: int, rows: int, environ: Mapping[str, str]
    ) -> None:
        self.columns = columns
        self.raw = b""
        self._screen = _Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._ours, theirs = pty.openpty()
        self._size(columns, rows)
        self.process = subprocess.Popen(
            argv,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=_surroundings() | {"TERM": "xterm-256color", **environ},
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, without the blanks at the ends of lines."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The whole screen."""
        return "\n".join(self.lines)

    def wait_for(self, wanted: str | Callable[[str], bool]) -> str:
        """The screen once it shows that; fails with the screen if it never does."""
        there = wanted if callable(wanted) else (lambda text: wanted in text)
        deadline = time.monotonic() + DEADLINE_S
        while not there(self.text):
            if time.monotonic() > deadline or not self._read():
                raise AssertionError(f"the screen never showed {wanted!r}:\n{self.text}")
        return self.text

    def wait_end(self) -> int:
        """The exit status; what was written last is on the screen."""
        deadline = time.monotonic() + DEADLINE_S
        while self._read() and time.monotonic() < deadline:
            pass
        return self.process.wait(timeout=DEADLINE_S)

    def send(self, keys: str) -> None:
        """As if somebody typed that."""
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """As if its window had been drawn to another size."""
        self._screen.resize(rows, columns)
        self._size(columns, rows)
        self.process.send_signal(signal.SIGWINCH)  # the kernel tells only a foreground group

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self) -> bool:
        """Takes in what was written; False once the program has closed its side."""
        if not select.select([self._ours], [], [], 0.2)[0]:
            return True
        data = b""
        with suppress(OSError):  # the way Linux says that nobody writes any more
            data = os.read(self._ours, 65_536)
        self.raw += data
        self._stream.feed(data)
        return bool(data)
