"""API tokens: made, hashed, and written down as one line each.

A token is shown once, when it is made; what is kept is its SHA-256. A plain hash is enough because
a token is as random as a key: nobody can try 2^256 of them. It would not be enough for a word a
person chose, so `hash_token` refuses those.

    name:role:sha256:<64 hex digits>[:owner]

is one entry, a line of a file (blank lines and lines that begin with # are passed over) or a part
of a comma-separated setting. Errors name line and field and never repeat a value, as what stands in
the wrong place may be a token. Pure but for drawing random numbers.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import string
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

PREFIX = "mst_"
FORM = "name:role:sha256:<64 hex digits>[:owner]"
NAME_BYTES_MOST = 64
OWNER_BYTES_MOST = 256  # as a label's value
NAMES_OF_NOBODY = ("local", "anyone")  # who asks without a token is called so

_ALPHABET = string.digits + string.ascii_letters
_LENGTH = 43  # of 62 letters: 256 bits
_MADE_HERE = re.compile(rf"{PREFIX}[{_ALPHABET}]{{{_LENGTH}}}")
_IN_A_HEADER = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750's b64token
_CHARACTERS_LEAST = 32
_BITS_LEAST = 96
_PAIRS_LEAST = 20
_HEX = re.compile(r"[0-9a-f]{64}")


class Role(Enum):
    """What a token's holder may do. An admin may all that a reader may."""

    READ = "read"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Whether who has this role may do what needs the other."""
        return self is Role.ADMIN or needed is Role.READ


class WeakTokenError(ValueError):
    """A token that somebody could guess, or that can't be sent."""


class EntryError(ValueError):
    """An entry can't be read. `where` is its line, or its place in a list."""

    def __init__(self, where: str, field: str, expected: str) -> None:
        self.where = where
        self.field = field
        self.expected = expected
        super().__init__(f"{where}: {field}: expected {expected}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One token as it is kept. `owner` limits it to machines with that label."""

    name: str
    role: Role
    hash: str
    owner: str | None = None

    def line(self) -> str:
        """The entry as `entries` reads it."""
        parts = [self.name, self.role.value, self.hash]
        return ":".join(parts if self.owner is None else [*parts, self.owner])


def new_token() -> str:
    """A token nobody has seen: 256 random bits, safe in headers, shells and double-clicks."""
    return PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def digest(token: str) -> str:
    """The form in which a token is kept and compared, whatever the token is."""
    return "sha256:" + hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def hash_token(token: str) -> str:
    """`digest` of a token that is good enough. Raises WeakTokenError with what to do.

    The judgement of foreign tokens is a guess: it catches words, repetitions and what is short, and
    can't prove that anything is random.
    """
    if token.startswith(PREFIX):
        if not _MADE_HERE.fullmatch(token):
            raise WeakTokenError(
                f"this is not a whole token: {PREFIX} and {_LENGTH} letters or digits were expected"
            )
        return digest(token)
    if not _IN_A_HEADER.fullmatch(token):
        raise WeakTokenError(
            "a token may hold only letters, digits and . _ ~ + / - (and = at the end), "
            "or it can't be sent in a header"
        )
    if (
        len(token) < _CHARACTERS_LEAST
        or _bits(token) < _BITS_LEAST
        or len(set(pairwise(token))) < _PAIRS_LEAST
    ):
        raise WeakTokenError(
            f"this could be guessed: a token needs {_CHARACTERS_LEAST} random characters or more; "
            "`muster token new` makes one"
        )
    return digest(token)


def entries(lines: Iterable[str], unit: str = "line") -> list[Entry]:
    """Every entry, in order. Raises EntryError at the first that can't be read.

    `unit` is what an error calls a line. One name may have several tokens, so that a new one can be
    handed out before the old one goes.
    """
    found: list[Entry] = []
    seen: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        where = f"{unit} {number}"
        entry = _entry(text, where)
        if entry.hash in seen:
            raise EntryError(where, "hash", f"one of its own, but {seen[entry.hash]} has the same")
        seen[entry.hash] = where
        found.append(entry)
    return found


def check_name(name: str, where: str) -> str:
    """The name if a token may be called so; raises EntryError otherwise."""
    if not _is_word(name, NAME_BYTES_MOST) or ":" in name or name.startswith("#"):
        expected = f"1 to {NAME_BYTES_MOST} bytes without spaces, commas, colons or a leading #"
        raise EntryError(where, "name", expected)
    if name in NAMES_OF_NOBODY:
        taken = " and ".join(NAMES_OF_NOBODY)
        raise EntryError(where, "name", f"another: who asks without a token is called {taken}")
    return name


def check_owner(owner: str, where: str) -> str:
    """The owner if a token may be limited to it; raises EntryError otherwise."""
    if not _is_word(owner, OWNER_BYTES_MOST):
        expected = f"1 to {OWNER_BYTES_MOST} bytes without spaces and commas, or no colon before it"
        raise EntryError(where, "owner", expected)
    return owner


def _entry(text: str, where: str) -> Entry:
    parts = text.split(":", 4)
    name = check_name(parts[0], where)
    roles = [role for role in Role if parts[1:2] == [role.value]]
    if not roles:
        raise EntryError(
            where, "role", " or ".join(role.value for role in Role) + f", as in {FORM}"
        )
    algorithm, value = parts[2] if len(parts) > 2 else "", parts[3] if len(parts) > 3 else ""
    if algorithm != "sha256" or not _HEX.fullmatch(value):
        raise EntryError(
            where, "hash", "sha256: and 64 lower-case hex digits, which `muster token hash` prints"
        )
    owner = check_owner(parts[4], where) if len(parts) > 4 else None
    return Entry(name, roles[0], f"{algorithm}:{value}", owner)


def _is_word(text: str, bytes_most: int) -> bool:
    fits = 0 < len(text.encode("utf-8", "replace")) <= bytes_most
    return fits and text.isprintable() and not set(" ,") & set(text)


def _bits(text: str) -> float:
    """How many bits it would hold if each character were drawn as often as it occurs."""
    counts = Counter(text).values()
    return sum(count * math.log2(len(text) / count) for count in counts)
