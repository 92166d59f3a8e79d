"""What a node remembers of itself between runs: one small file, never half written.

A new identity is written beside the old one, made durable, and renamed over it: whoever reads,
after whatever crash, finds the old or the new one. The folder is locked while an agent runs, as
two agents with one identity would throw each other off the server for ever.

The file is bound to its machine by a fingerprint: on a copied disk image it is not believed. And
it is bound to its fleet: the servers that were given together, now or earlier. Another fleet, and
what only pretends to have cards, have files of their own. No identity is ever deleted: one that is
to be forgotten is renamed, so that a person can bring it back.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from muster.agent.system import same_machine

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

FILE_NAME = "identity.json"
SIMULATED_NAME = "simulated.json"
UNREADABLE = "unreadable"
NAME_MOST = 100
LOCK_NAME = "agent.lock"

_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
"""What does not go into the name of a copy."""


class Identity(Struct, frozen=True, kw_only=True):
    """Who the server said this node is; `fingerprint` is the machine it was said to.

    `servers` are the fleet's, as `place_of` writes them; none: saved before fleets were told apart.
    """

    node_id: str
    node_token: str | None = None
    fingerprint: str = ""
    servers: tuple[str, ...] = ()


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
    """The saved identity in a state directory; of which fleet, if there are several: `choose`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / FILE_NAME
        self._lock: IO[bytes] | None = None

    def choose(self, servers: Sequence[str], *, simulated: bool = False) -> None:
        """From now on `path` is the file of the fleet with these servers.

        That is the file that knows one of them, the first of them first. Where none does, a file
        that is bound to no fleet yet is taken over; else it is a new one.
        """
        first = self.directory / (SIMULATED_NAME if simulated else FILE_NAME)
        known = {path: _servers_in(path) for path in (first, *self._further(first))}
        places = [place_of(server) for server in servers]
        for place in places:
            for path, theirs in known.items():
                if place in theirs:
                    self.path = path
                    return
        if known[first] and places:
            digest = hashlib.sha256(places[0].encode()).hexdigest()[:12]
            self.path = first.with_name(f"{first.stem}-{digest}.json")
        else:
            self.path = first

    def saved(self) -> tuple[Path, ...]:
        """Every file with an identity, of whatever fleet."""
        firsts = (self.directory / FILE_NAME, self.directory / SIMULATED_NAME)
        paths = [path for first in firsts for path in (first, *self._further(first))]
        return tuple(path for path in paths if path.exists())

    def _further(self, first: Path) -> list[Path]:
        return sorted(self.directory.glob(f"{first.stem}-*.json"))

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
        new = self.path.with_name(self.path.name + ".new")
        with suppress(FileNotFoundError):
            new.unlink()  # of a writer that was killed; its mode is not to be trusted
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(identity)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
        self._sync_directory()

    def set_aside(self, name: str) -> Path:
        """Forgets the identity, durably: the file goes on as a copy with `name` at its end, which
        nobody reads. The copy's path. Raises OSError."""
        copy = self.path.with_name(f"{self.path.name}.{_UNFIT.sub('_', name)[:NAME_MOST]}")
        with suppress(FileNotFoundError):
            self.path.replace(copy)
            self._sync_directory()
        return copy

    def clear(self) -> None:
        """Forgets the identities of all fleets, each kept as a copy. Raises OSError."""
        for path in self.saved():
            try:
                name = msgspec.json.decode(path.read_bytes(), type=Identity).node_id
            except (msgspec.DecodeError, UnicodeDecodeError):
                name = UNREADABLE
            self.path = path
            self.set_aside(name)

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


def place_of(server: str) -> str:
    """What a fleet's servers are known by: host, port and path of the URL, no secrets. A server
    that begins to encrypt stays the same."""
    parts = urlsplit(server)
    return parts.netloc.rpartition("@")[2].lower() + parts.path


def _servers_in(path: Path) -> tuple[str, ...]:
    """The servers a file is bound to; none where there is no file, or none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Identity).servers
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return ()
