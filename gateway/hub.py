"""Node id → live connection of this process: the document's `NodeConnectionManager`.

An entry stands before the registration is written, so that no change falls between; a connection
that lost its place to another can't take the other's away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Holder(Protocol):
    """What the hub keeps: a conversation with a node, and the session it is in."""

    @property
    def sid(self) -> str: ...


C = TypeVar("C", bound=Holder)


class NodeConnectionManager(Generic[C]):
    """The live connections of this gateway by node id."""

    def __init__(self) -> None:
        self._by_id: dict[str, C] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[C]:
        return iter(list(self._by_id.values()))

    def put(self, node_id: str, connection: C) -> C | None:
        """Enters a connection; the one that stood there before, if it is another."""
        former = self._by_id.get(node_id)
        self._by_id[node_id] = connection
        return former if former is not connection else None

    def get(self, node_id: str, sid: str) -> C | None:
        """The connection of this id, only if it is in this session."""
        connection = self._by_id.get(node_id)
        return connection if connection is not None and connection.sid == sid else None

    def at(self, node_id: str) -> C | None:
        """The connection of this id, whatever its session."""
        return self._by_id.get(node_id)

    def remove(self, node_id: str, connection: C) -> bool:
        """Takes a connection out, only if it still is the one; a late close changes nothing."""
        if self._by_id.get(node_id) is not connection:
            return False
        del self._by_id[node_id]
        return True
