"""https and wss: the certificate, which may change while the gateway runs.

A server keeps the context it was started with. So each handshake is handed the newest one: the
listening context asks for it by the callback OpenSSL has for choosing a certificate, which is also
called by clients that name no host. Open connections keep what they began with.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence

from gateway.clock import monotonic
from gateway.reloading import Reloading
from registry.settings import SettingsError


class Certificates:
    """A certificate chain and its key, and the authority that clients' certificates must be from,
    if they are asked for one. Raises SettingsError when made if they can't be used."""

    def __init__(
        self,
        cert_file: str,
        key_file: str,
        client_ca_file: str | None = None,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._chain = (cert_file, key_file)
        self._client_ca = client_ca_file
        self._files = (*self._chain, client_ca_file) if client_ca_file else self._chain
        try:
            self._contexts = Reloading("tls_certificate", self._files, self._load, now)
        except FileNotFoundError as error:
            of = {key_file: "KEY", client_ca_file: "CLIENT_CA"}
            raise SettingsError(
                f"MUSTER_TLS_{of.get(error.filename, 'CERT')}_FILE",
                "a PEM file",
                f"there is no {error.filename}",
            ) from error
        except (OSError, ValueError) as error:
            raise SettingsError(
                "MUSTER_TLS_CERT_FILE",
                "a PEM certificate chain that belongs to the PEM key, which has no passphrase, in "
                "MUSTER_TLS_KEY_FILE",
                str(error),
            ) from error

    def context(self) -> ssl.SSLContext:
        """What a server listens with."""
        listening = self._load(())
        listening.sni_callback = self._choose
        return listening

    def _choose(self, handshake: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        handshake.context = self._contexts.current()

    def _load(self, _contents: Sequence[bytes]) -> ssl.SSLContext:
        """Read once more by OpenSSL, which takes paths. Newer than what was compared does no harm:
        it differs again at the next look."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._chain, password=_no_passphrase)
        if self._client_ca:
            # Asked of everybody, as it is not known yet what they want; nodes must have one.
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(self._client_ca)
        return context


def _no_passphrase() -> str:
    """Without this OpenSSL would ask at the terminal."""
    raise ValueError("the key has a passphrase")
