"""The files that the pages are made of, and how they go out: the same bytes from every gateway of
this version, known by what is in them, and allowed to load nothing from anywhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from gateway.pages import advice

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing inline, nothing foreign. Workers obey the policy their own file came with, so every file
has it."""

SHELL = "index.html"
"""The one document; which page it shows is told by its path."""

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class File:
    """One file's bytes, and the headers it goes out with."""

    content: bytes
    headers: Mapping[str, str]

    @property
    def etag(self) -> str:
        """Changes with the content alone, so any gateway may say that a copy is still good."""
        return self.headers["ETag"]

    def known_to(self, if_none_match: str) -> bool:
        """Whether the reader has it already (RFC 9110, section 13.1.2: the comparison is weak)."""
        tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
        return "*" in tags or self.etag in tags


@cache
def everything() -> Mapping[str, File]:
    """By name, as `index.html` or `main.js`."""
    found = dict(_found(files("gateway.pages") / "static"))
    found[advice.NAME] = _file(advice.script(), _TYPES["js"])
    return found


def _found(directory: Traversable) -> Iterator[tuple[str, File]]:
    for entry in directory.iterdir():
        type_ = _TYPES.get(entry.name.rpartition(".")[2])
        if type_ is not None:
            yield entry.name, _file(entry.read_bytes(), type_)


def _file(content: bytes, type_: str) -> File:
    tag = hashlib.sha256(content).hexdigest()[:32]
    return File(
        content,
        {
            "Content-Type": type_,
            "ETag": f'"{tag}"',
            # Kept, and asked about each time: a page opened after an upgrade has its files.
            "Cache-Control": "no-cache",
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        },
    )
