"""Session → live connection of this process: the document's `NodeConnectionManager`.

An entry stands before the registration is written, so that no change falls between. Entries go by
session id, which is random and given once: a newcomer whose registration fails has displaced
nobody, and the late close of an old socket can't touch its successor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Connection(Protocol):
    """What the hub keeps: a conversation with one node."""

    @property
    def node_id(self) -> str | None: ...


C = TypeVar("C", bound=Connection)


class NodeConnectionManager(Generic[C]):
    """The live connections of this gateway."""

    def __init__(self) -> None:
        self._by_sid: dict[str, C] = {}

    def __len__(self) -> int:
        return len(self._by_sid)

    def __iter__(self) -> Iterator[C]:
        return iter(list(self._by_sid.values()))

    def put(self, sid: str, connection: C) -> None:
        """Enters a connection under the session it is about to begin."""
        self._by_sid[sid] = connection

    def get(self, node_id: str, sid: str) -> C | None:
        """The connection in this session, only if it is that node's."""
        connection = self._by_sid.get(sid)
        return connection if connection is not None and connection.node_id == node_id else None

    def remove(self, sid: str, connection: C) -> bool:
        """Takes a connection out, only if it still is the one in that session."""
        if self._by_sid.get(sid) is not connection:
            return False
        del self._by_sid[sid]
        return True
