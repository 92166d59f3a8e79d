"""Opening a store by its URL: standalone, behind Sentinel or a Cluster, in the clear or by TLS.

`rediss` stands for TLS everywhere: behind Sentinel to the sentinels and to the servers they name,
on a Cluster to all of its servers and for listening. A certificate is always checked; that it names
the host is not where the settings say so.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from redis.asyncio import (
    BlockingConnectionPool,
    Connection,
    Redis,
    RedisCluster,
    SSLConnection,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff

from registry.packing import packing
from registry.primary import Sentinels, following, to_the_primary
from registry.trust import Trust, by

_CONNECTIONS = 32
"""With a server that holds everything, for what has a turn. What is urgent has none, and who
listens keeps a connection: these have others."""
_BESIDE_THEM = 8
AT_ONCE_MOST = 64


@dataclass(frozen=True)
class Access:
    """What a URL does not say of how the store is reached; files are PEM."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    check_hostname: bool = True
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    def trust(self) -> Trust:
        """Whom we believe, and who we say we are."""
        return Trust(
            self.ca_file, self.cert_file, self.key_file, check_hostname=self.check_hostname
        )


PLAIN = Access()
"""Nothing but the URL."""


@dataclass(frozen=True)
class Opened:
    """A client, whether one server holds everything, how many questions may be under way at once
    (the pool's own queue is none: who comes late may be served first, for ever), the sentinels
    that say where it is, and what must run beside it for as long as it is open."""

    client: Any
    single: bool
    at_once: int = AT_ONCE_MOST
    sentinels: Sentinels | None = None
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None


def opened(url: str, access: Access, timeout_s: float) -> Opened:
    """Connects on first use. Raises ValueError naming the schemes when the URL has another one."""
    scheme = urlsplit(url).scheme
    trust = access.trust() if scheme.startswith("rediss") else None
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        # Redis 7.0 knows no CLIENT SETINFO, and a user who may do little should not need it.
        "driver_info": None,
    }
    if scheme in ("redis", "rediss", "unix"):
        return _standalone(url, options, timeout_s, trust)
    if scheme in ("redis+cluster", "rediss+cluster"):
        return _cluster(url, options, trust)
    if scheme in ("redis+sentinel", "rediss+sentinel"):
        return _behind_sentinel(url, options, access, trust)
    raise ValueError(
        f"the store's URL begins with {scheme!r}; expected redis, rediss, redis+sentinel, "
        "rediss+sentinel, redis+cluster or rediss+cluster"
    )


def explained(text: str, url: str, reached: bool) -> str:
    """An error of a connection with what to do about it, where that is known. `reached` says
    whether the store was ever spoken with."""
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            f"the store's certificate is not believed ({text}): MUSTER_REDIS_CA_FILE must name the "
            "authority that signed it, and the certificate the host in MUSTER_REDIS_URL"
        )
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        return f"the store's port does not speak TLS ({text}): MUSTER_REDIS_URL must not say rediss"
    if "CERTIFICATE_REQUIRED" in text.upper().replace(" ", "_"):
        return (
            f"the store wants a certificate of ours ({text}): MUSTER_REDIS_CERT_FILE and "
            "MUSTER_REDIS_KEY_FILE"
        )
    if "imeout connecting" in text and not reached and url.startswith("rediss"):
        # A server in the clear takes a handshake for the beginning of a long command.
        return f"{text}. If its port does not speak TLS, MUSTER_REDIS_URL must not say rediss"
    closed = "closed by server" in text or "reset by peer" in text.lower()
    if closed and not reached and not url.startswith("rediss"):
        return f"{text} If its port speaks TLS, MUSTER_REDIS_URL must begin with rediss"
    if closed and not reached:  # what it said before it closed the connection may be lost with it
        return (
            f"{text} If the store wants a certificate of ours: MUSTER_REDIS_CERT_FILE and "
            "MUSTER_REDIS_KEY_FILE"
        )
    return text


def _retry() -> Retry:
    return Retry(ExponentialWithJitterBackoff(cap=0.2, base=0.02), 2)


def _standalone(url: str, options: dict[str, Any], timeout_s: float, trust: Trust | None) -> Opened:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS + _BESIDE_THEM,
        timeout=timeout_s,
        socket_keepalive=True,
        retry=_retry(),
        **options,
    )
    if trust is not None:
        pool.connection_class = by(trust, SSLConnection)
    pool.connection_class = packing(pool.connection_class)
    return Opened(Redis.from_pool(pool), single=True, at_once=_CONNECTIONS)


def _cluster(url: str, options: dict[str, Any], trust: Trust | None) -> Opened:
    parts = urlsplit(url)
    plain = urlunsplit(parts._replace(scheme=parts.scheme.split("+")[0]))
    # A slot that moved is noted; the rest need not be asked.
    client = RedisCluster.from_url(plain, reinitialize_steps=0, **options)
    kind = packing(Connection if trust is None else by(trust, SSLConnection))
    client.connection_kwargs["connection_class"] = kind  # of servers it will hear of
    for node in client.nodes_manager.startup_nodes.values():
        node.connection_class = kind
    return Opened(client, single=False)


def _behind_sentinel(
    url: str, options: dict[str, Any], access: Access, trust: Trust | None
) -> Opened:
    parts = urlsplit(url)
    path = [p for p in parts.path.split("/") if p]
    tls = trust is not None
    named = {"username": parts.username, "password": parts.password}
    theirs = {"username": access.sentinel_user, "password": access.sentinel_password}
    asking = {**options, "ssl": tls, "retry": Retry(NoBackoff(), 0)}  # who asks does so again
    sentinel = Sentinels(
        _sentinels(parts.netloc),
        sentinel_kwargs={**asking, **{k: v for k, v in theirs.items() if v}},
        ssl=tls,
        **{k: unquote(v) for k, v in named.items() if v},
        socket_keepalive=True,
        retry=_retry(),
        **options,
    )
    client = sentinel.master_for(
        path[0] if path else "mymaster", db=int(path[1]) if len(path) > 1 else 0
    )
    kind = to_the_primary(SentinelManagedSSLConnection if tls else SentinelManagedConnection)
    client.connection_pool.connection_class = kind if trust is None else by(trust, kind)
    if trust is not None:
        for each in sentinel.sentinels:
            each.connection_pool.connection_class = by(trust, SSLConnection)
    pool = client.connection_pool
    pool.connection_class = packing(pool.connection_class)
    return Opened(
        client,
        single=True,
        at_once=_CONNECTIONS,
        sentinels=sentinel,
        beside=following(client.connection_pool),
    )


def _sentinels(netloc: str) -> list[tuple[str, int]]:
    hosts = netloc.rsplit("@", 1)[-1].split(",")
    return [(h.rsplit(":", 1)[0], int(h.rsplit(":", 1)[1]) if ":" in h else 26379) for h in hosts]
