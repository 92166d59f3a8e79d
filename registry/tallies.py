"""What nodes have in common, counted: what they can do, their cards, programs, platforms. Pure.

A fleet has many nodes and few kinds of them: what a node is called by is worked out once for all
that are alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from registry.capabilities import CORE
from registry.model import Status

_NAMES_MOST = 200


class Tally(Struct, frozen=True):
    """Nodes that have something: all that are not offline, and those that are ready now."""

    nodes: int
    ready: int


class _Gpu(Struct, frozen=True):
    name: Any = ""


class _Hardware(Struct, frozen=True):
    gpus: Sequence[_Gpu] | None = None


class _Registration(Struct, frozen=True):
    """Of a registration as the store keeps it, what is counted."""

    version: Any = "unknown"
    platform: Any = "unknown"
    hardware: _Hardware | None = None


_DECODER = msgspec.msgpack.Decoder(_Registration)
_NOTHING = _Registration()
_Names = tuple[frozenset[str], ...]


class Tallies:
    """Five groups of tallies, and how many nodes were counted: in all, by status, selectable."""

    def __init__(self) -> None:
        self.examined = 0
        self.selectable = 0
        self.statuses: Counter[str] = Counter()
        self._nodes: tuple[Counter[str], ...] = tuple(Counter() for _ in range(5))
        self._ready: tuple[Counter[str], ...] = tuple(Counter() for _ in range(5))

    def add(self, status: str, ready: bool, names: _Names, times: int = 1) -> None:
        """Counts `times` nodes; `ready` are those that may be given work now."""
        self.examined += times
        self.statuses[status] += times
        if ready:
            self.selectable += times
        if status != Status.OFFLINE:
            for nodes, readies, group in zip(self._nodes, self._ready, names, strict=True):
                for name in group:
                    nodes[name] += times
                    if ready:
                        readies[name] += times

    def groups(self) -> list[dict[str, Tally]]:
        """Kinds, languages, cards, program versions and platforms: of each the most frequent
        first, and at most so many."""
        return [
            {name: Tally(n, ready[name]) for name, n in nodes.most_common(_NAMES_MOST)}
            for nodes, ready in zip(self._nodes, self._ready, strict=True)
        ]


def names(capabilities: Iterable[str], packed: bytes) -> _Names:
    """What a node is counted under in each group; `packed` is its registration as stored."""
    told = _DECODER.decode(packed) if packed else _NOTHING
    languages, kinds = set(), set()
    for name in capabilities:
        head = name.partition(":")[0]
        if head in CORE:
            languages.add(name)
            kinds.add(head)
    gpus = told.hardware.gpus if told.hardware else None
    return (
        frozenset(kinds),
        frozenset(languages),
        frozenset(str(gpu.name) for gpu in gpus or ()),
        frozenset((str(told.version),)),
        frozenset((str(told.platform),)),
    )
