"""Small pictures: a screenshot with as many colours as it needs to look the same."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

DIRECTORY = Path(__file__).resolve().parents[2] / "docs" / "img" / "pages"
MOST_BYTES = 150_000
_COLOURS = (128, 64)


def keep(
    name: str, screenshot: bytes, directory: Path = DIRECTORY, most_bytes: int = MOST_BYTES
) -> Path:
    """Writes a picture with a palette. Raises ValueError if even few colours are too many bytes."""
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    for colours in _COLOURS:
        # Rare colours count as much as common ones: a status is often a small spot.
        small = picture.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        out = io.BytesIO()
        small.save(out, "PNG", optimize=True)
        if out.tell() <= most_bytes:
            directory.mkdir(parents=True, exist_ok=True)
            path = directory / f"{name}.png"
            path.write_bytes(out.getvalue())
            return path
    raise ValueError(f"{name} has {out.tell()} bytes with {_COLOURS[-1]} colours")
