"""Certificates for a test, made by the openssl of the system."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """An authority, and one key and certificate of 127.0.0.1 signed by it, for either side."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def make(cls, directory: Path) -> Certificates:
        """Makes all three; valid for a day."""
        directory.mkdir(parents=True, exist_ok=True)
        ca, ca_key = directory / "ca.pem", directory / "ca-key.pem"
        cert, key = directory / "cert.pem", directory / "key.pem"
        new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
               "-nodes", "-days", "1")  # fmt: skip
        _openssl(*new, "-subj", "/CN=a test's authority", "-keyout", ca_key, "-out", ca)
        signed = ("-CA", ca, "-CAkey", ca_key, "-addext", "subjectAltName=IP:127.0.0.1",
                  "-addext", "basicConstraints=critical,CA:FALSE")  # fmt: skip
        _openssl(*new, "-subj", "/CN=a store", *signed, "-keyout", key, "-out", cert)
        return cls(ca, cert, key)

    def of_server(self, port: int, *, ask_clients: bool = True) -> list[str]:
        """Arguments of a server that also listens by TLS."""
        return [
            *("--tls-port", str(port), "--tls-cert-file", str(self.cert)),
            *("--tls-key-file", str(self.key), "--tls-ca-cert-file", str(self.ca)),
            *("--tls-auth-clients", "yes" if ask_clients else "no"),
        ]


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
