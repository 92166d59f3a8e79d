"""What a full run measured, kept in `docs/pages-measured.txt`: a block of lines by its name."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "docs" / "pages-measured.txt"


def machine() -> str:
    """Where it was measured, and when."""
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{when}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs,"
        f" load {load} (1, 5, 15 min)"
    )


def keep(name: str, figures: Mapping[str, str], path: Path = FILE) -> None:
    """Puts a block in the place of the one with its name, or after all others."""
    blocks = path.read_text("utf-8").split("\n\n") if path.exists() else []
    width = max(map(len, figures)) + 2
    lines = [name, f"  {machine()}", *(f"  {k:<{width}}{v}" for k, v in figures.items())]
    new = "\n".join(lines)
    kept = [block.strip("\n") for block in blocks if block.strip()]
    places = [i for i, block in enumerate(kept) if block.splitlines()[0] == name]
    if places:
        kept[places[0]] = new
    else:
        kept.append(new)
    path.write_text("\n\n".join(kept) + "\n", "utf-8")
