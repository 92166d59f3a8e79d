"""What a node remembers of itself between runs: one small file, never half written.

A new identity is written beside the old one, made durable, and renamed over it: whoever reads,
after whatever crash, finds the old or the new one. The folder is locked while an agent runs, as
two agents with one identity would throw each other off the server for ever.

The file is bound to its machine by a fingerprint: on a copied disk image it is not believed.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

from muster.agent.system import same_machine

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

FILE_NAME = "identity.json"
LOCK_NAME = "agent.lock"


class Identity(Struct, frozen=True, kw_only=True):
    """Who the server said this node is; `fingerprint` is the machine it was said to."""

    node_id: str
    node_token: str | None = None
    fingerprint: str = ""


class IdentityError(Exception):
    """Base of what may be wrong with a saved identity; the text says what."""


class UnreadableIdentity(IdentityError):  # noqa: N818 (named for what it says)
    """The file is not an identity."""


class ForeignIdentity(IdentityError):  # noqa: N818
    """The file was written on another machine."""

    def __init__(self, path: Path, node_id: str) -> None:
        super().__init__(f"{path} was written on another machine")
        self.node_id = node_id


class StateInUse(IdentityError):  # noqa: N818
    """Another agent runs with this folder."""


class IdentityFile:
    """The saved identity in a state directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / FILE_NAME
        self._new = directory / (FILE_NAME + ".new")
        self._lock: IO[bytes] | None = None

    def load(self, fingerprint: str) -> Identity | None:
        """The identity of this machine, or None if there is none yet.

        Raises ForeignIdentity, UnreadableIdentity or OSError; the caller decides what to clear.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            identity = msgspec.json.decode(data, type=Identity)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnreadableIdentity(f"{self.path}: {error}") from None
        if not same_machine(identity.fingerprint, fingerprint):
            raise ForeignIdentity(self.path, identity.node_id)
        return identity

    def save(self, identity: Identity) -> None:
        """Replaces what was saved; on return it survives a power cut. Raises OSError."""
        self._make_directory()
        with suppress(FileNotFoundError):
            self._new.unlink()  # of a writer that was killed; its mode is not to be trusted
        descriptor = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(identity)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._new.replace(self.path)
        self._sync_directory()

    def clear(self) -> None:
        """Forgets the identity, durably. Raises OSError."""
        with suppress(FileNotFoundError):
            self.path.unlink()
            self._sync_directory()

    def lock(self) -> None:
        """Claims the folder until `unlock` or the end of this process; again does nothing.

        Raises StateInUse or OSError.
        """
        if self._lock is not None:
            return
        self._make_directory()
        file = (self.directory / LOCK_NAME).open("ab")
        try:
            if sys.platform == "win32":
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise StateInUse(f"another agent is using {self.directory}") from error
        self._lock = file

    def unlock(self) -> None:
        """Gives the folder up."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _make_directory(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _sync_directory(self) -> None:
        """Makes the rename itself durable. Windows has no such call and does so by itself."""
        if sys.platform != "win32":
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
