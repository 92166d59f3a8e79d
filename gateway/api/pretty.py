"""JSON for people: what fits on a line stays on one, and what is deep inside is shortened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

WIDTH = 88
_DEPTH = 4  # from here on, objects with many members are shortened
_MEMBERS = 6
_SHOWN = 3


def pretty(value: Any, width: int = WIDTH) -> str:
    """The value as text; what is left out is shown as `…`."""
    return "\n".join(_lines(_shortened(value, 0), "", "", "", width))


def _lines(value: Any, indent: str, head: str, tail: str, width: int) -> Iterator[str]:
    line = f"{indent}{head}{json.dumps(value, ensure_ascii=False)}{tail}"
    parts: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        parts = [
            (f"{json.dumps(name, ensure_ascii=False)}: ", part) for name, part in value.items()
        ]
    elif isinstance(value, list):
        parts = [("", part) for part in value]
    if len(line) <= width or not parts:
        yield line
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield f"{indent}{head}{opening}"
    for place, (name, part) in enumerate(parts):
        comma = "," if place + 1 < len(parts) else ""
        yield from _lines(part, f"{indent}  ", name, comma, width)
    yield f"{indent}{closing}{tail}"


def _shortened(value: Any, depth: int) -> Any:
    if isinstance(value, list):
        return [_shortened(part, depth + 1) for part in value]
    if not isinstance(value, dict):
        return value
    names = list(value)
    if depth >= _DEPTH and len(names) > _MEMBERS:
        return {name: _shortened(value[name], depth + 1) for name in names[:_SHOWN]} | {"…": "…"}
    return {name: _shortened(part, depth + 1) for name, part in value.items()}
