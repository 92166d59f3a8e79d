"""Breaks each guard in turn, in a copy of the tree: the suite must fail every time.

A guard nobody misses when it is gone is a guard nobody tests. A replacement must match its file
exactly once, so that a guard that moved is noticed; a copy in which no test at all passes is
broken rather than unguarded, and counts as an error.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_SKIPPED = (".venv", ".git", "__pycache__", ".*_cache", ".hypothesis", "build", "dist", "docs")
_TIMEOUT_S = 300
_CONTRACT = "tests/contract/test_"
_COUNT = re.compile(r"(\d+) (passed|failed|error)")


@dataclass(frozen=True)
class Mutant:
    """One guard, and how it is broken: `old` becomes `new` in `path`, and in the same way whatever
    `too` names; `tests` must notice."""

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]
    keyword: str = "valkey"
    too: tuple[tuple[str, str, str], ...] = ()

    @property
    def edits(self) -> tuple[tuple[str, str, str], ...]:
        """Everything that is changed: path, old, new."""
        return ((self.path, self.old, self.new), *self.too)


@dataclass(frozen=True)
class Result:
    """What the tests said to a tree. `error` is set when they could not say anything."""

    name: str
    passed: int
    failed: int
    duration_s: float
    error: str = ""

    @property
    def verdict(self) -> str:
        """The result as people read it."""
        if self.error:
            return f"ERROR {self.error}"
        if not self.failed:
            return f"SURVIVED {self.passed} tests"
        return f"killed by {self.failed} failing test{'s' if self.failed > 1 else ''}"


def _lua(verb: str, *tests: str) -> tuple[str, tuple[str, ...]]:
    files = tuple(f"{_CONTRACT}{name}.py" for name in (*tests, "guards"))
    return f"registry/scripts/{verb}.lua", files


def _of(where: tuple[str, tuple[str, ...]], *guards: tuple[str, str, str]) -> Iterator[Mutant]:
    path, tests = where
    verb = Path(path).stem
    for name, old, new in guards:
        yield Mutant(f"{verb}: {name}", path, old, new, tests)


def mutants() -> list[Mutant]:
    """Every guard that is broken, in a fixed order."""
    return [
        *_of(
            _lua("beat", "beating"),
            ("sid", "elseif r[1] ~= sid then", "elseif false then"),
            (
                "lower session is older",
                "num(redis.call('HGET', n, 'ses')) < tonumber(session) and 'older' or 'foreign'",
                "'foreign'",
            ),
            ("offline stays offline", "elseif r[3] == 'offline' then", "elseif false then"),
            ("age of frames", "elseif age >= timeout then", "elseif false then"),
            (
                "age of frames of a dead node",
                "(age < timeout and 'silent' or 'too_old')",
                "'silent'",
            ),
            ("late calls", "if ran_late(now,", "if false and ran_late(now,"),
            ("lag counts as age", "tonumber(age) + lag,", "tonumber(age),"),
            ("seq", "if tonumber(seq) > num(r[2]) then", "if true then"),
            ("never back before the last beat", "math.max(now - age, last)", "(now - age)"),
            ("unobserved time", " - (unobserved[p] - num(r[6])) > ", " > "),
            ("missed gap", "local missed = ", "local missed = false and "),
            ("what is left of a frame's time", "int(timeout - (now - at))", "int(timeout)"),
            ("reconcile: tell", "if version > relayed then", "if false then"),
            ("reconcile: lower", "elseif version < relayed then", "elseif false then"),
            ("observed anew", "if r[6] ~= unobserved_text[p] then", "if false then"),
            ("a changed window", "if window ~= former then", "if false then"),
            (
                "the last verdict",
                "if missed or string.sub(former, 1, 1) ~= verdict then",
                "if false then",
            ),
            ("mark of a failure", "or r[8] or verdict ~= 'P' or", "or r[8] or"),
        ),
        *_of(
            _lua("transition", "committing"),
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
                "open holds",
                "if open_holds(KEYS[4], now, num(r[9])) > 0 then",
                "if false then",
            ),
            ("report", "if num(r[9]) ~= tonumber(ARGV[14]) then", "if false then"),
            ("version rises", "math.max(num(r[2]) + 1, now)", "num(r[2])"),
        ),
        *_of(
            _lua("register", "registering"),
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
        ),
        *_of(
            ("registry/subject.py", (f"{_CONTRACT}selecting.py", f"{_CONTRACT}holding.py")),
            ("status", "self.status == Status.READY and not self.leaving", "not self.leaving"),
            ("leave", "== Status.READY and not self.leaving and", "== Status.READY and"),
            ("intent", " and self.intent is None", ""),
            ("TTL key", "return 0 < self.ttl_ms <= timeout_ms", "return self.ttl_ms <= timeout_ms"),
            (
                "PTTL above the time-out",
                "return 0 < self.ttl_ms <= timeout_ms",
                "return 0 < self.ttl_ms",
            ),
            ("holds count as load", "return self.jobs + self.holds", "return self.jobs"),
        ),
        *_of(
            (
                "registry/requirement.py",
                (f"{_CONTRACT}selecting.py", f"{_CONTRACT}indexes_and_lists.py"),
            ),
            ("capacity", "elif s.load >= s.capacity:", "elif False:"),
            ("public pool", "if self.public and not s.public:", "if False:"),
            ("capabilities", "if name not in s.capabilities:", "if False:"),
            ("labels", 'if found == (test.test == "not"):', "if False:"),
            ("memory", "s.gpu_memory_gb < self.min_gpu_memory_gb:", "False:"),
            ("ceilings", "if value is not None and value > limit:", "if False:"),
            ("avoided nodes", "if s.node_id in self.avoid:", "if False:"),
        ),
        *_of(
            ("registry/selecting.py", (f"{_CONTRACT}selecting.py", f"{_CONTRACT}holding.py")),
            (
                "the exact look",
                "while not taken.enough() and not found.everybody and",
                "while False and",
            ),
            ("equals take turns", "random.sample(candidates, len(candidates))", "list(candidates)"),
            ("callers are spread", "half = -(-len(others) // 2) if spread else", "half ="),
            (
                "what was taken for nothing is given back",
                "await self._give_back(s.hold_id for each in made",
                "list(s.hold_id for each in made",
            ),
            ("a request's ended holds", "or await self._all_held(found):", "or True:"),
            ("what broke off is given back", "if work is None:  # nobody", "if False:  # nobody"),
            (
                "the plan is noted before the hold",
                "elif await self._noted(subject.node_id):",
                "else:",
            ),
            (
                "a hold on a node gone bad is given back",
                "            if not kept:",
                "            if False:",
            ),
            (
                "a changed node is judged again",
                'if held == "changed" else None',
                "if False else None",
            ),
            ("judged again, not only read", "if not self._fits(subject, own=own):", "if False:"),
        ),
        *_of(
            _lua("subjects", "selecting"),
            ("full nodes are not sent", "return left <= 0 or left <=", "return false and left <="),
        ),
        Mutant(
            "looks: no answer is older than its question",
            "registry/looks.py",
            "if asked.done > before and",
            "if",
            ("tests/unit/test_looks.py",),
            "",
        ),
        *_of(
            ("registry/holding.py", (f"{_CONTRACT}holding.py",)),
            ("open holds only", "if hold.expires > number(reported)]", "]"),
        ),
        *_of(
            ("registry/surveying.py", (f"{_CONTRACT}selecting.py",)),
            (
                "an owner's few are not sampled",
                "if total <= most or scope is not None:",
                "if total <= most:",
            ),
            ("named nodes only", "if wanted.ids is None:", "if True:"),
        ),
        *(
            replace(mutant, keyword="")
            for mutant in _of(
                ("sweeper/brake.py", ("tests/unit/test_brake.py",)),
                (
                    "at once",
                    "        self._take_hold(now, partitions)\n        if not self.since:",
                    "        if not self.since:",
                ),
                ("a deadline", "now - self.since >= limits.most_ms or", ""),
                ("an operator's release", " or released >= self.since", ""),
            )
        ),
        *_of(
            _lua("hold", "holding"),
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
        ),
        *_of(
            _lua("lib/holds", "holding"),
            (
                "an ended hold counts until a report",
                "return math.min(now, reported_at)",
                "return now",
            ),
        ),
        *_of(
            _lua("unhold", "holding"),
            ("a draining node is looked at", "== 'draining' then mark(", "== 'x' then mark("),
        ),
        *_of(
            _lua("begin", "holding"),
            ("the same id for something else", "if r[1] and r[3] ~= ARGV[2] then", "if false then"),
            ("one asker at a time", "num(r[2]) > now then", "false then"),
            ("the answer given before", "if r[5] then", "if false then"),
            ("the former asker's plan", "return { 'yours', r[4] or '' }", "return { 'yours', '' }"),
        ),
        *_of(
            _lua("settle", "holding"),
            (
                "an overtaken asker",
                "if redis.call('HGET', key, 'by') ~= ARGV[1] then",
                "if false then",
            ),
        ),
        *_of(
            _lua("job", "holding"),
            ("a job's hold ends", "redis.call('ZREM', KEYS[3], ARGV[i])", "local _ = i"),
        ),
        *_of(
            _lua("patrol", "watching_time"),
            ("lease owner", "if holder and holder ~= owner then", "if false then"),
            ("gap", "if gap > gap_ms or gap < 0 or", "if gap < 0 or"),
            ("time stepping back", "gap < 0 or run", "run"),
            ("another run of the store", " or run ~= run_id then", " then"),
            (
                "alarm of a popped id",
                "redis.call('ZADD', due, 'LT',",
                "local _ = tostring('ZADD', due, 'LT',",
            ),
        ),
        *_of(
            _lua("release", "watching_time"),
            ("lease owner", "if redis.call('GET', lease) == ARGV[1] then", "if true then"),
        ),
        *_of(
            _lua("leave", "committing"),
            ("sid", "if r[1] ~= ARGV[2] or", "if"),
            ("digest", " or r[2] ~= ARGV[3] or", " or"),
        ),
        *_of(
            _lua("job", "beating"),
            ("sid", "if r[1] ~= ARGV[2] or", "if"),
            ("one failure an interval", " and now - num(r[4]) >= tonumber(ARGV[5]) then", " then"),
        ),
        *_of(
            _lua("update", "indexes_and_lists"),
            ("sid", "if r[1] ~= ARGV[2] or", "if"),
            ("digest", "if r[2] ~= ARGV[3] then", "if false then"),
        ),
        *_of(
            _lua("expire", "committing"),
            ("version", " or r[2] ~= ARGV[3] or", " or"),
            ("only the offline", " or r[3] ~= 'offline' then", " then"),
            ("retention", "if now - num(r[4]) < tonumber(ARGV[4]) then", "if false then"),
        ),
        *_of(
            _lua("mend", "beating"),
            ("sid", "if r[1] ~= ARGV[2] or", "if"),
            ("only a lower version", "if version < tonumber(ARGV[4]) then", "if true then"),
        ),
        *_of(
            _lua("closed", "registering"),
            ("sid", "if redis.call('HGET', KEYS[1], 'sid') ~= ARGV[1] then", "if false then"),
        ),
        Mutant(
            "admission: a wrong token wins nothing",
            "gateway/admission.py",
            "if attempt.token is TokenCheck.WRONG:",
            "if False:",
            ("tests/unit/test_admission.py",),
            "",
        ),
        Mutant(
            "admission: a later attempt is not outrun",
            "gateway/admission.py",
            "if live and _outrun(existing, attempt):",
            "if False:",
            ("tests/unit/test_admission.py",),
            "",
        ),
        *_operators(),
        *_clocks(),
        *_short_way(),
        *_faults(),
        *_api(),
        *_client(),
        *_endpoints(),
        *_watching(),
        *_simulating(),
    ]


def _operators() -> Iterator[Mutant]:
    """The guards of operators' acts, in the scripts of others too."""
    off = "if false then"
    twice = ("sent twice", "then return 1 end", "then local _ end")
    scripts: dict[str, tuple[tuple[str, str, str], ...]] = {
        "intend": (
            ("digest", "if r[1] ~= ARGV[2] or", "if"),
            ("removed", " or removed(r[2], r[3], r[4]) then", " then"),
            ("the former resumption", "redis.call('HDEL', KEYS[1], 'rsw', 'rsy', 'rsa')", ""),
            twice,
        ),
        "unintend": (
            ("digest", "if (r[1] or '') ~= ARGV[2] then", off),
            ("places of one still ready", "if r[2] == 'ready' and not r[3] then", off),
            ("only of one still ready", "if r[2] == 'ready' and", "if"),
            ("not of one that leaves", " and not r[3] then", " then"),
            ("sent twice", "return r[5] == ARGV[3] and 1 or 0", "return 0"),
        ),
        "remove": (
            ("digest", "if r[1] ~= ARGV[2] or", "if"),
            ("removed before", " or removed(r[2], r[3], r[4]) then", " then"),
            ("who is offline already", "if r[2] ~= 'offline' then", "if true then"),
            ("only who is offline already", "if r[2] ~= 'offline' then", off),
            ("holds", "redis.call('DEL', KEYS[2])\n", ""),
            ("counts", "count(KEYS[8], 'offline', '')\n", ""),
            ("retention", "'since', int(now), ", ""),
            ("alarm", "redis.call('ZADD', KEYS[3],", "local _ = tostring('ZADD',"),
            twice,
        ),
        "labels": (
            ("digest", "if r[1] ~= ARGV[2] or", "if"),
            ("registration", " or r[2] ~= ARGV[4] or", " or"),
            ("stamp", "if (i[2] or '') ~= ARGV[3] then", off),
            ("removed", " or removed(r[3], r[4], r[6]) then", " then"),
            ("only who is ready", "if r[3] == 'ready' and", "if"),
            ("not who leaves", " and not r[5] and", " and"),
            ("not who is drained", " and not i[1] then", " then"),
            ("former places", "leave_index(KEYS, 5, first_new - 1, id)", ""),
        ),
        "register": (
            ("labels", "if (i[2] or '') ~= ARGV[31] then", off),
            ("no beat revives the removed", "if kind == 'revive' and", "if false and"),
            ("the removed were not counted", "counted(previous, r[10])", "previous"),
        ),
        "update": (("labels", " or (i[2] or '') ~= ARGV[12] then", " then"),),
        "leave": (
            ("removal stands", "if not r[4] then", "if r[4] ~= 'unregister' then"),
            ("removal stands, without drain", "elseif r[4] ~= 'remove' and", "elseif"),
        ),
        "transition": (
            ("holds of the removed", "if reason == 'removed' then", off),
            ("holds of nobody else", "if reason == 'removed' then", "if true then"),
            ("the removed are not counted", "counted(to, reason)", "to"),
        ),
        "expire": (("the removed were not counted", "counted('offline', r[5])", "'offline'"),),
    }
    for verb, guards in scripts.items():
        yield from _of(_lua(verb, "operating"), *guards)
    files: dict[str, tuple[tuple[str, str, str], ...]] = {
        "registry/operating.py": (
            ("removed", "None if found is None or found.removed else", "None if False else"),
        ),
        "registry/subject.py": (
            (
                "removed, not worded yet",
                'return worded or self.leaving == "remove"',
                "return worded",
            ),
        ),
        "registry/labels.py": (
            ("how many", "for name in list(made)[LABELS_MOST:]:", "for name in ():"),
            ("how long", "if size > LABEL_BYTES_MOST:", "if False:"),
            ("nameless", "if not name:", "if False:"),
        ),
        "sweeper/repair.py": (
            ("the removed are not counted", "if not facts.removed:", "if True:"),
        ),
        "gateway/enrolment.py": (
            (
                "labels",
                "capabilities=can.capabilities(message, labels.values)",
                "capabilities=can.capabilities(message)",
            ),
        ),
        "gateway/pulse.py": (
            ("labels seen anew", "        session.labels = known.labels\n", ""),
            (
                "what was not written stays new",
                "if await self._connection.insist(write):",
                "if await self._connection.insist(write) or True:",
            ),
            (
                "no renewal beside",
                "async with self._alone():  # a renewal",
                "if True:  # a renewal",
            ),
        ),
    }
    for path, guards in files.items():
        yield from _of((path, (f"{_CONTRACT}operating.py",)), *guards)


def _short_way() -> Iterator[Mutant]:
    """What makes the short way of a heartbeat no other way."""
    files: dict[str, tuple[tuple[str, str, str], ...]] = {
        "gateway/transport.py": (
            (
                "a frame has not begun",
                "and waits_in.gi_code is _AT_A_FRAME_S_BEGINNING",
                "",
            ),
            ("the whole frame", "if length == size - 6:", "if length <= size - 6:"),
            ("a frame of a client", "length = data[1] - _MASKED", "length = data[1] & 0x7F"),
        ),
        "gateway/connection.py": (
            ("nothing is overtaken", "or not self._waits:", "or False:"),
            ("a flood on the short way", "self._messages.take(now):", "0:"),
            ("whose beat", "message.node_id is not None and message.node_id != node_id", "False"),
        ),
        "muster/wire/beating.py": (
            ("nothing unknown is kept", ", forbid_unknown_fields=True", ""),
            ("text that must be looked at", " or not frame.isascii()", ""),
        ),
    }
    tests = ("tests/unit/test_short_way.py", "tests/integration/test_short_way.py")
    for path, guards in files.items():
        for name, old, new in guards:
            yield Mutant(f"short way: {name}", path, old, new, tests, "")


def _clocks() -> Iterator[Mutant]:
    """What a store's other clock and a process that stood still must not do."""
    stepping = f"{_CONTRACT}stepping_clocks.py"
    yield from _of(
        ("registry/scripts/beat.lua", (stepping,)),
        ("a last beat of the future", "if last > now then last = now - age end", ""),
    )
    yield from _of(
        ("registry/scripts/patrol.lua", (stepping,)),
        ("a clock that stepped back", "if gap < 0 then ring_all(due, now) end", ""),
    )
    yield from _of(
        ("registry/scripts/arm.lua", (stepping,)),
        ("a key made by a clock ahead", "redis.call('DEL', KEYS[6])", "local _ = 0"),
    )
    yield from _of(
        ("registry/scripts/present.lua", (f"{_CONTRACT}late_announcements.py", stepping)),
        ("a word that comes too late", "and not late then", "then"),
    )
    units: tuple[tuple[str, str, str, str], ...] = (
        (
            "presence",
            "beats go before the gateway is back",
            "not await self._batcher.drain(FLUSH_S)",
            "False",
        ),
        ("presence", "living nodes beat before it is back", "began < self._not_before or", ""),
        ("clock", "frames are as old as the standstill", "if self._floor is None else", "or"),
        (
            "clock",
            "standing still is nobody's silence",
            "return self.look() - self",
            "return 0 * self",
        ),
    )
    tests = {"presence": "gateway_presence", "clock": "stall"}
    for room, name, old, new in units:
        where = (f"tests/unit/test_{tests[room]}.py",)
        yield Mutant(f"{room}: {name}", f"gateway/{room}.py", old, new, where, "")


def _simulating() -> Iterator[Mutant]:
    """What the simulator's verdict rests on, and the repair that a large fleet needs."""
    indexes = (f"{_CONTRACT}indexes_and_lists.py",)
    yield from _of(
        ("sweeper/repair.py", indexes),
        ("strangers leave", "for id_, names in sorted(places.items()):", "for id_, names in ():"),
        ("what is right stays", "if found == own:", "if True:"),
    )
    units: tuple[tuple[str, str, str], ...] = (
        ("verdict", 'not counts[f"falsely {status}"]', "True"),
        ("verdict", "punctual = (late is None or late <= _LATE_S) and not own", "punctual = True"),
        ("verdict", 'now["ready"] == outcome.nodes,', "True,"),
        ("verdict", "p99 <= outcome.slowest_beat_s", "True"),
        ("usage", "if early.started != late.started:", "if False:"),
        ("scenarios", "timeout_s + 2 * interval_s", "interval_s"),
        ("frames", "if size > MOST_BYTES:", "if False:"),
    )
    for place, (room, old, new) in enumerate(units):
        yield Mutant(
            f"simulate: {room} {place}", f"muster/simulate/{room}.py", old, new,
            ("tests/unit/test_simulate.py",), "",
        )  # fmt: skip
    yield Mutant(
        "simulate: a server elsewhere is not loaded unasked",
        "muster/cli/simulating.py",
        "if far and not yes:",
        "if False:",
        ("tests/unit/test_simulate.py",),
        "",
    )
    yield Mutant(
        "simulate: a close is followed by a new socket",
        "muster/simulate/node.py",
        "self._again(soon)",
        "pass",
        ("tests/integration/test_simulate.py",),
        "restarted",
    )


def _faults() -> Iterator[Mutant]:
    """Mistakes that only show when something fails."""
    fences = (f"{_CONTRACT}fences.py",)
    processes = ("tests/faults/test_one_by_one.py",)
    ack = """connection.send(RegisterAck(
                node_id, "registered", "registering", None, 1, 1, 1, 1, (), None
            ))
            written = await"""
    yield Mutant(
        "enrolment: acknowledged after it was written",
        "gateway/enrolment.py",
        "written = await",
        ack,
        processes,
        "",
    )
    yield Mutant(
        "gate: a gateway's standing still reaps nobody",
        "gateway/gate.py",
        "            self.clock.observed,\n",
        "            time.monotonic,\n",
        processes,
        "",
    )
    read = "        now, unobserved = int(reply[0]), int(reply[1])\n"
    taken = 'await self.store.commands([("SREM", k.todo(partition), *ids)])'
    yield Mutant(
        "todo: taken before it is read, not after",
        "registry/scripts/patrol.lua",
        "redis.call('SPOP', todo, limit)",
        "redis.call('SRANDMEMBER', todo, limit)",
        fences,
        too=(("registry/judging.py", read, f"        {taken}\n{read}"),),
    )
    counter = "str(next(_COUNT))"
    yield Mutant(
        "session: a random fence, no counter",
        "gateway/session.py",
        "return secrets.token_hex(8)",
        f"return {counter}",
        ("tests/unit/test_session.py",),
        "",
        too=(("gateway/session.py", "WINDOW = 5\n", "WINDOW = 5\n_COUNT = iter(range(9**9))\n"),),
    )
    yield from _of(
        ("registry/scripts/beat.lua", fences),
        ("fenced by the sid, not by a number", "r[1] ~= sid then", "num(r[8]) ~= session then"),
    )
    yield from _of(
        ("registry/scripts/transition.lua", fences),
        ("nobody offline keeps a key", "redis.call('DEL', KEYS[3])", "local _ = 0"),
    )
    yield from _of(
        ("registry/scripts/hold.lua", (f"{_CONTRACT}holding.py",)),
        ("a hold ends", "'ZADD', KEYS[4], int(expires),", "'ZADD', KEYS[4], '+inf',"),
    )
    yield from _of(
        ("registry/scripts/job.lua", (f"{_CONTRACT}beating.py",)),
        ("a job is no sign of life", "'rat', int(now))", "'rat', int(now), 'beat', int(now))"),
    )
    yield from _of(
        ("registry/scripts/mend.lua", (f"{_CONTRACT}beating.py",)),
        ("intent comes back", "if ARGV[5] ~= '' and", "if false and"),
    )
    yield from _of(
        ("registry/scripts/register.lua", (f"{_CONTRACT}registering.py",)),
        ("a restored node is judged", "mark(KEYS[6], KEYS[11], id)", "local _ = 0"),
    )
    loop = (f"{_CONTRACT}sweeping.py",)
    yield from _of(
        ("sweeper/loop.py", loop),
        ("silence needs watching", "return partition in self._observed or", "return True or"),
        ("no gateway, no observing", "observe=bool(self._gateways)", "observe=True"),
    )
    yield Mutant(
        "rules: the grace of a lapsed gateway",
        "sweeper/rules.py",
        "return max(timeout, self.limits.gateway_grace_ms)",
        "return timeout",
        ("tests/unit/test_rules.py",),
        "lapsed_gateway or nothing_leads",
    )
    kept = ("tests/integration/test_kept_stores.py",)
    yield Mutant(
        "evidence: a later version's limits are left alone",
        "sweeper/rules.py",
        'Limits(**_known(Limits, evidence["limits"]))',
        'Limits(**evidence["limits"])',
        ("tests/unit/test_rules.py",),
        "later_version",
    )
    yield Mutant(
        "format: no field of a record is renamed unseen",
        "registry/scripts/beat.lua",
        "capacity, 'rep', string.sub(ARGV[a], rest))",
        "capacity, 'report', string.sub(ARGV[a], rest))",
        kept,
        "shape",
    )
    yield Mutant(
        "format: no key changes its meaning in place",
        "registry/keys.py",
        'return f"{self._heads[partition_of(node_id)]}holds:{node_id}"',
        'return f"{self._heads[partition_of(node_id)]}places:{node_id}"',
        kept,
        "read_judged",
        too=(("registry/keys.py", 'f"{head}holds:{node_id}"', 'f"{head}places:{node_id}"'),),
    )
    yield Mutant(
        "format: former tokens are known",
        "gateway/tokens.py",
        'hmac.new(secret, node_id.encode(), "sha256")',
        'hmac.new(secret, node_id.encode(), "sha1")',
        kept,
        "read_judged",
    )
    yield Mutant(
        "session: told once, and in order",
        "gateway/session.py",
        "if change.version <= self.version:",
        "if False:",
        ("tests/unit/test_session.py",),
        "",
    )
    yield Mutant(
        "batcher: beats wait for the store",
        "gateway/batcher.py",
        "                self._park(waiting)\n",
        "                self._answer(waiting, TOO_OLD)\n",
        ("tests/unit/test_batcher.py",),
        "",
    )


def _api() -> Iterator[Mutant]:
    """The guards before /v1."""
    off = "if False:"
    guards: dict[str, tuple[tuple[str, str, str], ...]] = {
        "gateway/access.py": (
            (
                "tokens, once there are any",
                "if self.enforced:\n            return",
                f"{off} return",
            ),
            ("closed elsewhere", "if not self._open and not self._on_loopback:", off),
            ("pages of other sites", "_refuse_other_origins(headers)\n        if", "if"),
            ("names made to point here", "if not is_loopback(name if", "if None and (name if"),
            (
                "proxies",
                "passed_on or (client and not is_loopback(client[0]))",
                "client and not is_loopback(client[0])",
            ),
            ("other machines", "(client and not is_loopback(client[0]))", "None"),
            ("roles", "if not principal.role.covers(role):", off),
            ("not named is for admins", "    return Role.ADMIN\n", "    return Role.READ\n"),
        ),
        "gateway/guard.py": (
            ("roles", "demand(principal, role_needed(", "repr((principal, "),
            ("how often", "self._pace((principal.name, address))", "pass"),
            ("guessing", "self._pace((None, address))", "pass"),
            ("how much, announced", "and int(value) > most:", "and False:"),
            ("how much, counted", "if got > most:", off),
            ("how long", "asyncio.timeout(self._timeout_s)", "asyncio.timeout(None)"),
            ("whose time-out", "if not deadline.expired():", off),
        ),
        "gateway/reloading.py": (("no sooner than in a second", ">= EVERY_S", ">= 0"),),
        "muster/wire/bearer.py": (
            ("words", "or _bits(token) < _BITS_LEAST", ""),
            ("repetitions", "or len(set(pairwise(token))) < _PAIRS_LEAST", ""),
            ("whole tokens", "if not _MADE_HERE.fullmatch(token):", off),
            ("one token, one entry", "if entry.hash in seen:", off),
            ("names of nobody", "if name in NAMES_OF_NOBODY:", off),
        ),
    }
    for path, broken_ones in guards.items():
        room = Path(path).stem
        for name, old, new in broken_ones:
            tests = (f"tests/unit/test_{room}.py",)
            yield Mutant(f"{room}: {name}", path, old, new, tests, "")


def _endpoints() -> Iterator[Mutant]:
    """The guards inside /v1."""
    off = "if False:"
    guards: dict[str, tuple[tuple[str, str, str], ...]] = {
        "asking": (
            (
                "an owner's lists and selections",
                "if asker.owner is None:\n        return suited\n",
                "if True:\n        return suited\n",
            ),
            (
                "what an owner is told of the fleet",
                "told = asker.owner is not None and not labels",
                "told = True",
            ),
            (
                "an owner's counts and misses",
                "if asker.owner is None:\n        return None\n",
                "if True:\n        return None\n",
            ),
        ),
        "nodes": (
            ("an owner's nodes", "return call.who.owner is None or", "return True or"),
            ("who took it off", "if call.who.owner is None else None", "if True else None"),
        ),
        "selecting": (
            ("an owner's holds", "if call.who.owner is not None:", off),
            ("the longest hold", "if body.hold_ms > most:", off),
            ("whose request", "asker=call.who.name,", ""),
        ),
        "operating": (
            (
                "an owner's acts",
                "if call.who.owner is not None:\n        await seen",
                "if False:\n        await seen",
            ),
            ("the label owner", "if who.owner is not None and asking.OWNER in changes:", off),
            ("a store that is away", '"UNAVAILABLE" if away else said[', "said["),
            ("nothing to resume", "await registry.resume(node_id, who, why) or None", "True"),
            ("what is no label", "        check(changes)\n", "        pass\n"),
        ),
        "questions": (
            ("all means all", "if self.filter in (UNSET, FilterBody()) and not self.all:", off),
            ("empty ceilings", "if self.ceilings == CeilingsAsked():", off),
        ),
        "answers": (
            ("addresses", "detail.address if for_admin else UNSET", "detail.address"),
            (
                "addresses in events",
                "event_shown(event, for_admin=for_admin)",
                "event_shown(event, for_admin=True)",
            ),
            ("ids of holds", "hold.hold_id if for_admin else UNSET", "hold.hold_id"),
        ),
        "shortfalls": (("once a second", "if known is None or self._stale(known):", "if True:"),),
    }
    tests = tuple(
        f"tests/api/test_{name}.py" for name in ("roles", "selecting", "operating", "watching")
    )
    for room, broken_ones in guards.items():
        for name, old, new in broken_ones:
            yield Mutant(f"api {room}: {name}", f"gateway/api/{room}.py", old, new, tests, "")


def _client() -> Iterator[Mutant]:
    """The guards of the Python client and of what is shown on a terminal."""
    off = "if False:"
    guards: dict[str, tuple[tuple[str, str, str], ...]] = {
        "muster/client/trying.py": (
            (
                "what may have been done",
                "if self._maybe_done and not self._call.repeatable:",
                off,
            ),
            ("an answer that did not come", "if not isinstance(error, _NEVER_SENT):", off),
            (
                "an answer that may be late",
                'if refused.code == "OVERLOADED":',
                "if True:",
            ),
            (
                "what was so already",
                "if self._maybe_done and refused.code in",
                "if refused.code in",
            ),
            ("patience", "if self._now() + pause_s > self._deadline:", off),
            ("pauses are drawn", "random.uniform(most / 2, most)", "most"),
            ("what a gateway asks for", "if text.isdigit()", "if False"),
        ),
        "muster/client/servers.py": (
            ("a server is left once", "if self.current == url:", "if True:"),
            ("the first is drawn", "random.choice(self.urls)", "self.urls[0]"),
        ),
        "muster/client/following.py": (
            (
                "a place without an event",
                "if frame.id:\n            self.cursor",
                "if frame.data: self.cursor",
            ),
            ("the first page's place", "self._first = self._first or page", "self._first = page"),
            ("an end is no event", "if frame.event == END:", off),
        ),
    }
    for path, broken_ones in guards.items():
        room = "following" if path.endswith("following.py") else "trying"
        for name, old, new in broken_ones:
            tests = (f"tests/unit/test_client_{room}.py",)
            yield Mutant(f"client: {name}", path, old, new, tests, "")
    yield Mutant(
        "cli: what would move the cursor",
        "muster/cli/remote.py",
        'c if c.isprintable() else "\\ufffd"',
        "c",
        ("tests/unit/test_cli_looks.py",),
        "would_move or equal_cards",
    )


def _watching() -> Iterator[Mutant]:
    """The guards of events: none is left out, told twice, or told to whom it does not concern."""
    off = "if False:"
    tailing = (f"{_CONTRACT}tailing.py",)
    in_the_store: dict[str, tuple[tuple[str, str, str], ...]] = {
        "registry/scripts/tail.lua": (
            ("the place is there", "and not is_there(KEYS[i], place) then", "and false then"),
            ("every place is looked for", "(found[i] or ARGV[2] == '1') and", "found[i] and"),
            ("a beginning that was cut off", "not extent(key).trimmed", "true"),
        ),
        "registry/scripts/lib/event.lua": (
            ("labels", "if labels ~= '' then", "if false then"),
            ("former labels", "if had ~= labels then", "if false then"),
            ("whole labels", "string.sub(line, 1, 6) ==", "string.match(line, 'label:') =="),
            ("an id of its own", "tonumber(taken) + bits)", "tonumber(taken) + 1)"),
            ("an id that is too large", "if #taken > 15 then", "if false then"),
        ),
        "registry/scripts/patrol.lua": (("unobserved time", "added = gap", "added = 0"),),
        "registry/tailing.py": (
            ("order", "[event for event in found if event.id <= fullest]", "found"),
            ("old or lost", "if trimmed and behind and place <= last else", "if True else"),
        ),
    }
    for path, guards in in_the_store.items():
        for name, old, new in guards:
            yield Mutant(f"events, {Path(path).stem}: {name}", path, old, new, tailing)
    elsewhere: dict[str, tuple[str, tuple[tuple[str, str, str], ...]]] = {
        "registry/events.py": (
            "events",
            (
                ("what is about no one node", "if not event.node_id:", off),
                ("the labels before", "former is not None and _meet(", "False and _meet("),
            ),
        ),
        "gateway/api/frames.py": (
            "events",
            (
                ("addresses inside", "if isinstance(detail, dict) and not for_admin:", off),
                ("addresses", '(for_admin and plain.get("address"))', 'plain.get("address")'),
            ),
        ),
        "gateway/ring.py": (
            "ring",
            (
                ("numbers are used once", "if self._dropped or self.since != self.first:", off),
                ("what was dropped is not known", "self._known.discard(", "repr("),
                ("what was lost is not known", "self._known.clear()", "pass"),
            ),
        ),
        "gateway/tail.py": (
            "tail",
            (
                ("the epoch", "if after.epoch != ring.start.epoch:", off),
                (
                    "known places",
                    "if ring.knows(after):\n            self._next",
                    "if True:\n            self._next",
                ),
                (
                    "what another gateway told",
                    "if event.id <= place.places[event.partition]:",
                    off,
                ),
                ("a loss", "await self._lose(self._ring, page.loss)", "pass"),
                (
                    "nobody watches",
                    "if not self._watchers:",
                    "if self._ring is None and not self._watchers:",
                ),
                ("who fell behind", "if self._next < ring.first:", off),
                ("a stopping gateway", "if tail.ended or (", "if False or ("),
            ),
        ),
        "registry/cursor.py": (
            "cursor",
            (("as it was written", "if str(made) != text:", off),),
        ),
    }
    for path, (test, guards) in elsewhere.items():
        for name, old, new in guards:
            tests = (f"tests/unit/test_{test}.py",)
            yield Mutant(f"events, {Path(path).stem}: {name}", path, old, new, tests, "")


class WrongMutantError(Exception):
    """A replacement that does not match exactly once: the guard moved, or the text is not one."""


def broken(text: str, path: str, old: str, new: str) -> str:
    """The text without its guard. Raises WrongMutantError unless it matches exactly once."""
    found = text.count(old)
    if found != 1:
        raise WrongMutantError(f"{path} holds {old!r} {found} times, not once")
    return text.replace(old, new)


@contextmanager
def _copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="muster-mutant-") as directory:
        tree = Path(directory) / "tree"
        shutil.copytree(_ROOT, tree, ignore=shutil.ignore_patterns(*_SKIPPED))
        yield tree


def _run(tree: Path, name: str, tests: tuple[str, ...], keyword: str) -> Result:
    begun = time.monotonic()
    environ = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider"]
    command += [*(("-k", keyword) if keyword else ()), *tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environ, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return Result(name, 0, 0, time.monotonic() - begun, f"not over in {_TIMEOUT_S} s")
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-200:]
    counts = {word: int(number) for number, word in _COUNT.findall(last)}
    passed, failed = counts.get("passed", 0), counts.get("failed", 0)
    error = ""
    if done.returncode not in (0, 1) or not passed or counts.get("error"):
        error = f"no verdict (status {done.returncode}): {last}"
    elif (done.returncode == 1) != (failed > 0):
        error = f"status {done.returncode}, yet {last}"
    return Result(name, passed, failed, time.monotonic() - begun, error)


def try_one(mutant: Mutant) -> Result:
    """Breaks one guard in a copy and asks its tests."""
    with _copy() as tree:
        try:
            for name, old, new in mutant.edits:
                path = tree / name
                path.write_text(broken(path.read_text(), name, old, new))
        except WrongMutantError as error:
            return Result(mutant.name, 0, 0, 0.0, str(error))
        return _run(tree, mutant.name, mutant.tests, mutant.keyword)


def _unbroken(chosen: list[Mutant]) -> list[Result]:
    """What the same tests say to the tree as it is: they must pass."""
    with _copy() as tree:
        return [
            _run(
                tree,
                f"as it is ({keyword or 'unit'})",
                tuple(sorted({t for m in chosen if m.keyword == keyword for t in m.tests})),
                keyword,
            )
            for keyword in sorted({m.keyword for m in chosen})
        ]


def main(arguments: list[str] | None = None) -> int:
    """0: every guard is missed when gone. 1: one is not. 2: the check itself did not work."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="guards whose name contains this")
    parser.add_argument("--list", action="store_true", help="name the guards and end")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the lines here too")
    parser.add_argument("--jobs", type=int, default=2, help="copies tried at once (2)")
    options = parser.parse_args(arguments)
    chosen = [m for m in mutants() if not options.only or options.only in m.name]
    if not chosen:
        print(f"no guard's name contains {options.only!r}; --list names them", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(m.name for m in chosen))
        return 0
    return _check(chosen, options.jobs, options.json, options.out)


def _check(chosen: list[Mutant], jobs: int, as_json: bool, out: Path | None) -> int:
    begun = time.monotonic()
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        if not as_json:
            print(line, flush=True)

    results: list[Result] = []
    baseline = _unbroken(chosen)
    for result in baseline:
        fine = not result.error and not result.failed
        say(f"{result.name:<44} {f'{result.passed} passed' if fine else 'FAILS ' + result.verdict}")
    sound = all(not r.error and not r.failed for r in baseline)
    if sound:
        with ThreadPoolExecutor(max(1, jobs)) as pool:
            for result in pool.map(try_one, chosen):
                results.append(result)
                say(f"{result.name:<44} {result.verdict}")
    killed = sum(1 for r in results if r.failed and not r.error)
    errors = sum(1 for r in results if r.error)
    survived = len(results) - killed - errors
    duration = time.monotonic() - begun
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    say(
        f"{len(results)} guards: {killed} killed, {survived} survived, {errors} errors"
        f" - {when}, {machine}, Python {platform.python_version()}, {duration:.0f} s"
    )
    if as_json:
        found = {
            "when": when, "machine": machine, "duration_s": round(duration, 1), "killed": killed,
            "survived": survived, "errors": errors, "as_it_is": [asdict(r) for r in baseline],
            "guards": [asdict(r) | {"verdict": r.verdict} for r in results],
        }  # fmt: skip
        print(json.dumps(found, indent=2))
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\n".join(lines) + "\n")
    if not sound or errors:
        return 2
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
