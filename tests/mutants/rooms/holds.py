"""Holds end, count once, and are nobody else's."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, contract, guards


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "registry/scripts/hold.lua",
        contract("holding", "guards"),
        ("status", "if r[1] ~= 'ready' or r[2]", "if r[2]"),
        ("leave", "~= 'ready' or r[2] or", "~= 'ready' or"),
        ("intent", " or r[2] or i[1] then", " or r[2] then"),
        ("TTL key", "if left <= 0 or left > timeout", "if left > timeout"),
        ("PTTL above the time-out", " or left > timeout then", " then"),
        ("digest", "if r[3] ~= ARGV[3] or", "if"),
        ("label stamp", " or (i[2] or '') ~= ARGV[4] then", " then"),
        ("capacity", "if load >= num(r[4]) then", "if false then"),
        ("a hold taken twice is one", "if expires > 0 then", "if false then"),
        (
            "holds do not stay for ever",
            "if redis.call('PTTL', KEYS[4]) < keep then",
            "if false then",
        ),
    )
    yield from guards(
        "registry/scripts/hold.lua",
        contract("holding"),
        ("a hold ends", "'ZADD', KEYS[4], int(expires),", "'ZADD', KEYS[4], '+inf',"),
    )
    yield from guards(
        "registry/scripts/unhold.lua",
        contract("holding", "guards"),
        ("a draining node is looked at", "== 'draining' then mark(", "== 'x' then mark("),
    )
    yield from guards(
        "registry/scripts/lib/holds.lua",
        contract("holding", "guards"),
        ("an ended hold counts until a report", "return math.min(now, reported_at)", "return now"),
    )
    yield from guards(
        "registry/scripts/begin.lua",
        contract("holding", "guards"),
        ("the same id for something else", "if r[1] and r[3] ~= ARGV[2] then", "if false then"),
        ("one asker at a time", "num(r[2]) > now then", "false then"),
        ("the answer given before", "if r[5] then", "if false then"),
        ("the former asker's plan", "return { 'yours', r[4] or '' }", "return { 'yours', '' }"),
    )
    yield from guards(
        "registry/scripts/settle.lua",
        contract("holding", "guards"),
        ("an overtaken asker", "if redis.call('HGET', key, 'by') ~= ARGV[1] then", "if false then"),
    )
    yield from guards(
        "registry/holding.py",
        contract("holding"),
        ("open holds only", "if hold.expires > number(reported)]", "]"),
    )
