"""Time that stands still until a step moves it: the world's own, and that of the store."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from registry.clock import StoreClock

_BEGAN_MS = 1_800_000_000_000


class Clock:
    """`now` is the world's own time (ms), in which everybody lives but the store; it never steps.
    Where `file` is given, the store reads its time there, by libfaketime; else it is fakeredis."""

    def __init__(self, file: Path | None = None) -> None:
        self.now = 0
        self._ahead = _BEGAN_MS
        self._stepped_at = -1
        self._file = file
        self._write()

    @property
    def store_now(self) -> int:
        """What the store's clock shows, ms."""
        return self.now + self._ahead

    def passes(self, ms: int) -> None:
        """Time passes for everybody."""
        self.now += ms
        self._write()

    def steps(self, ms: int) -> None:
        """The store's clock steps, forwards or back; no time passes."""
        self._ahead += ms
        self._stepped_at = self.now
        self._write()

    def stepped_since(self, store_at: int) -> bool:
        """Whether the store's clock stepped since it showed an instant."""
        at = store_at - self._ahead  # of the future, where it stepped back
        return at > self.now or at <= self._stepped_at

    def begins_anew(self) -> None:
        """Time begins again, so that every run is as the first."""
        self.now, self._ahead, self._stepped_at = 0, _BEGAN_MS, -1
        self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        s, ms = divmod(self.store_now, 1000)
        # Half a millisecond on, lest a fraction that is rounded down shows the one before.
        stamp = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(s))}.{ms:03d}500\n"
        new = self._file.with_suffix(".new")
        new.write_text(stamp)
        new.replace(self._file)

    @contextmanager
    def of_fakeredis(self) -> Iterator[None]:
        """Makes fakeredis live by this clock."""
        shown = SimpleNamespace(time=lambda: (self.store_now + 0.5) / 1000)
        modules = [
            module
            for name, module in sys.modules.items()
            if name.startswith("fakeredis") and getattr(module, "time", None) is time
        ]
        for module in modules:
            vars(module)["time"] = shown
        try:
            yield
        finally:
            for module in modules:
                vars(module)["time"] = time


def faketime(file: Path, library: Path) -> dict[str, str]:
    """What makes a process read its time in a file, each time anew."""
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "TZ": "UTC",
    }


def estimating(clock: Clock) -> StoreClock:
    """A process's estimate of the store's clock, made as it is always made, by this time."""
    made = StoreClock()
    made.monotonic = lambda: clock.now / 1000  # type: ignore[method-assign]
    return made
