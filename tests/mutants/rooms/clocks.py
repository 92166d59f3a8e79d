"""The store's clock, its steps, and time that nobody observed."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, contract, guards

_READ = "        now, unobserved = int(reply[0]), int(reply[1])\n"
_TAKEN = 'await self.store.commands([("SREM", k.todo(partition), *ids)])'


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "registry/scripts/patrol.lua",
        contract("watching_time", "guards"),
        ("lease owner", "if holder and holder ~= owner then", "if false then"),
        ("gap", "if gap > gap_ms or gap < 0 or", "if gap < 0 or"),
        ("time stepping back", "gap < 0 or run", "run"),
        ("another run of the store", " or run ~= run_id then", " then"),
        (
            "alarm of a popped id",
            "redis.call('ZADD', due, 'LT',",
            "local _ = tostring('ZADD', due, 'LT',",
        ),
    )
    yield from guards(
        "registry/scripts/patrol.lua",
        contract("stepping_clocks"),
        ("a clock that stepped back", "if gap < 0 then ring_all(due, now) end", ""),
    )
    yield from guards(
        "registry/scripts/patrol.lua",
        contract("fences"),
        (
            "taken before it is read, not after",
            "redis.call('SPOP', todo, limit)",
            "redis.call('SRANDMEMBER', todo, limit)",
            (
                (
                    "registry/judging.py",
                    _READ,
                    f"        {_TAKEN}\n{_READ}",
                ),
            ),
        ),
        prefix="todo",
    )
    yield from guards(
        "registry/scripts/patrol.lua",
        contract("tailing"),
        ("unobserved time", "added = gap", "added = 0"),
        prefix="events, patrol",
    )
    yield from guards(
        "registry/scripts/release.lua",
        contract("watching_time", "guards"),
        ("lease owner", "if redis.call('GET', lease) == ARGV[1] then", "if true then"),
    )
    yield from guards(
        "registry/scripts/arm.lua",
        contract("stepping_clocks"),
        ("a key made by a clock ahead", "redis.call('DEL', KEYS[6])", "local _ = 0"),
    )
    yield from guards(
        "registry/scripts/present.lua",
        contract("late_announcements", "stepping_clocks"),
        ("a word that comes too late", "and not late then", "then"),
    )
