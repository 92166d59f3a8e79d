"""One TLS context serves every connection to the store, believes whom it was told to, and is made
anew when a certificate was renewed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from redis.asyncio import SSLConnection

from registry.trust import Trust, by
from tests.support.certificates import Certificates


@pytest.fixture
def made(tmp_path: Path) -> Certificates:
    return Certificates.make(tmp_path / "ours")


@pytest.fixture
def trust(made: Certificates) -> Trust:
    return Trust(str(made.ca), str(made.cert), str(made.key), check_hostname=True)


def test_all_connections_use_one_context(trust: Trust) -> None:
    kind = by(trust, SSLConnection)
    contexts = {id(kind(host="127.0.0.1", port=1).ssl_context.get()) for _ in range(5)}
    assert contexts == {id(trust.get())}


def test_nobody_is_believed_beside_the_authority_that_is_named(trust: Trust) -> None:
    (authority,) = trust.get().get_ca_certs()
    assert "a test's authority" in str(authority["subject"])
    assert trust.get().check_hostname
    assert trust.get().verify_mode.name == "CERT_REQUIRED"


def test_without_a_named_authority_the_systems_are_believed() -> None:
    system = Trust(None, None, None, check_hostname=False)
    assert len(system.get().get_ca_certs()) != 1
    assert not system.get().check_hostname
    assert system.get().verify_mode.name == "CERT_REQUIRED"


@pytest.mark.parametrize("renewed", ["ca", "cert"])
def test_a_renewed_file_is_read_at_the_next_connection(
    trust: Trust, made: Certificates, tmp_path: Path, renewed: str
) -> None:
    before = trust.get()
    others = Certificates.make(tmp_path / "others")
    if renewed == "ca":
        shutil.copy(others.ca, made.ca)
    else:
        shutil.copy(others.cert, made.cert)
        shutil.copy(others.key, made.key)
    assert trust.get() is not before
    assert trust.get() is trust.get()


def test_a_certificate_that_is_half_renewed_is_an_error_and_then_read_whole(
    trust: Trust, made: Certificates, tmp_path: Path
) -> None:
    trust.get()
    others = Certificates.make(tmp_path / "others")
    shutil.copy(others.cert, made.cert)
    for _ in range(2):
        with pytest.raises(OSError, match=r"(?i)key"):
            trust.get()
    shutil.copy(others.key, made.key)
    assert trust.get()
