"""Loads `scripts/*.lua`: one verb a file, with shared pieces pulled in by `--@include name`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_INCLUDE = re.compile(r"^--@include (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text and the SHA-1 the store knows it by."""

    name: str
    text: str
    sha: str


def names() -> list[str]:
    """Every script's name."""
    folder = files("registry") / "scripts"
    found = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(".lua") for name in found if name.endswith(".lua"))


def _included(match: re.Match[str]) -> str:
    return (files("registry") / "scripts" / "lib" / f"{match[1]}.lua").read_text("utf-8")


@cache
def load(name: str, shebang: bool = True) -> Script:
    """The script `name`. Without `shebang` its first line goes, for stores that don't know it."""
    text = (files("registry") / "scripts" / f"{name}.lua").read_text("utf-8")
    text = _INCLUDE.sub(_included, text)
    if not shebang:
        text = text.split("\n", 1)[1]
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
