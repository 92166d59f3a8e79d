"""Who the node is, as far as the server has said: in memory, and on disk for the next run.

A disk that can't be read or written costs the memory, never the node: what is wrong is noted for
its owner.
"""

from __future__ import annotations

from collections.abc import Callable

from muster.agent.identity import ForeignIdentity, Identity, IdentityFile, UnreadableIdentity
from muster.agent.status import AgentStatus
from muster.agent.trouble import Note


class Memory:
    """The identity of one session."""

    def __init__(self, file: IdentityFile, fingerprint: str, status: AgentStatus) -> None:
        self._file = file
        self._fingerprint = fingerprint
        self._status = status
        self._may_forget = True
        self.known: Identity | None = None

    def recall(self) -> None:
        """Claims the folder, and reads what an earlier run left. Raises StateInUse."""
        self._try(self._file.lock)
        self._try(self._load)
        if self.known is not None:
            self._status.change(node_id=self.known.node_id)

    def release(self) -> None:
        """Gives the folder up."""
        self._file.unlock()

    def remember(self, node_id: str, node_token: str | None) -> None:
        """The server's word. A token it did not repeat is kept, if it belongs to this id."""
        if node_token is None and self.known is not None and self.known.node_id == node_id:
            node_token = self.known.node_token
        identity = Identity(node_id=node_id, node_token=node_token, fingerprint=self._fingerprint)
        if identity != self.known:
            self.known = identity
            if self._try(lambda: self._file.save(identity)):
                self._status.withdraw(Note.STATE_NOT_WRITABLE)

    def forget(self) -> bool:
        """Clears the identity; False if that was done before and did not help."""
        known = self.known
        if known is None or not self._may_forget:
            return False
        self._may_forget = False
        self.known = None
        self._status.change(node_id=None)
        self._status.note(Note.IDENTITY_CLEARED, node_id=known.node_id)
        self._try(self._file.clear)
        return True

    def lasted(self) -> None:
        """The server kept the node: a later conflict is another one."""
        self._may_forget = True

    def _load(self) -> None:
        try:
            self.known = self._file.load(self._fingerprint)
        except ForeignIdentity as foreign:
            self._status.note(Note.IDENTITY_OF_ANOTHER_MACHINE, node_id=foreign.node_id)
            self._file.clear()
        except UnreadableIdentity as error:
            self._status.note(Note.IDENTITY_UNREADABLE, detail=str(error))

    def _try(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except OSError as error:
            self._status.note(Note.STATE_NOT_WRITABLE, detail=str(error))
            return False
        return True
