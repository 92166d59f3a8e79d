"""URLs in messages, without what may be secret in them: user, password, query.

A URL that was mistyped, or that belongs to a proxy, holds secrets as one that can be read does: so
nothing is taken apart by the rules of URLs here, and in doubt more is hidden than has to be.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_URL = re.compile(r"([A-Za-z][\w+.-]*:/*)?(.*)", re.DOTALL)
_WORD = re.compile(r"[^\s'\"<>]+")


def masked(url: str) -> str:
    """One URL, well formed or not."""
    found = _URL.fullmatch(url)
    scheme, rest = (found[1] or "", found[2]) if found else ("", url)
    at, query = rest.rfind("@"), _first(rest, "?#")
    if -1 < query < at:  # one of the two belongs to a secret
        return f"{scheme}{HIDDEN}"
    place = rest if query < 0 else rest[: query + 1] + HIDDEN
    return scheme + (place if at < 0 else HIDDEN + place[at:])


def masked_in(text: str) -> str:
    """A sentence that may quote URLs."""
    return _WORD.sub(lambda word: masked(word[0]) if _suspect(word[0]) else word[0], text)


def _suspect(word: str) -> bool:
    return "//" in word or "@" in word or "?" in word[:-1]


def _first(text: str, marks: str) -> int:
    return min((at for at in map(text.find, marks) if at >= 0), default=-1)
