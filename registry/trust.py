"""Whom we believe, and who we say we are, on every connection to the store that speaks TLS.

The client library would make a context of its own for every connection, which reads all the
system's authorities each time (24 ms of CPU) and goes on believing them beside the one that is
named. Here one context serves all connections. Certificates are renewed while processes run: a file
that changed is read again at the next connection.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, TypeVar

from redis.asyncio import SSLConnection
from redis.asyncio.connection import RedisSSLContext

T = TypeVar("T", bound=SSLConnection)


class Trust(RedisSSLContext):
    """One context for all connections. `ca_file` None: the system's authorities are believed."""

    def __init__(
        self,
        ca_file: str | None,
        cert_file: str | None,
        key_file: str | None,
        *,
        check_hostname: bool,
    ) -> None:
        super().__init__(
            keyfile=key_file,
            certfile=cert_file,
            cert_reqs="required",
            ca_certs=ca_file,
            check_hostname=check_hostname,
        )
        self._files = [name for name in (ca_file, cert_file, key_file) if name]
        self._read: list[tuple[int, int, int]] = []

    def get(self) -> ssl.SSLContext:
        """The context. Raises OSError (ssl.SSLError) where a file can't be read or is none."""
        found = [_looks(name) for name in self._files]
        if self.context is None or found != self._read:
            self.context = self._made()
            self._read = found
        return self.context

    def _made(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_certs)
        context.check_hostname = self.check_hostname
        if self.certfile:
            context.load_cert_chain(self.certfile, self.keyfile)
        return context


def by(trust: Trust, kind: type[T]) -> type[T]:
    """Connections of this kind that all use one context."""

    class Trusting(kind):  # type: ignore[valid-type,misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.ssl_context = trust

    return Trusting


def _looks(name: str) -> tuple[int, int, int]:
    """What is another when a file was renewed."""
    found = Path(name).stat()
    return found.st_ino, found.st_mtime_ns, found.st_size
