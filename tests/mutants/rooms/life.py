"""What the model of a node's life misses: it knows no single test, only what may never happen."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, guards

_MODEL = ("tests/model/test_life.py",)
_SCRIPTS = "registry/scripts/"


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    for path, name, old, new in (
        ("beat", "session check", "elseif r[1] ~= sid then", "elseif false then"),
        ("job", "session check", "if r[1] ~= ARGV[2] or", "if"),
        ("hold", "TTL check", "if left <= 0 or left > timeout", "if left > timeout"),
        ("hold", "expiry", "expires = now + tonumber(ARGV[2])", "expires = now + 86400000"),
        ("transition", "version rises", "math.max(num(r[2]) + 1, now)", "num(r[2])"),
        (
            "transition",
            "indexes change with the state",
            "if from == 'ready' then leave_index(KEYS, 13, #KEYS, id) end",
            "",
        ),
        ("transition", "the gateway is told", "tell(KEYS[10],", "tostring(KEYS[10],"),
        (
            "transition",
            "what follows at once",
            "if (from == 'draining') ~= (to == 'draining') and",
            "if false and",
        ),
        (
            "lib/alarm",
            "warm-up has an alarm",
            "at = math.min(at, num(r[5]) + tonumber(warmup) + unobserved - num(r[6]))",
            "",
        ),
        (
            "lib/alarm",
            "the next beat has seen what nobody observed",
            "math.min(num(r[3]) + unobserved - num(r[4]), now)",
            "num(r[3]) + unobserved - num(r[4])",
        ),
        ("patrol", "gap", "if gap > gap_ms or gap < 0 or", "if gap < 0 or"),
    ):
        yield from guards(
            f"{_SCRIPTS}{path}.lua", _MODEL, (name, old, new),
            prefix=f"life, {path}", keyword="not fakeredis",
        )  # fmt: skip
    yield from guards(
        f"{_SCRIPTS}patrol.lua",
        _MODEL,
        (
            "marks go before the look",
            "marked = redis.call('SPOP', todo, limit)",
            "marked = redis.call('SRANDMEMBER', todo, limit)",
            (
                (
                    f"{_SCRIPTS}transition.lua",
                    "return { 'ok', version, since, now }",
                    "redis.call('SREM', KEYS[6], id)\nreturn { 'ok', version, since, now }",
                ),
                (
                    f"{_SCRIPTS}arm.lua",
                    "return at\n",
                    "redis.call('SREM', string.sub(KEYS[4], 1, -4) .. 'todo', ARGV[1]) return at\n",
                ),
            ),
        ),
        prefix="life, patrol",
        keyword="not fakeredis",
    )
    yield from guards(
        "sweeper/watch.py",
        _MODEL,
        ("a clock that steps", "or self._stepped(look, now):", "or False:"),
        prefix="life, sweeper",
        keyword="not fakeredis",
    )
    yield from guards(
        "sweeper/patrol.py",
        _MODEL,
        (
            "no gateway, no warm-up is over",
            "            self.watch.nobody_hears()",
            "            pass",
        ),
        prefix="life, sweeper",
        keyword="(no_gateway_is_there or own_age or stepped_back) and not fakeredis",
    )
    yield from guards(
        "sweeper/brake.py",
        _MODEL,
        ("a pace", "if self._let < 1 + (now - self.since) * per_ms:", "if True:"),
        ("a deadline", "if self.since and now >= self.until:", "if False:"),
        prefix="life, brake",
        keyword="(brake or stepped_back) and not fakeredis",
    )
