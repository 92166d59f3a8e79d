"""Servers that speak TLS and nothing else, and a Cluster of them, as the users that are shipped."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.embedded import EmbeddedStore, ask_over
from registry.opening import Access
from tests.support.certificates import Certificates
from tests.support.clusters import ReplicatedCluster
from tests.support.stores import debian_redis
from tests.support.users import BOTH, as_user, user_file


def access_by(made: Certificates) -> Access:
    """Who shows this certificate and believes its authority."""
    return Access(ca_file=str(made.ca), cert_file=str(made.cert), key_file=str(made.key))


def settings_by(made: Certificates) -> dict[str, str]:
    """The same for a process or its settings."""
    return {
        "redis_ca_file": str(made.ca),
        "redis_cert_file": str(made.cert),
        "redis_key_file": str(made.key),
    }


def secure_kind(made: Certificates) -> type[EmbeddedStore]:
    """Servers whose only door speaks TLS and asks who comes for a certificate."""

    class SecureStore(EmbeddedStore):
        @classmethod
        def _launch(
            cls, binary: Path, directory: Path, bind: str, port: int, extra: Sequence[str]
        ) -> EmbeddedStore:
            # Of two words about one thing a server takes the last: no other port is open.
            secured = (*extra, "--port", "0", *made.of_server(port))
            return super()._launch(binary, directory, bind, port, secured)

        def command(self, *words: str) -> Any:
            context = ssl.create_default_context(cafile=made.ca)
            context.load_cert_chain(made.cert, made.key)
            with (
                socket.create_connection((self._host, self.port), timeout=5) as plain,
                context.wrap_socket(plain, server_hostname=self._host) as secured,
            ):
                return ask_over(secured, *words)

    return SecureStore


@dataclass(frozen=True)
class SecureCluster:
    """Debian's servers as a Cluster: its clients, its bus and its replicas all by TLS."""

    cluster: ReplicatedCluster
    certificates: Certificates

    @classmethod
    def start(cls, directory: Path, *, replicas: int = 0) -> SecureCluster:
        """Three primaries with so many replicas each; waits until all agree."""
        made = Certificates.make(directory / "certificates")
        extra = [
            *("--aclfile", str(user_file(directory))),
            *("--tls-cluster", "yes", "--tls-replication", "yes"),
        ]
        cluster = ReplicatedCluster.start(
            directory,
            replicas=replicas,
            extra=extra,
            server=debian_redis(),
            kind=secure_kind(made),
        )
        return cls(cluster, made)

    @property
    def url(self) -> str:
        """Where a client finds it, as the user of both processes."""
        return as_user(self.cluster.url.replace("redis", "rediss", 1), BOTH)

    @property
    def access(self) -> Access:
        """What else a client needs."""
        return access_by(self.certificates)

    @property
    def settings(self) -> dict[str, str]:
        """The same for a process."""
        return settings_by(self.certificates)

    def kill(self) -> None:
        """Ends everything as a power cut would."""
        self.cluster.kill()
