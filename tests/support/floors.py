"""How many tests each store must at least have passed when the whole suite ran.

A store whose tests silently vanish (a fixture renamed, a skip too many) looks like a passed suite.
Raise the numbers as tests are added.
"""

from __future__ import annotations

FLOORS: dict[str, int] = {
    "fakeredis": 100,
    "valkey": 175,
    "redis": 100,
    "cluster": 100,
}


def below_floor(passed: dict[str, int], excused: set[str]) -> list[str]:
    """A sentence for each store that passed fewer tests than it must.

    `excused` are stores this machine does not have; in CI there are none.
    """
    return [
        f"store {name} passed {passed.get(name, 0)} tests; at least {floor} are expected"
        for name, floor in FLOORS.items()
        if passed.get(name, 0) < floor and name not in excused
    ]
