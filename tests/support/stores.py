"""The stores the suite runs on: each test that asks for `store` runs once on every one of them.

Servers are real processes, started when first needed, one set for each worker of the test run, and
emptied before each test. Whoever asks them is one of the users that are shipped in `deploy/store/`.

`TEST_STORES` names others to run on, with spaces between them: also `secure-cluster`, Debian's
servers as a Cluster that speaks TLS and nothing else.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import fakeredis
import pytest
import pytest_asyncio

from registry.embedded import EmbeddedCluster, EmbeddedStore
from registry.opening import PLAIN, Access
from registry.store import Store
from tests.support.users import BOTH, as_user, user_file

BACKENDS = ("fakeredis", "valkey", "redis", "cluster")
SECURE_CLUSTER = "secure-cluster"
_WANTED = tuple(os.environ.get("TEST_STORES", "").split()) or BACKENDS


@dataclass(frozen=True)
class Backend:
    """One store to test on. fakeredis has neither a URL nor a server."""

    name: str
    servers: tuple[EmbeddedStore, ...] = ()
    url: str | None = None
    access: Access = PLAIN

    async def connect(self, timeout_s: float = 30.0) -> Store:
        """A connection of its own to this store; the caller closes it."""
        if self.url is None:
            client = fakeredis.FakeAsyncRedis(server_type="valkey")
            return Store(client, single=True, genuine=False)
        return await Store.connect(self.url, timeout_s=timeout_s, access=self.access)

    def empty(self) -> None:
        """Forget everything."""
        for server in self.servers:
            server.command("FLUSHALL")


class Stores:
    """Starts each store when first asked for and keeps it; a dead one is started anew."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._backends: dict[str, Backend] = {}
        self._started = 0

    def backend(self, name: str) -> Backend:
        """The store of this name, running."""
        known = self._backends.get(name)
        if known and all(server.running for server in known.servers):
            return known
        if known:
            self._stop(known)
        made = self._start(name)
        self._backends[name] = made
        return made

    def stop(self) -> None:
        """End all servers."""
        for backend in self._backends.values():
            self._stop(backend)
        self._backends.clear()

    def _start(self, name: str) -> Backend:
        self._started += 1
        directory = self._directory / f"{name}-{self._started}"
        if name == "fakeredis":
            return Backend(name)
        if name == SECURE_CLUSTER:
            return _secure_cluster(directory)
        users = ["--aclfile", str(user_file(directory))]
        if name == "cluster":
            cluster = EmbeddedCluster.start(directory, extra=users)
            return Backend(name, tuple(cluster.stores), as_user(cluster.url, BOTH))
        server = None if name == "valkey" else debian_redis()
        store = EmbeddedStore.start(directory, extra=users, server=server)
        return Backend(name, (store,), as_user(store.url, BOTH))

    @staticmethod
    def _stop(backend: Backend) -> None:
        for server in backend.servers:
            server.kill()


def _secure_cluster(directory: Path) -> Backend:
    from tests.support.secure import SecureCluster  # what it is built on is built on this file

    made = SecureCluster.start(directory)
    return Backend(SECURE_CLUSTER, tuple(made.cluster.servers), made.url, made.access)


def debian_redis() -> str:
    """The redis-server of the system. Without it the test is skipped, in CI it fails."""
    found = shutil.which("redis-server")
    if found:
        return found
    if in_ci():
        pytest.fail("redis-server is not installed, and in CI nothing is skipped", pytrace=False)
    pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")


def in_ci() -> bool:
    """Whether a skipped test counts as failed."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """All stores of this worker."""
    made = Stores(tmp_path_factory.mktemp("stores"))
    yield made
    made.stop()


@pytest.fixture(params=_WANTED)
def backend(request: pytest.FixtureRequest, stores: Stores) -> Backend:
    """Each of the stores in turn, emptied."""
    name: str = request.param
    # Noted before starting, so that a store that was skipped is known by name.
    request.node.user_properties.append(("store", name))
    made = stores.backend(name)
    made.empty()
    return made


@pytest_asyncio.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    """A connection to each of the stores in turn."""
    made = await backend.connect()
    yield made
    await made.close()


@pytest.fixture
def valkey(stores: Stores, request: pytest.FixtureRequest) -> Backend:
    """The embedded Valkey alone, emptied: for tests of processes, not of the store."""
    request.node.user_properties.append(("store", "valkey"))
    made = stores.backend("valkey")
    made.empty()
    return made
