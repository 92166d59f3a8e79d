"""The stores a run may stand on, with what can happen to them.

Gateways and sweepers come to each as the users that are shipped in `deploy/store/`. What changes a
store waits for it and blocks: worlds call it in a thread.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from registry.embedded import EmbeddedStore
from tests.support.certificates import Certificates
from tests.support.clusters import ReplicatedCluster
from tests.support.secure import secure_kind, settings_by
from tests.support.sentinels import SentinelStore
from tests.support.stores import debian_redis
from tests.support.users import BOTH, as_user, with_users


class StoreUnderTest(Protocol):
    """What every kind has. `port` is where a proxy can be put before it; 0: it can't. `settings`
    are what processes need to reach it, beside the URL."""

    @property
    def url(self) -> str: ...
    @property
    def settings(self) -> dict[str, str]: ...
    @property
    def port(self) -> int: ...
    def kill(self) -> None:
        """Ends everything, as a power cut would."""
        ...


class Standalone:
    """One server; by TLS alone if it is `secure` (Debian's server then: the other has none)."""

    def __init__(self, directory: Path, extra: Sequence[str] = (), *, secure: bool = False) -> None:
        self._directory = directory
        self._extra = (*extra, *with_users(directory))
        self._kind: type[EmbeddedStore] = EmbeddedStore
        self._binary: str | None = None
        self.settings: dict[str, str] = {}
        if secure:
            made = Certificates.make(directory.with_name(f"{directory.name}-certificates"))
            self._kind, self._binary = secure_kind(made), debian_redis()
            self.settings = settings_by(made)
        self.server = self._start()

    def _start(self, port: int = 0) -> EmbeddedStore:
        return self._kind.start(self._directory, port, self._extra, server=self._binary)

    @property
    def url(self) -> str:
        url = self.server.url
        return as_user(url.replace("redis", "rediss", 1) if self.settings else url, BOTH)

    @property
    def port(self) -> int:
        return self.server.port

    def restart(self, *, empty: bool = False, killed: bool = False) -> None:
        """Ends it in order, or as if `killed`, and starts it again on its port, with its data or
        `empty`."""
        port = self.server.port
        if killed:
            self.server.kill()
        else:
            self.server.stop()
        if empty:
            shutil.rmtree(self._directory)
        self.server = self._start(port)

    def kill(self) -> None:
        self.server.resume()
        self.server.kill()


class BehindSentinel:
    """A primary and some replicas behind three sentinels; `clock_offset_s` is how far the clock of
    the replica is off that is promoted first. As docs/operations.md has it, a primary without a
    replica takes no writes, unless `alone`: two failovers in a row may leave two primaries for a
    while, and what the one acknowledges that must give way is lost."""

    port = 0
    settings: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        directory: Path,
        clock_offset_s: float = 0.0,
        *,
        alone: bool = False,
        replicas: int = 2,
    ) -> None:
        self.store = SentinelStore.start(
            directory,
            replicas=replicas,
            extra=[*with_users(directory), *(() if alone else ("--min-replicas-to-write", "1"))],
            clock_offsets_s={1: clock_offset_s} if clock_offset_s else None,
        )

    @property
    def url(self) -> str:
        return as_user(self.store.url, BOTH)

    def kill(self) -> None:
        self.store.kill()


class Clustered:
    """Three primaries, each with a replica."""

    port = 0
    settings: ClassVar[dict[str, str]] = {}

    def __init__(self, directory: Path) -> None:
        self.store = ReplicatedCluster.start(directory, extra=with_users(directory))

    @property
    def url(self) -> str:
        return as_user(self.store.url, BOTH)

    def kill(self) -> None:
        self.store.kill()
