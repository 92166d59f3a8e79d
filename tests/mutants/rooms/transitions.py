"""A transition is committed only on the facts it was judged by."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, contract, guards


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "registry/scripts/transition.lua",
        contract("committing", "guards"),
        ("sid", "if r[1] ~= sid then", "if false then"),
        ("version", "if r[2] ~= ARGV[3] then", "if false then"),
        (
            "intent",
            "if (redis.call('HGET', KEYS[2], 'stamp') or '') ~= ARGV[5] then",
            "if false then",
        ),
        ("leave", "if (r[4] or '') ~= ARGV[6] then", "if false then"),
        ("digest", "if (r[5] or '') ~= ARGV[7] then", "if false then"),
        ("window", "if (r[6] or '') ~= ARGV[8] then", "if false then"),
        ("a stale node is marked", "if r[1] then mark(", "if false then mark("),
        ("TTL key", "if left > 0 and left <= timeout then", "if false then"),
        ("PTTL above the time-out", "if left > 0 and left <= timeout", "if left > 0"),
        ("silence", "if now - num(r[7])", "if false and now - num(r[7])"),
        ("unobserved time", " - (unobserved - num(r[8])) < silence", " < silence"),
        (
            "the look it was judged after",
            "if math.abs(now - looked) > tonumber(ARGV[22]) then",
            "if false then",
        ),
        ("a clock that stepped back", "math.abs(now - looked)", "now - looked"),
        ("the run that was looked at", "if run ~= '' and run ~= this_run() then", "if false then"),
        (
            "unobserved time that was judged",
            "if unobserved ~= tonumber(ARGV[23]) then",
            "if false then",
        ),
        ("open holds", "if open_holds(KEYS[4], now, num(r[9])) > 0 then", "if false then"),
        ("report", "if num(r[9]) ~= tonumber(ARGV[14]) then", "if false then"),
        ("version rises", "math.max(num(r[2]) + 1, now)", "num(r[2])"),
    )
    yield from guards(
        "registry/scripts/transition.lua",
        contract("operating", "guards"),
        ("holds of the removed", "if reason == 'removed' then", "if false then"),
        ("holds of nobody else", "if reason == 'removed' then", "if true then"),
        ("the removed are not counted", "counted(to, reason)", "to"),
    )
    yield from guards(
        "registry/scripts/transition.lua",
        contract("what_follows_at_once"),
        (
            "what follows at once",
            "if (from == 'draining') ~= (to == 'draining') and",
            "if false and",
        ),
        ("but nothing after the end", " and to ~= 'offline' then mark(", " then mark("),
    )
    yield from guards(
        "registry/scripts/transition.lua",
        contract("fences"),
        ("nobody offline keeps a key", "redis.call('DEL', KEYS[3])", "local _ = 0"),
    )
    yield from guards(
        "registry/scripts/expire.lua",
        contract("committing", "guards"),
        ("version", " or r[2] ~= ARGV[3] or", " or"),
        ("only the offline", " or r[3] ~= 'offline' then", " then"),
        ("retention", "if now - num(r[4]) < tonumber(ARGV[4]) then", "if false then"),
    )
    yield from guards(
        "registry/scripts/expire.lua",
        contract("operating", "guards"),
        ("the removed were not counted", "counted('offline', r[5])", "'offline'"),
    )
