"""Who the node is, as far as the server has said: in memory, and on disk for the next run.

A disk that can't be read or written costs the memory, never the node: what is wrong is noted for
its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from muster.agent.identity import (
    UNREADABLE,
    ForeignIdentity,
    Identity,
    IdentityFile,
    UnreadableIdentity,
    place_of,
)
from muster.agent.status import AgentStatus
from muster.agent.system import together
from muster.agent.trouble import Note


class Memory:
    """The identity of one session, in the fleet of these `servers`."""

    def __init__(
        self, file: IdentityFile, fingerprint: str, status: AgentStatus, servers: Sequence[str]
    ) -> None:
        self._file = file
        self._servers = servers
        self._fingerprint = fingerprint
        self._status = status
        self._may_forget = True
        self.known: Identity | None = None

    def recall(self) -> None:
        """Claims the folder, and reads what an earlier run left. Raises StateInUse."""
        self._try(self._file.lock)
        self._file.choose(self._servers, simulated=self._status.simulated)
        self._try(self._load)
        if self.known is not None:
            self._status.change(node_id=self.known.node_id)

    def release(self) -> None:
        """Gives the folder up."""
        self._file.unlock()

    def remember(self, node_id: str, node_token: str | None) -> None:
        """The server's word. A token it did not repeat is kept, if it belongs to this id."""
        known = self.known
        if node_token is None and known is not None and known.node_id == node_id:
            node_token = known.node_token
        earlier = known.servers if known is not None else ()
        identity = Identity(
            node_id=node_id,
            node_token=node_token,
            fingerprint=together(known.fingerprint if known else "", self._fingerprint),
            servers=tuple(dict.fromkeys((*map(place_of, self._servers), *earlier))),
        )
        if identity != known:
            if known is not None and known.node_id != node_id:
                self._set_aside(known.node_id)
            self.known = identity
            if self._try(lambda: self._file.save(identity)):
                self._status.withdraw(Note.STATE_NOT_WRITABLE)

    def forget(self) -> bool:
        """Sets the identity aside; False if that was done before and did not help."""
        known = self.known
        if known is None or not self._may_forget:
            return False
        self._may_forget = False
        self.known = None
        self._status.change(node_id=None)
        self._status.note(Note.IDENTITY_CLEARED, node_id=known.node_id)
        self._set_aside(known.node_id)
        return True

    def lasted(self) -> None:
        """The server kept the node: a later conflict is another one."""
        self._may_forget = True

    def _load(self) -> None:
        try:
            self.known = self._file.load(self._fingerprint)
        except ForeignIdentity as foreign:
            self._status.note(Note.IDENTITY_OF_ANOTHER_MACHINE, node_id=foreign.node_id)
            self._set_aside(foreign.node_id)
        except UnreadableIdentity as error:
            self._status.note(Note.IDENTITY_UNREADABLE, detail=str(error))
            self._set_aside(UNREADABLE)

    def _set_aside(self, name: str) -> None:
        self._try(lambda: self._file.set_aside(name))

    def _try(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except OSError as error:
            self._status.note(Note.STATE_NOT_WRITABLE, detail=str(error))
            return False
        return True
