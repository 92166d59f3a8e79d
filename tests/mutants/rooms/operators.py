"""Operators' acts stand."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, contract, guards


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "registry/scripts/intend.lua",
        contract("operating", "guards"),
        ("digest", "if r[1] ~= ARGV[2] or", "if"),
        ("removed", " or removed(r[2], r[3], r[4]) then", " then"),
        ("the former resumption", "redis.call('HDEL', KEYS[1], 'rsw', 'rsy', 'rsa')", ""),
        ("sent twice", "then return 1 end", "then local _ end"),
    )
    yield from guards(
        "registry/scripts/unintend.lua",
        contract("operating", "guards"),
        ("digest", "if (r[1] or '') ~= ARGV[2] then", "if false then"),
        ("places of one still ready", "if r[2] == 'ready' and not r[3] then", "if false then"),
        ("only of one still ready", "if r[2] == 'ready' and", "if"),
        ("not of one that leaves", " and not r[3] then", " then"),
        ("sent twice", "return r[5] == ARGV[3] and 1 or 0", "return 0"),
    )
    yield from guards(
        "registry/scripts/remove.lua",
        contract("operating", "guards"),
        ("digest", "if r[1] ~= ARGV[2] or", "if"),
        ("removed before", " or removed(r[2], r[3], r[4]) then", " then"),
        ("who is offline already", "if r[2] ~= 'offline' then", "if true then"),
        ("only who is offline already", "if r[2] ~= 'offline' then", "if false then"),
        ("holds", "redis.call('DEL', KEYS[2])\n", ""),
        ("counts", "count(KEYS[8], 'offline', '')\n", ""),
        ("retention", "'since', int(now), ", ""),
        ("alarm", "redis.call('ZADD', KEYS[3],", "local _ = tostring('ZADD',"),
        ("sent twice", "then return 1 end", "then local _ end"),
    )
    yield from guards(
        "registry/scripts/labels.lua",
        contract("operating", "guards"),
        ("digest", "if r[1] ~= ARGV[2] or", "if"),
        ("registration", " or r[2] ~= ARGV[4] or", " or"),
        ("stamp", "if (i[2] or '') ~= ARGV[3] then", "if false then"),
        ("removed", " or removed(r[3], r[4], r[6]) then", " then"),
        ("only who is ready", "if r[3] == 'ready' and", "if"),
        ("not who leaves", " and not r[5] and", " and"),
        ("not who is drained", " and not i[1] then", " then"),
        ("former places", "leave_index(KEYS, 5, first_new - 1, id)", ""),
    )
    yield from guards(
        "registry/operating.py",
        contract("operating"),
        ("removed", "None if found is None or found.removed else", "None if False else"),
    )
    yield from guards(
        "registry/labels.py",
        contract("operating"),
        ("how many", "for name in list(made)[LABELS_MOST:]:", "for name in ():"),
        ("how long", "if size > LABEL_BYTES_MOST:", "if False:"),
        ("nameless", "if not name:", "if False:"),
        ("in a line", "and not IN_A_LINE.fullmatch(text):", "and False:"),
    )
