"""Inputs that are kept: a folder for each target, a file for each input."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

PLACE = Path(__file__).with_name("corpus")


def inputs(target: str) -> list[tuple[str, bytes]]:
    """What is kept for a target, by name."""
    return [(path.name, path.read_bytes()) for path in sorted((PLACE / target).iterdir())]


def keep(target: str, data: bytes, why: str) -> Path:
    """Keeps one under a name that says why and is its own."""
    path = PLACE / target / f"{why}-{sha256(data).hexdigest()[:10]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
