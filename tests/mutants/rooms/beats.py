"""What a heartbeat may change, and what a job's result may."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, contract, guards, integration


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "registry/scripts/beat.lua",
        contract("beating", "guards"),
        ("sid", "elseif r[1] ~= sid then", "elseif false then"),
        (
            "lower session is older",
            "num(redis.call('HGET', n, 'ses')) < tonumber(session) and 'older' or 'foreign'",
            "'foreign'",
        ),
        ("offline stays offline", "elseif r[3] == 'offline' then", "elseif false then"),
        ("age of frames", "elseif age >= timeout then", "elseif false then"),
        ("age of frames of a dead node", "(age < timeout and 'silent' or 'too_old')", "'silent'"),
        ("late calls", "if ran_late(now,", "if false and ran_late(now,"),
        ("lag counts as age", "tonumber(age) + lag,", "tonumber(age),"),
        ("seq", "if tonumber(seq) > num(r[2]) then", "if true then"),
        ("never back before the last beat", "math.max(now - age, last)", "(now - age)"),
        ("unobserved time", " - (unobserved[p] - num(r[6])) > ", " > "),
        ("missed gap", "local missed = ", "local missed = false and "),
        ("what is left of a frame's time", "'PX', timeout - (now - at))", "'PX', timeout)"),
        ("reconcile: tell", "if version > relayed then", "if false then"),
        ("reconcile: lower", "elseif version < relayed then", "elseif false then"),
        ("observed anew", "if r[6] ~= unobserved_text[p] then", "if false then"),
        ("a changed window", "if window ~= former then", "if false then"),
        ("verdicts are cut", "> history_most then", "> 1000 then"),
        (
            "the last verdict",
            "if missed or string.sub(former, 1, 1) ~= verdict then",
            "if false then",
        ),
        ("mark of a failure", "or r[8] or verdict ~= 'P' or", "or r[8] or"),
    )
    yield from guards(
        "registry/reading.py",
        contract("beating"),
        ("no more verdicts than the last", ", 0, self.settings.history_length - 1)", ", 0, -1)"),
    )
    yield from guards(
        "registry/scripts/beat.lua",
        contract("stepping_clocks"),
        ("a last beat of the future", "if last > now then last = now - age end", ""),
    )
    yield from guards(
        "registry/scripts/beat.lua",
        contract("fences"),
        ("fenced by the sid, not by a number", "r[1] ~= sid then", "num(r[8]) ~= session then"),
    )
    yield from guards(
        "registry/scripts/beat.lua",
        integration("kept_stores"),
        (
            "no field of a record is renamed unseen",
            "capacity, 'rep', string.sub(ARGV[a], rest))",
            "capacity, 'report', string.sub(ARGV[a], rest))",
        ),
        prefix="format",
    )
    yield from guards(
        "registry/scripts/job.lua",
        contract("holding", "guards"),
        ("a job's hold ends", "redis.call('ZREM', KEYS[3], ARGV[i])", "local _ = i"),
    )
    yield from guards(
        "registry/scripts/job.lua",
        contract("beating", "guards"),
        ("sid", "if r[1] ~= ARGV[2] or", "if"),
        ("one failure an interval", " and now - num(r[4]) >= tonumber(ARGV[5]) then", " then"),
    )
    yield from guards(
        "registry/scripts/job.lua",
        contract("beating"),
        ("a job is no sign of life", "'rat', int(now))", "'rat', int(now), 'beat', int(now))"),
    )
    yield from guards(
        "registry/scripts/mend.lua",
        contract("beating", "guards"),
        ("sid", "if r[1] ~= ARGV[2] or", "if"),
        ("only a lower version", "if version < tonumber(ARGV[4]) then", "if true then"),
    )
    yield from guards(
        "registry/scripts/mend.lua",
        contract("beating"),
        ("intent comes back", "if ARGV[5] ~= '' and", "if false and"),
    )
