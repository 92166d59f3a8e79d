"""Connections to the store and the one way scripts are run there.

A store is standalone, behind Sentinel, or a Cluster. Two rules hold: a script that may have run
is only sent again because every script is idempotent; and what the caller learns of a failure is
one of the three exceptions of `registry.errors`, never the client library's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from redis import exceptions as rx
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialWithJitterBackoff

from registry.clock import StoreClock
from registry.errors import StoreError, StoreMisbehaved, StoreRefused, StoreUnavailable
from registry.script import load

T = TypeVar("T")

_MOVING = ("TRYAGAIN", "LOADING", "CLUSTERDOWN", "MASTERDOWN", "BUSY", "MOVED", "ASK")
_REFUSING = ("OOM", "NOREPLICAS", "MISCONF", "READONLY")
_CONNECTIONS = 8
_QUESTIONS = 64


def _sentinels(netloc: str) -> list[tuple[str, int]]:
    hosts = netloc.rsplit("@", 1)[-1].split(",")
    return [(h.rsplit(":", 1)[0], int(h.rsplit(":", 1)[1]) if ":" in h else 26379) for h in hosts]


class Store:
    """A client of the store. `single` says that one node holds every slot."""

    def __init__(self, client: Any, *, single: bool, genuine: bool, timeout_s: float = 5.0) -> None:
        self.client = client
        self.single = single
        self.genuine = genuine
        self.timeout_s = timeout_s
        self.clock = StoreClock()
        self._under_way = asyncio.Semaphore(_QUESTIONS)
        self._url = ""

    @classmethod
    async def connect(cls, url: str, *, timeout_s: float = 5.0) -> Store:
        """Opens a store by URL: `redis://`, `rediss://`, `redis+sentinel://h1,h2/service/db`,
        `redis+cluster://host:port`. Connects on first use.

        Raises ValueError naming the schemes when the URL has another one."""
        parts = urlsplit(url)
        retry = Retry(ExponentialWithJitterBackoff(cap=0.2, base=0.02), 2)
        options: dict[str, Any] = {
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "socket_keepalive": True,
            "retry": retry,
        }
        if parts.scheme in ("redis", "rediss", "unix"):
            pool = BlockingConnectionPool.from_url(
                url, max_connections=_CONNECTIONS, timeout=timeout_s, **options
            )
            store = cls(Redis.from_pool(pool), single=True, genuine=True, timeout_s=timeout_s)
        elif parts.scheme in ("redis+cluster", "rediss+cluster"):
            plain = urlunsplit(parts._replace(scheme=parts.scheme.split("+")[0]))
            cluster = RedisCluster.from_url(
                plain, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
            )
            store = cls(cluster, single=False, genuine=True, timeout_s=timeout_s)
        elif parts.scheme in ("redis+sentinel", "rediss+sentinel"):
            path = [p for p in parts.path.split("/") if p]
            credentials = {"username": parts.username, "password": parts.password}
            credentials = {k: v for k, v in credentials.items() if v}
            sentinel = Sentinel(  # type: ignore[no-untyped-call]
                _sentinels(parts.netloc),
                sentinel_kwargs={"socket_timeout": timeout_s},
                ssl=parts.scheme.startswith("rediss"),
                **credentials,
                **options,
            )
            client = sentinel.master_for(
                path[0] if path else "mymaster", db=int(path[1]) if len(path) > 1 else 0
            )
            store = cls(client, single=True, genuine=True, timeout_s=timeout_s)
        else:
            raise ValueError(
                f"the store's URL begins with {parts.scheme!r}; expected redis, rediss, "
                "redis+sentinel, rediss+sentinel, redis+cluster or rediss+cluster"
            )
        store._url = url
        return store

    async def close(self) -> None:
        """Closes every connection."""
        await self.client.aclose()

    async def asked(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Runs one question to the store; a slot in motion is waited for, up to the time-out.

        Raises StoreUnavailable, StoreRefused or StoreMisbehaved."""
        deadline = self.clock.monotonic() + self.timeout_s
        pause = 0.02
        while True:
            try:
                # A Cluster's client opens a connection for every question under way at a node.
                async with self._under_way:
                    return await ask()
            except (TimeoutError, rx.ConnectionError, rx.TimeoutError, OSError) as error:
                if not (
                    isinstance(error, rx.BusyLoadingError) and self.clock.monotonic() < deadline
                ):
                    raise StoreUnavailable(str(error) or type(error).__name__) from error
            except (rx.ResponseError, rx.RedisClusterException) as error:
                if not _passing(error) or self.clock.monotonic() > deadline:
                    raise _translated(error) from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)

    async def call(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Runs one script."""
        script = load(name, self.genuine)

        async def ask() -> Any:
            try:
                return await self.client.execute_command(
                    "EVALSHA", script.sha, len(keys), *keys, *args
                )
            except rx.NoScriptError:
                return await self.client.execute_command(
                    "EVAL", script.text, len(keys), *keys, *args
                )

        return await self.asked(ask)

    async def call_many(
        self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]
    ) -> list[Any]:
        """Runs one script several times, in one round trip to each store node concerned."""
        if not calls:
            return []
        if len(calls) == 1:
            return [await self.call(name, *calls[0])]
        script = load(name, self.genuine)

        async def ask() -> list[Any]:
            pipe = self._pipeline()
            for keys, args in calls:
                pipe.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)
            return list(await pipe.execute(raise_on_error=False))

        replies = await self.asked(ask)
        for i, reply in enumerate(replies):
            if isinstance(reply, Exception):
                if not _worth_another_try(reply):
                    raise _translated(reply)
                replies[i] = await self.call(name, *calls[i])
        return replies

    async def commands(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Runs plain commands, each about one key, and returns their replies in order."""
        if not commands:
            return []

        async def ask() -> list[Any]:
            if len(commands) == 1:
                return [await self.client.execute_command(*commands[0])]
            pipe = self._pipeline()
            for command in commands:
                pipe.execute_command(*command)
            return list(await pipe.execute())

        return await self.asked(ask)

    def _pipeline(self) -> Any:
        return self.client.pipeline(transaction=False) if self.single else self.client.pipeline()

    def nodes_of(self, channels: Sequence[str]) -> dict[str, list[str]]:
        """Channels by the store node that serves them; one nameless group where that is one."""
        if self.single:
            return {"": list(channels)}
        groups: dict[str, list[str]] = {}
        for channel in channels:
            node: ClusterNode = self.client.get_node_from_key(channel)
            groups.setdefault(node.name, []).append(channel)
        return groups

    def client_of(self, channel: str) -> Any:
        """A client that may subscribe to the channel: the store's own, or on a Cluster a new one
        to the node that serves it, which the caller closes."""
        if self.single:
            return self.client
        node: ClusterNode = self.client.get_node_from_key(channel)
        named = ("username", "password", "socket_timeout", "socket_connect_timeout")
        options = {
            k: v for k, v in node.connection_kwargs.items() if k in named or k.startswith("ssl_")
        }
        if issubclass(node.connection_class, SSLConnection):
            options["ssl"] = True
        return Redis(host=str(node.host), port=int(node.port), **options)

    async def info(self) -> list[dict[str, Any]]:
        """INFO of every primary."""
        if self.single:
            return [await self.asked(lambda: self.client.info())]
        found = await self.asked(lambda: self.client.info(target_nodes=self.client.PRIMARIES))
        return list(found.values()) if all(isinstance(v, dict) for v in found.values()) else [found]

    async def ping(self) -> None:
        """Raises StoreUnavailable unless the store answers now."""
        await self.asked(lambda: self.client.ping())


def _worth_another_try(error: Exception) -> bool:
    """Whether one answer of several failed in a way that asking for it alone may mend."""
    lost = (rx.NoScriptError, rx.ConnectionError, rx.TimeoutError, TimeoutError, OSError)
    return isinstance(error, lost) or _passing(error)


def _passing(error: Exception) -> bool:
    return any(str(error).startswith(word) for word in _MOVING) or isinstance(
        error, (rx.TryAgainError, rx.ClusterDownError, rx.BusyLoadingError)
    )


def _translated(error: Exception) -> StoreError:
    text = str(error)
    if any(word in text for word in _REFUSING) or isinstance(
        error, (rx.OutOfMemoryError, rx.ReadOnlyError)
    ):
        return StoreRefused(text)
    if _passing(error) or isinstance(error, rx.RedisClusterException):
        return StoreUnavailable(text)
    return StoreMisbehaved(text)
