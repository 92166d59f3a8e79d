"""The store by TLS, as the users that are shipped: standalone, behind Sentinel and as a Cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from registry.embedded import EmbeddedStore
from registry.errors import StoreUnavailable
from registry.keys import PARTITIONS
from registry.opening import Access
from registry.ports import free_port
from registry.registry import Registry
from registry.settings import RegistrySettings, SettingsError
from registry.store import Store
from tests.integration.conftest import QUICK
from tests.support.certificates import Certificates
from tests.support.fleet import until
from tests.support.launching import launcher
from tests.support.node import Node, selected
from tests.support.processes import ProcessesFactory
from tests.support.stores import debian_redis
from tests.support.users import BOTH, PASSWORD, as_user, user_file, users


@dataclass(frozen=True)
class Secure:
    """A server with users that listens by TLS and asks who comes for a certificate."""

    store: EmbeddedStore
    port: int
    certificates: Certificates

    @property
    def url(self) -> str:
        return as_user(f"rediss://127.0.0.1:{self.port}/0", BOTH)

    @property
    def access(self) -> Access:
        return access_by(self.certificates)


def access_by(made: Certificates) -> Access:
    return Access(ca_file=str(made.ca), cert_file=str(made.cert), key_file=str(made.key))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secure]:
    directory, port = tmp_path_factory.mktemp("secure"), free_port()
    extra = ["--aclfile", str(user_file(directory)), *certificates.of_server(port)]
    store = EmbeddedStore.start(directory, extra=extra, server=debian_redis())
    yield Secure(store, port, certificates)
    store.kill()


async def test_a_machine_becomes_ready_where_all_speak_tls_as_their_own_users(
    secure: Secure, processes: ProcessesFactory
) -> None:
    made = processes(
        secure.url,
        **QUICK,
        redis_ca_file=str(secure.certificates.ca),
        redis_cert_file=str(secure.certificates.cert),
        redis_key_file=str(secure.certificates.key),
    )
    secure.store.command("ACL", "LOG", "RESET")
    gateway, _ = await made.gateway(), await made.sweeper()
    async with Node(gateway.ws_url) as node:
        assert node.node_id is None
        await node.become_ready()
        assert await selected(gateway.url) == [node.node_id]
        clients = str(secure.store.command("CLIENT", "LIST"))
        assert "user=muster-gateway" in clients and "user=muster-sweeper" in clients
    assert secure.store.command("ACL", "LOG") == []


async def refusal(url: str, access: Access, timeout_s: float = 20.0) -> str:
    store = await Store.connect(url, timeout_s=timeout_s, access=access)
    try:
        with pytest.raises(StoreUnavailable) as told:
            await store.ping()
    finally:
        await store.close()
    return str(told.value)


async def test_who_can_not_speak_to_the_store_is_told_which_setting_is_wrong(
    secure: Secure, tmp_path: Path
) -> None:
    others = Certificates.make(tmp_path)
    in_the_clear = secure.url.replace("rediss", "redis", 1)
    by_name = secure.url.replace("127.0.0.1", "localhost")
    to_a_plain_port = secure.url.replace(str(secure.port), str(secure.store.port))
    ours, theirs = secure.access, access_by(others)
    mixed = replace(ours, ca_file=theirs.ca_file)
    assert "MUSTER_REDIS_CA_FILE" in await refusal(secure.url, mixed)
    assert "MUSTER_REDIS_CA_FILE" in await refusal(by_name, ours)
    assert "must not say rediss" in await refusal(to_a_plain_port, ours, timeout_s=1.0)
    assert "must begin with rediss" in await refusal(in_the_clear, Access())
    bare = replace(ours, cert_file=None, key_file=None)
    assert "MUSTER_REDIS_CERT_FILE" in await refusal(secure.url, bare)


async def test_the_hosts_name_is_not_compared_where_the_settings_say_so(secure: Secure) -> None:
    url = secure.url.replace("127.0.0.1", "localhost")
    store = await Store.connect(url, access=replace(secure.access, check_hostname=False))
    await store.ping()
    await store.close()


async def use(url: str, settings: RegistrySettings) -> None:
    """Scripts in every partition, and a subscription that hears itself."""
    registry = await Registry.connect(replace(settings, redis_url=url))
    try:
        await registry.patrol(list(range(PARTITIONS)), "me", observe=False, limit=1)
        assert await registry.store.info()
        async with registry.subscription(registry.keys.bell_channels([0, 40]), watchdog_s=0.2) as s:

            async def heard() -> bool:
                return s.healthy

            await until(heard, "the subscription hears itself")
    finally:
        await registry.close()


def settings_by(url: str, made: Certificates, **changes: object) -> RegistrySettings:
    plain = RegistrySettings(
        redis_url=url,
        redis_ca_file=str(made.ca),
        redis_cert_file=str(made.cert),
        redis_key_file=str(made.key),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


async def test_sentinels_are_asked_by_tls_as_a_user_of_their_own(
    secure: Secure, tmp_path: Path
) -> None:
    port = free_port()
    made = users(file="sentinel-users.acl")
    made["default"] = ["on", "nopass", "~*", "&*", "+@all"]
    (tmp_path / "users.acl").write_text(
        "".join(f"user {name} {' '.join(rules)}\n" for name, rules in made.items())
    )
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"tls-replication yes\n"
        f"sentinel monitor muster 127.0.0.1 {secure.port} 1\n"
        f"sentinel auth-user muster sentinel\nsentinel auth-pass muster {PASSWORD}\n"
        f"aclfile {tmp_path / 'users.acl'}\n"
    )
    binary = launcher(tmp_path / "launcher", str(config), "--sentinel", server=debian_redis())
    sentinel = EmbeddedStore.start(
        tmp_path / "sentinel", extra=secure.certificates.of_server(port), server=binary
    )
    try:
        url = as_user(f"rediss+sentinel://127.0.0.1:{port}/muster/0", BOTH)
        settings = settings_by(url, secure.certificates)
        known = {"redis_sentinel_user": "muster", "redis_sentinel_password": PASSWORD}
        await use(url, replace(settings, **known))  # type: ignore[arg-type]
        sentinel.command("ACL", "SETUSER", "default", "off")
        with pytest.raises(StoreUnavailable):
            await use(url, settings)
    finally:
        sentinel.kill()


def test_settings_of_tls_that_can_have_no_effect_are_refused(certificates: Certificates) -> None:
    with pytest.raises(SettingsError, match=r"MUSTER_REDIS_CA_FILE.*rediss"):
        RegistrySettings(redis_ca_file=str(certificates.ca))
    with pytest.raises(SettingsError, match=r"MUSTER_REDIS_CA_FILE.*can be read"):
        RegistrySettings(redis_url="rediss://x", redis_ca_file="/nowhere/ca.pem")
    with pytest.raises(SettingsError, match="MUSTER_REDIS_KEY_FILE"):
        RegistrySettings(redis_url="rediss://x", redis_cert_file=str(certificates.cert))
