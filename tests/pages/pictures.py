"""Small pictures: a screenshot with as many colours as it needs to look the same."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

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
        small = picture.quantize(palette=_palette(picture, colours), dither=Image.Dither.NONE)
        out = io.BytesIO()
        small.save(out, "PNG", optimize=True)
        if out.tell() <= most_bytes:
            directory.mkdir(parents=True, exist_ok=True)
            path = directory / f"{name}.png"
            path.write_bytes(out.getvalue())
            return path
    raise ValueError(f"{name} has {out.tell()} bytes with {_COLOURS[-1]} colours")


def _palette(picture: Image.Image, colours: int) -> Image.Image:
    """The commonest colours as they are, such as the ground; the others so that rare ones count as
    much as common ones: a status is often a small spot."""
    few = colours // 4
    counted: Any = picture.getcolors(picture.width * picture.height)
    common = [colour for _, colour in sorted(counted, key=lambda one: one[0], reverse=True)[:few]]
    rest = picture.quantize(colours - few, Image.Quantize.MAXCOVERAGE).getpalette() or []
    made = Image.new("P", (1, 1))
    made.putpalette([*(part for colour in common for part in colour), *rest[: 3 * (colours - few)]])
    return made
