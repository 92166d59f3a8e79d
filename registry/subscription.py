"""Listening to sharded channels, for as long as asked.

Messages are lost while a connection is down: nothing rests on hearing every one. A watchdog
publishes to one of the channels and demands to hear itself, since a dead subscription can look
alive for minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

from redis import exceptions as rx

from registry.ending import end
from registry.logs import log
from registry.store import TORN, Store

logger = logging.getLogger("muster.subscription")

_PAUSE_S = 0.05
_EXPECTED = (TimeoutError, rx.RedisError, rx.RedisClusterException, OSError)
_WATCHDOG = b'{"t":"watchdog"}'


class Subscription:
    """An async iterator of payloads from sharded channels; reconnects by itself.

    Use as an async context manager. `healthy` is true while the watchdog hears itself.
    """

    def __init__(self, store: Store, channels: Sequence[str], *, watchdog_s: float = 2.0) -> None:
        self._store = store
        self._channels = list(channels)
        self._watchdog_s = watchdog_s
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(maxsize=100_000)
        self._tasks: list[asyncio.Task[None]] = []
        self._heard: dict[str, float] = {}
        self._ended = False

    async def __aenter__(self) -> Subscription:
        self._tasks = [asyncio.create_task(self._listen())]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended = True
        await end(self._tasks)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._queue.get()

    @property
    def healthy(self) -> bool:
        """Whether every part of the subscription was heard lately."""
        now = self._store.clock.monotonic()
        return bool(self._heard) and all(
            now - at < 3 * self._watchdog_s for at in self._heard.values()
        )

    async def _listen(self) -> None:
        pause = _PAUSE_S
        while not self._ended:
            try:
                await self._store.learn_slots()
                groups = self._store.nodes_of(self._channels)
                self._heard = dict.fromkeys(groups, 0.0)
                listeners = [
                    asyncio.create_task(self._listen_to(node, channels))
                    for node, channels in groups.items()
                ]
                for task in listeners:  # also one that fails while it is being ended
                    task.add_done_callback(_looked_at)
                try:
                    done, _ = await asyncio.wait(listeners, return_when=asyncio.FIRST_COMPLETED)
                    if self.healthy:  # it heard itself until now
                        pause = _PAUSE_S
                    for task in done:
                        if not task.cancelled():
                            task.result()
                finally:
                    await end(listeners)
            except Exception as error:  # noqa: BLE001 - a bug of ours must not leave us deaf
                if not self._expected(error):
                    log(logger, logging.ERROR, "listening_failed", exc_info=error)
            self._heard = dict.fromkeys(self._heard or {"": 0.0}, 0.0)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    def _expected(self, error: Exception) -> bool:
        torn = isinstance(error, TORN) and not self._store.single  # only a Cluster's client is
        return torn or isinstance(error, _EXPECTED)

    async def _listen_to(self, name: str, channels: Sequence[str]) -> None:
        client = self._store.client_of(channels[0])
        pubsub = client.pubsub()
        clock = self._store.clock
        try:
            for channel in channels:  # each its own slot: a Cluster refuses several in one call
                await pubsub.ssubscribe(channel)
            started = clock.monotonic()
            asked = 0.0
            while not self._ended:
                if clock.monotonic() - asked > self._watchdog_s:
                    asked = clock.monotonic()
                    await asyncio.wait_for(
                        self._store.client.execute_command("SPUBLISH", channels[0], _WATCHDOG),
                        self._store.timeout_s,
                    )
                message = await pubsub.get_message(timeout=self._watchdog_s / 2)
                now = clock.monotonic()
                if message is not None and message["type"] == "sunsubscribe":
                    raise OSError("the server no longer serves a channel: its slot has moved")
                if message is not None and message["type"] in ("smessage", "message"):
                    data = message["data"]
                    if data == _WATCHDOG:
                        self._heard[name] = now
                    elif not self._queue.full():
                        self._queue.put_nowait(data)
                if now - max(started, self._heard[name]) > 3 * self._watchdog_s:
                    raise OSError("the subscription no longer hears itself")
        finally:
            with contextlib.suppress(Exception):
                await pubsub.aclose()
                if client is not self._store.client:
                    await client.aclose()


def _looked_at(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
