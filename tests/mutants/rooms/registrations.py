"""Who may register, take something back, or leave."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, contract, guards


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "registry/scripts/register.lua",
        contract("registering", "guards"),
        ("sid", "if (r[1] or '') ~= ARGV[2] then", "if false then"),
        ("digest", "if r[1] and (r[2] or '') ~= ARGV[3] then", "if false then"),
        ("age of frames", "if age >= timeout then", "if false then"),
        ("late calls", "if ran_late(now,", "if false and ran_late(now,"),
        ("only the same hardware resumes", " and r[6] == ARGV[10]", ""),
        ("nothing offline resumes", " and status ~= 'offline' and", " and"),
        ("nothing leaving resumes", " and not r[7] and r[6]", " and r[6]"),
        ("session never goes back", ", tonumber(ARGV[18]) + 1, now)", ", now)"),
        ("version never goes back", ", tonumber(ARGV[19]) + 1, now)", ", now)"),
        ("intent of a restored node", "kind == 'restore' and ARGV[21] ~= ''", "false"),
    )
    yield from guards(
        "registry/scripts/register.lua",
        contract("operating", "guards"),
        ("labels", "if (i[2] or '') ~= ARGV[31] then", "if false then"),
        ("no beat revives the removed", "if kind == 'revive' and", "if false and"),
        ("the removed were not counted", "counted(previous, r[10])", "previous"),
    )
    yield from guards(
        "registry/scripts/register.lua",
        contract("registering"),
        ("a restored node is judged", "mark(KEYS[6], KEYS[11], id)", "local _ = 0"),
    )
    yield from guards(
        "registry/scripts/update.lua",
        contract("indexes_and_lists", "guards"),
        ("sid", "if r[1] ~= ARGV[2] or", "if"),
        ("digest", "if r[2] ~= ARGV[3] then", "if false then"),
    )
    yield from guards(
        "registry/scripts/update.lua",
        contract("operating", "guards"),
        ("labels", " or (i[2] or '') ~= ARGV[12] then", " then"),
    )
    yield from guards(
        "registry/scripts/leave.lua",
        contract("committing", "guards"),
        ("sid", "if r[1] ~= ARGV[2] or", "if"),
        ("digest", " or r[2] ~= ARGV[3] or", " or"),
    )
    yield from guards(
        "registry/scripts/leave.lua",
        contract("operating", "guards"),
        ("removal stands", "if not r[4] then", "if r[4] ~= 'unregister' then"),
        ("removal stands, without drain", "elseif r[4] ~= 'remove' and", "elseif"),
    )
    yield from guards(
        "registry/scripts/closed.lua",
        contract("registering", "guards"),
        ("sid", "if redis.call('HGET', KEYS[1], 'sid') ~= ARGV[1] then", "if false then"),
    )
