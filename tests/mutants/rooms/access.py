"""Who may use /v1, how often, how much."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, guards, unit


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "gateway/access.py",
        unit("access"),
        ("tokens, once there are any", "if self.enforced:\n            return", "if False: return"),
        ("closed elsewhere", "if not self._open and not self._on_loopback:", "if False:"),
        ("pages of other sites", "_refuse_other_origins(headers)\n        if", "if"),
        ("names made to point here", "if not is_loopback(name if", "if None and (name if"),
        (
            "proxies",
            "passed_on or (client and not is_loopback(client[0]))",
            "client and not is_loopback(client[0])",
        ),
        ("other machines", "(client and not is_loopback(client[0]))", "None"),
        ("roles", "if not principal.role.covers(role):", "if False:"),
        ("not named is for admins", "    return Role.ADMIN\n", "    return Role.READ\n"),
    )
    yield from guards(
        "gateway/guard.py",
        unit("guard"),
        ("roles", "demand(principal, role_needed(", "repr((principal, "),
        ("how often", "self._pace((principal.name, address))", "pass"),
        ("guessing", "self._pace((None, address))", "pass"),
        ("how much, announced", "and int(value) > most:", "and False:"),
        ("how much, counted", "if got > most:", "if False:"),
        ("how long", "asyncio.timeout(self._timeout_s)", "asyncio.timeout(None)"),
        ("whose time-out", "if not deadline.expired():", "if False:"),
    )
    yield from guards(
        "gateway/reloading.py",
        unit("reloading"),
        ("no sooner than in a second", ">= EVERY_S", ">= 0"),
    )
    yield from guards(
        "muster/wire/bearer.py",
        unit("bearer"),
        ("words", "or _bits(token) < _BITS_LEAST", ""),
        ("repetitions", "or len(set(pairwise(token))) < _PAIRS_LEAST", ""),
        ("whole tokens", "if not _MADE_HERE.fullmatch(token):", "if False:"),
        ("one token, one entry", "if entry.hash in seen:", "if False:"),
        ("names of nobody", "if name in NAMES_OF_NOBODY:", "if False:"),
    )
