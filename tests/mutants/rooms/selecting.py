"""Nobody is selected who does not fit."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, contract, guards, unit


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "registry/subject.py",
        contract("selecting", "holding"),
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
    )
    yield from guards(
        "registry/subject.py",
        contract("operating"),
        ("removed, not worded yet", 'return worded or self.leaving == "remove"', "return worded"),
    )
    yield from guards(
        "registry/requirement.py",
        contract("selecting", "indexes_and_lists"),
        ("capacity", "elif s.load >= s.capacity:", "elif False:"),
        ("public pool", "if self.public and not s.public:", "if False:"),
        ("capabilities", "if name not in s.capabilities:", "if False:"),
        ("labels", 'if found == (test.test == "not"):', "if False:"),
        ("memory", "s.gpu_memory_gb < self.min_gpu_memory_gb:", "False:"),
        ("ceilings", "if value is not None and value > limit:", "if False:"),
        ("avoided nodes", "if s.node_id in self.avoid:", "if False:"),
    )
    yield from guards(
        "registry/selecting.py",
        contract("selecting", "holding"),
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
        ("the plan is noted before the hold", "elif await self._noted(subject.node_id):", "else:"),
        (
            "a hold on a node gone bad is given back",
            "            if not kept:",
            "            if False:",
        ),
        ("a changed node is judged again", 'if held == "changed" else None', "if False else None"),
        ("judged again, not only read", "if not self._fits(subject, own=own):", "if False:"),
    )
    yield from guards(
        "registry/scripts/subjects.lua",
        contract("selecting", "guards"),
        ("full nodes are not sent", "return left <= 0 or left <=", "return false and left <="),
    )
    yield from guards(
        "registry/scripts/tally.lua",
        contract("selecting"),
        ("the leaving are not counted as available", "or leave or", "or"),
        (
            "the drained are not",
            "'stamp') or '') ~= '' then",
            "'stamp') or '') ~= '' and false then",
        ),
        ("the silent are not", "left > 0 and left <= timeout", "left <= timeout"),
        ("a skewed key is none", "left > 0 and left <= timeout", "left > 0"),
        ("the removed are not counted", "and not removed(r[1], r[2], r[4]) then", "then"),
    )
    yield from guards(
        "registry/tallies.py",
        unit("tallies"),
        ("of the offline only the status counts", "if status != Status.OFFLINE:", "if True:"),
    )
    yield from guards(
        "registry/looks.py",
        unit("looks"),
        ("no answer is older than its question", "if asked.done > before and", "if"),
    )
    yield from guards(
        "registry/surveying.py",
        contract("selecting"),
        (
            "an owner's few are not sampled",
            "if whole or total <= most:",
            "if total <= most:",
        ),
        ("named nodes only", "if wanted.ids is None:", "if True:"),
    )
