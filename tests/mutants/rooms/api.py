"""What /v1 says to whom."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, guards

_TESTS = tuple(
    f"tests/api/test_{name}.py" for name in ("roles", "selecting", "operating", "watching")
)


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "gateway/api/asking.py",
        _TESTS,
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
        prefix="api asking",
    )
    yield from guards(
        "gateway/api/nodes.py",
        _TESTS,
        ("an owner's nodes", "return call.who.owner is None or", "return True or"),
        ("who took it off", "if call.who.owner is None else None", "if True else None"),
        prefix="api nodes",
    )
    yield from guards(
        "gateway/api/selecting.py",
        _TESTS,
        ("an owner's holds", "if call.who.owner is not None:", "if False:"),
        ("the longest hold", "if body.hold_ms > most:", "if False:"),
        ("whose request", "asker=call.who.name,", ""),
        prefix="api selecting",
    )
    yield from guards(
        "gateway/api/operating.py",
        _TESTS,
        (
            "an owner's acts",
            "if call.who.owner is not None:\n        await seen",
            "if False:\n        await seen",
        ),
        ("the label owner", "if who.owner is not None and asking.OWNER in changes:", "if False:"),
        ("a store that is away", '"UNAVAILABLE" if away else said[', "said["),
        ("nothing to resume", "await registry.resume(node_id, who, why) or None", "True"),
        ("what is no label", "        check(changes)\n", "        pass\n"),
        prefix="api operating",
    )
    yield from guards(
        "gateway/api/questions.py",
        _TESTS,
        ("all means all", "if self.filter in (UNSET, FilterBody()) and not self.all:", "if False:"),
        ("empty ceilings", "if self.ceilings == CeilingsAsked():", "if False:"),
        prefix="api questions",
    )
    yield from guards(
        "gateway/api/answers.py",
        _TESTS,
        ("addresses", "detail.address if for_admin else UNSET", "detail.address"),
        (
            "addresses in events",
            "event_shown(event, for_admin=for_admin)",
            "event_shown(event, for_admin=True)",
        ),
        ("ids of holds", "hold.hold_id if for_admin else UNSET", "hold.hold_id"),
        prefix="api answers",
    )
    yield from guards(
        "gateway/api/shortfalls.py",
        _TESTS,
        ("once a second", "if known is None or self._stale(known):", "if True:"),
        prefix="api shortfalls",
    )
