"""The sweeper alone judges, and only what it observed."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, contract, guards, unit


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "sweeper/watch.py",
        contract("sweeping"),
        ("time needs watching", "if partition in self._observed:", "if True:"),
    )
    yield from guards(
        "sweeper/watch.py",
        contract("sweeping_through_a_failover"),
        ("another server answers", "if self._another(look) or", "if"),
        keyword="",
    )
    yield from guards(
        "sweeper/watch.py",
        unit("watch"),
        ("its own pause", "            self.blink()\n", "            pass\n"),
        ("standing still now", "return False\n        if partition", "pass\n        if partition"),
        ("a grace is for silence alone", "return silence and watched", "return watched"),
        ("a part that was away", "for p in self.unasked:", "for p in ():"),
        ("another's lease", "self._forget(p)\n                continue", "continue"),
        ("a whole grace", "watched >= self._grace_s", "watched > 0"),
        ("an outage", "        self._watched_since.clear()\n", ""),
        prefix="watch, alone",
    )
    yield from guards(
        "sweeper/patrol.py",
        contract("sweeping"),
        ("no gateway, no observing", "return bool(self.gateways)", "return True"),
    )
    yield from guards(
        "sweeper/judge.py",
        contract("sweeping"),
        ("a long pass keeps watch", "            await self._patrol.keep()\n", ""),
        ("who beats again is not held", "self._brake.heard(id_)", "pass"),
        (
            "stopped amid a page",
            "if not self._watch.may_judge_by_time(partition, now, silence=silent):",
            "if False:",
        ),
    )
    yield from guards(
        "sweeper/judge.py",
        contract("sweeping_through_a_failover"),
        (
            "another server is asked to commit",
            "some.append((facts, replace(decision, looked=looked)))",
            "some.append((facts, decision))",
        ),
        (
            "of a warm-up and a drain, too",
            "if not decision.by_time:\n",
            "if not _by_silence(decision):\n",
        ),
        keyword="",
    )
    yield from guards(
        "registry/scripts/snooze.lua",
        contract("snoozing"),
        ("its window", "string.match(r[2] or '', '^P+$')", "true"),
        ("its status", "r[1] == 'ready' and", ""),
        ("its leaving", "not r[3] and", ""),
        ("its drain", "redis.call('HEXISTS', intent, 'stamp') == 0", "true"),
        ("its key", "left > 0 and", ""),
        ("a key of a clock ahead", "left <= timeout and", ""),
        ("its silence", " and at > now then", " then"),
        keyword="not fakeredis",
    )
    yield from guards(
        "sweeper/brake.py",
        unit("brake"),
        (
            "at once",
            "            self._take_hold(now, partitions)\n        if answered",
            "            pass\n        if answered",
        ),
        ("a deadline", "if self.since and now >= self.until:", "if False:"),
        ("an operator's release", "max(self._answered, released)", "self._answered"),
        ("whom the answer covers", "answered = fell <= self._answered", "answered = False"),
        ("and nobody else", "answered = fell <= self._answered", "answered = self._answered > 0"),
        ("who is refused is not lost", "        self._silent.pop(node_id, None)", "        pass"),
        ("who was not noted is counted", "(answered and node_id in self._noted)", "answered"),
    )
    yield from guards(
        "sweeper/repair.py",
        contract("operating"),
        ("the removed are not counted", "if not facts.removed:", "if True:"),
    )
    yield from guards(
        "sweeper/repair.py",
        contract("indexes_and_lists"),
        ("strangers leave", "partition, sorted(places[id_])", "partition, []"),
        ("whom the roll lacks", "for facts in known])\n", "for facts in ()])\n"),
        (
            "they count",
            "for facts in known:\n                _count(facts, counted)",
            "for facts in known:",
        ),
        ("whom no index has", "places.setdefault(id_, set())\n", "pass\n"),
        ("what is right stays", "if found == own:", "if True:"),
    )
    yield from guards(
        "sweeper/rules.py",
        unit("rules"),
        (
            "the grace of a lapsed gateway",
            "return max(timeout, self.limits.gateway_grace_ms)",
            "return timeout",
        ),
        keyword="lapsed_gateway or nothing_leads",
    )
    yield from guards(
        "sweeper/rules.py",
        unit("rules"),
        (
            "a later version's limits are left alone",
            'Limits(**_known(Limits, evidence["limits"]))',
            'Limits(**evidence["limits"])',
        ),
        prefix="evidence",
        keyword="later_version or lapsed_gateway",
    )
