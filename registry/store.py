"""Connections to the store and the one way scripts are run there.

A store is standalone, behind Sentinel, or a Cluster. Two rules hold: a script that may have run
is only sent again because every script is idempotent; and what the caller learns of a failure is
one of the three exceptions of `registry.errors`, never the client library's.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from redis import exceptions as rx
from redis.asyncio import Redis, RedisCluster, SSLConnection
from redis.asyncio.cluster import ClusterNode, PipelineCommand

from registry.clock import StoreClock
from registry.ending import end
from registry.errors import StoreError, StoreMisbehaved, StoreRefused, StoreUnavailable
from registry.opening import AT_ONCE_MOST, PLAIN, Access, explained, opened
from registry.primary import Sentinels
from registry.script import Script, load
from registry.shared_look import SharedLook

T = TypeVar("T")
Args = Sequence[Any] | Callable[[], Sequence[Any]]
"""What a script is called with. A function packs it when the question's turn has come, at each try:
a time in it must not have waited longer than a script may run late."""

# Errors by class where the client library has one (it takes the code off their text), else by code.
_LOST = (TimeoutError, rx.ConnectionError, rx.TimeoutError, OSError)
_PASSING = (rx.TryAgainError, rx.AskError, rx.ClusterDownError, rx.BusyLoadingError)
_REFUSING = (rx.OutOfMemoryError, rx.ReadOnlyError, rx.NoPermissionError)
_PASSING_CODES = ("BUSY ", "LOADING ", "TRYAGAIN ", "CLUSTERDOWN ", "MASTERDOWN ")
_REFUSING_CODES = ("NOREPLICAS ", "MISCONF ")
_FORBIDDEN = ("ACL failure in script", "The user executing the script")
# A Cluster's client closes its connections under those who use them when it looks anew for who
# holds what, and gives up on a server it has not heard of; what they meet then is this.
TORN = (AttributeError, RuntimeError)


class Observer(Protocol):
    """Who wants to know how the store does."""

    def called(self, script: str, seconds: float) -> None: ...
    def failed(self, error: StoreError) -> None: ...


class Store:
    """A client of the store. `single` says that one node holds every slot; `at_once` questions are
    under way at a time, the others have their turn in the order in which they came."""

    def __init__(
        self,
        client: Any,
        *,
        single: bool,
        genuine: bool,
        timeout_s: float = 5.0,
        at_once: int = AT_ONCE_MOST,
    ) -> None:
        self.client = client
        self.single = single
        self.genuine = genuine
        self.timeout_s = timeout_s
        self.clock = StoreClock()
        self.observer: Observer | None = None
        self._under_way = asyncio.Semaphore(at_once)
        self._sentinels: Sentinels | None = None
        self._look = SharedLook(self._ask_sentinels)
        self._beside: asyncio.Task[None] | None = None
        self._url = ""
        self._reached = False
        self._answered = self._unanswered = -math.inf

    @classmethod
    async def connect(cls, url: str, *, timeout_s: float = 5.0, access: Access = PLAIN) -> Store:
        """Opens a store by URL: `redis://`, `rediss://`, `redis+sentinel://h1,h2/service/db`,
        `redis+cluster://host:port`, the last two with `rediss` as well. Connects on first use.

        Raises ValueError naming the schemes when the URL has another one."""
        found = opened(url, access, timeout_s)
        store = cls(
            found.client,
            single=found.single,
            genuine=True,
            timeout_s=timeout_s,
            at_once=found.at_once,
        )
        store._sentinels, store._url = found.sentinels, url
        if found.beside is not None:
            store._beside = asyncio.create_task(found.beside())
        return store

    async def close(self) -> None:
        """Closes every connection."""
        while self._beside is not None and not self._beside.done():
            await end([self._beside])
        for open_ in (self.client, self._sentinels):
            if open_ is not None:
                await open_.aclose()

    async def asked(self, ask: Callable[[], Awaitable[T]], *, urgent: bool = False) -> T:
        """Runs one question to the store; a slot in motion is waited for, up to the time-out.

        What is `urgent` waits for no more than the questions that are under way: beats, and that a
        gateway lives, must not stand behind thousands of registrations. Few may be.

        Raises StoreUnavailable, StoreRefused or StoreMisbehaved."""
        try:
            return await self._insisted(ask, urgent)
        except StoreError as error:
            if self.observer is not None:
                self.observer.failed(error)
            raise

    async def _insisted(self, ask: Callable[[], Awaitable[T]], urgent: bool) -> T:
        deadline = self.clock.monotonic() + self.timeout_s
        pause = 0.02
        while True:
            try:
                # A Cluster's client opens a connection for every question under way at a node.
                async with contextlib.nullcontext() if urgent else self._its_turn():
                    answer = await ask()
                self._reached, self._answered = True, self.clock.monotonic()
                return answer
            except (*_LOST, rx.RedisError, rx.RedisClusterException) as error:
                if self.single and isinstance(error, _LOST) and not _passing(error):
                    self._left_alone()
                if not _passing(error) or self.clock.monotonic() > deadline:
                    raise self._told(error) from error
            except TORN as error:
                if self.single:
                    raise
                if self.clock.monotonic() > deadline:
                    raise StoreUnavailable(f"the client lost its way: {error}") from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)

    def _left_alone(self) -> None:
        """A question had no answer. Where nobody had one for a whole time-out, the store answers
        nobody; else it may be one connection that broke."""
        now = self.clock.monotonic()
        if now - self._answered >= self.timeout_s:
            self._unanswered = now

    @contextlib.asynccontextmanager
    async def _its_turn(self) -> AsyncIterator[None]:
        """Waits for a turn. Raises StoreUnavailable if the one server there is was found to answer
        nobody meanwhile: a crowd need not find that out singly."""
        came = self.clock.monotonic()
        async with self._under_way:
            if self._unanswered >= came and self._unanswered > self._answered:
                raise StoreUnavailable("the store left others without an answer")
            yield

    def _told(self, error: Exception) -> StoreError:
        found = _translated(error)
        if isinstance(found, StoreUnavailable) and not isinstance(found, StoreRefused):
            return StoreUnavailable(explained(str(found), self._url, self._reached))
        return found

    async def call(
        self, name: str, keys: Sequence[str], args: Args, *, urgent: bool = False
    ) -> Any:
        """Runs one script; for `urgent` see `asked`."""
        script = load(name, self.genuine)
        began = self.clock.monotonic()

        def ask() -> Awaitable[Any]:
            return self._script(script, keys, args() if callable(args) else args)

        reply = await self.asked(ask, urgent=urgent)
        self._called(name, began)
        return reply

    def _called(self, script: str, began: float) -> None:
        if self.observer is not None:
            self.observer.called(script, self.clock.monotonic() - began)

    async def _script(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        try:
            return await self._run("EVALSHA", script.sha, len(keys), *keys, *args)
        except rx.NoScriptError:
            return await self._run("EVAL", script.text, len(keys), *keys, *args)

    async def _run(self, *command: Any) -> Any:
        try:
            return await self.client.execute_command(*command)
        except (rx.ClusterError, *TORN) as error:
            if self.single or isinstance(error, rx.ResponseError):
                raise
            return await self._run_where_it_moves(*command)

    async def _run_where_it_moves(self, *command: Any) -> Any:
        """Runs a command in a slot that is on its way, whose keys are ahead of it.

        The client library sends ASKING on one of its connections and the command on another, and
        knows no server that holds no slot yet; it gives up in the end."""
        cluster: RedisCluster = self.client
        key = command[3] if command[0] in ("EVALSHA", "EVAL") else command[1]
        node = cluster.get_node_from_key(str(key))
        assert node is not None
        try:
            return await node.execute_command(*command)
        except rx.MovedError as error:
            await cluster.nodes_manager.move_slot(error)
            raise
        except rx.AskError as error:
            known = cluster.get_node(error.host, error.port)
            options: dict[str, Any] = cluster.get_connection_kwargs()
            to = known or ClusterNode(error.host, error.port, **options)
        try:
            asking, wanted = PipelineCommand(0, "ASKING"), PipelineCommand(1, *command)
            await to.execute_pipeline([asking, wanted])
        finally:
            if known is None:
                await to.disconnect()
        if isinstance(wanted.result, Exception):
            raise wanted.result
        return wanted.result

    async def call_many(
        self,
        name: str,
        calls: Sequence[tuple[Sequence[str], Sequence[Any]]],
        *,
        urgent: bool = False,
    ) -> list[Any]:
        """Runs one script several times, in one round trip to each store node concerned; for
        `urgent` see `asked`."""
        began = self.clock.monotonic()
        replies = await self._many(
            _packed(load(name, self.genuine), calls),
            lambda place: self.call(name, *calls[place], urgent=urgent),
            urgent,
        )
        if len(calls) > 1:  # one alone was called, and counted, by itself
            self._called(name, began)
        return replies

    async def call_some(
        self,
        name: str,
        calls: Sequence[tuple[Sequence[str], Sequence[Any]]],
        *,
        urgent: bool = False,
    ) -> list[Any]:
        """As `call_many`, for calls that have nothing to do with each other. On a Cluster, of
        which a part may be away, a StoreUnavailable stands for each reply that could not be had,
        and a slot on its way is not waited for.

        Raises StoreUnavailable only where one server holds everything."""
        if self.single or not calls:
            return await self.call_many(name, calls, urgent=urgent)
        script = load(name, self.genuine)
        began = self.clock.monotonic()
        try:
            replies = await self._pipelined(_packed(script, calls))
        except (*_LOST, *TORN, rx.RedisError, rx.RedisClusterException) as error:
            replies = [error] * len(calls)
        lost = False
        for place, reply in enumerate(replies):
            if isinstance(reply, (rx.NoScriptError, rx.AskError, *TORN)):
                try:
                    replies[place] = await self._script(script, *calls[place])
                except (*_LOST, *TORN, rx.RedisError, rx.RedisClusterException) as error:
                    replies[place] = error
            if isinstance(replies[place], Exception):
                replies[place] = away = _away(replies[place])
                lost = True
                if self.observer is not None:
                    self.observer.failed(away)
        self._called(name, began)
        if lost:
            with contextlib.suppress(*_LOST, *TORN, rx.RedisError, rx.RedisClusterException):
                await self.learn_slots()
        return replies

    async def commands(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Runs plain commands, each about one key, and returns their replies in order."""

        async def alone(place: int) -> Any:
            return await self.asked(lambda: self._run(*commands[place]))

        return await self._many(commands, alone)

    async def _many(
        self,
        commands: Sequence[tuple[Any, ...]],
        alone: Callable[[int], Awaitable[Any]],
        urgent: bool = False,
    ) -> list[Any]:
        """Runs commands together; those that failed in passing are asked for again, alone."""
        if not commands:
            return []
        if len(commands) == 1:
            return [await alone(0)]

        replies = await self.asked(lambda: self._pipelined(commands), urgent=urgent)
        for place, reply in enumerate(replies):
            if isinstance(reply, Exception):
                torn = isinstance(reply, TORN) and not self.single
                if not torn and not _worth_another_try(reply):
                    error = _translated(reply)
                    if self.observer is not None:
                        self.observer.failed(error)
                    raise error
                replies[place] = await alone(place)
        return replies

    async def _pipelined(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        pipe = self.client.pipeline(transaction=False) if self.single else self.client.pipeline()
        for command in commands:
            pipe.execute_command(*command)
        # Raised from a pipeline, errors lose their code and carry all that was sent.
        return list(await pipe.execute(raise_on_error=False))

    async def learn_slots(self) -> None:
        """Asks a Cluster anew who holds which slot: who only listens is never told."""
        if not self.single:
            await self.client.initialize()
            await self.client.nodes_manager.initialize()

    async def look_for_primary(self) -> bool:
        """Asks the sentinels who is primary, together with all who want to know now, so that what
        is asked next is asked there, and says whether there are any; if none answers, nothing
        changes."""
        if self._sentinels is None:
            return False
        await self._look.had()
        return True

    async def _ask_sentinels(self) -> None:
        with contextlib.suppress(*_LOST, rx.RedisError):
            await self.client.connection_pool.get_master_address()

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
        named = (
            "username", "password", "socket_timeout", "socket_connect_timeout", "driver_info",
        )  # fmt: skip
        options = {k: v for k, v in node.connection_kwargs.items() if k in named}
        tls = issubclass(node.connection_class, SSLConnection)
        client = Redis(host=str(node.host), port=int(node.port), ssl=tls, **options)
        client.connection_pool.connection_class = node.connection_class
        return client

    async def info(self) -> list[dict[str, Any]]:
        """INFO of every primary."""
        if self.single:
            return [await self.asked(lambda: self.client.info())]
        found = await self.asked(lambda: self.client.info(target_nodes=self.client.PRIMARIES))
        return list(found.values()) if all(isinstance(v, dict) for v in found.values()) else [found]

    async def user(self) -> str:
        """As whom the store knows us; '' where it does not say."""
        try:
            found = await self.asked(lambda: self.client.acl_whoami())
        except StoreRefused:
            return ""
        return found.decode() if isinstance(found, bytes) else str(found)

    async def ping(self) -> None:
        """Raises StoreUnavailable unless the store answers now."""
        await self.asked(lambda: self.client.ping())


def _packed(
    script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]
) -> list[tuple[Any, ...]]:
    return [("EVALSHA", script.sha, len(keys), *keys, *args) for keys, args in calls]


def _away(error: Exception) -> StoreUnavailable:
    """A failed reply of a Cluster as a part of it that is away. Raises what is a bug of ours."""
    if isinstance(error, TORN):
        return StoreUnavailable(f"the client lost its way: {error}")
    found = _translated(error)
    if not isinstance(found, StoreUnavailable):
        raise found from error
    return found


def _worth_another_try(error: Exception) -> bool:
    """Whether one answer of several failed in a way that asking for it alone may mend."""
    return isinstance(error, (rx.NoScriptError, *_LOST)) or _passing(error)


def _passing(error: Exception) -> bool:
    """Whether waiting helps: a store that loads or is busy, a slot on its way, whose redirections
    the client library gives up after half a second (a ClusterError of its own)."""
    given_up = isinstance(error, rx.ClusterError) and not isinstance(error, rx.ResponseError)
    return given_up or isinstance(error, _PASSING) or str(error).startswith(_PASSING_CODES)


def _translated(error: Exception) -> StoreError:
    text = str(error)
    if isinstance(error, (rx.AuthenticationError, rx.AuthorizationError)):
        return StoreUnavailable(
            f"the store does not let us in ({text}): give MUSTER_REDIS_URL the name and password "
            "of a user it knows, as in redis://muster-gateway:PASSWORD@host"
        )
    if isinstance(error, _REFUSING) or text.startswith((*_REFUSING_CODES, *_FORBIDDEN)):
        return StoreRefused(text)
    if _passing(error) or isinstance(error, (*_LOST, rx.RedisClusterException)):
        return StoreUnavailable(text or type(error).__name__)
    return StoreMisbehaved(text)
