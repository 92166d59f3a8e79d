"""Files that another process reads while a test changes them."""

from __future__ import annotations

from pathlib import Path


def put(path: Path, text: str) -> None:
    """Writes a file anew, at once: a reader finds what was before or what is now, and never the
    empty file that stands between the two when it is written in place."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.replace(path)
