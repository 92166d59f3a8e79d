"""Connections to the primary that the sentinels name, and to nobody else.

For some ten seconds after a failover there may be two servers that take writes: the former primary,
while it lives and believes in a replica, hears of it only then, and what it is told meanwhile is
lost. So four rules hold. All sentinels are asked, and the newest configuration that any of them
knows is believed. Who knows an older one than was heard of before is not listened to. They are
asked all the time, not only when a connection breaks. And no answer of a server counts once another
one is named: it is asked there again.

The client library asks one sentinel, for new connections only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
)
from redis.exceptions import ConnectionError as BrokenConnection
from redis.exceptions import RedisError

from registry.ending import end
from registry.logs import log

logger = logging.getLogger("muster.primary")

T = TypeVar("T", bound=SentinelManagedConnection)

ASKED_EVERY_S = 0.5
_OTHERS_S = 0.25  # once one sentinel answered, for as long others are waited for
# Sentinels tell each other of a new configuration within seconds. If for a minute none knows it,
# they were set up anew, and count from 0.
_REMEMBERED_S = 60.0

_SILENT = (RedisError, OSError, TimeoutError)


@dataclass(frozen=True, order=True)
class Word:
    """What one sentinel says: who is primary since which configuration, and whether it is up."""

    epoch: int
    up: bool
    address: tuple[str, int]


class Sentinels(Sentinel):
    """All sentinels of a store, asked as one.

    A question to one of them goes on when it is no longer waited for: the answer of a slow one is
    heard of the next time, and who is far away gets connected."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)  # type: ignore[no-untyped-call]
        self._asked: dict[tuple[int, str], asyncio.Task[Word | Exception | None]] = {}
        self._newest: dict[str, tuple[int, float]] = {}  # an epoch, and when it was last heard

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """The primary's address by the newest configuration of those who answer, or answer soon
        after the first. Raises MasterNotFoundError: nobody knows one that is up, or only by a
        configuration older than one that was heard of in the last minute."""
        words, errors = await self._words(service_name)
        newest = max(words, default=None)
        if newest is None or not newest.up:
            why = "; ".join(dict.fromkeys(str(error) or repr(error) for error in errors))
            raise MasterNotFoundError(f"no sentinel names a primary of {service_name!r}. {why}")
        return newest.address

    async def aclose(self) -> None:
        """Ends what is still being asked and closes the connections."""
        await end(self._asked.values())
        await super().aclose()

    async def _words(self, service: str) -> tuple[list[Word], list[Exception]]:
        words: list[Word] = []
        errors: list[Exception] = []
        pending = {self._asking(place, service) for place in range(len(self.sentinels))}
        last = False
        while pending and not last:
            last = bool(words)
            done, pending = await asyncio.wait(
                pending,
                timeout=_OTHERS_S if last else None,
                return_when=asyncio.ALL_COMPLETED if last else asyncio.FIRST_COMPLETED,
            )
            for answer in [task.result() for task in done]:
                if isinstance(answer, Word) and answer.epoch >= self._newest[service][0]:
                    words.append(answer)
                elif isinstance(answer, Exception):
                    errors.append(answer)
        return words, errors

    def _asking(self, place: int, service: str) -> asyncio.Task[Word | Exception | None]:
        task = self._asked.get((place, service))
        if task is None or task.done():
            task = asyncio.create_task(self._ask(self.sentinels[place], service))
            self._asked[place, service] = task
        return task

    async def _ask(self, sentinel: Any, service: str) -> Word | Exception | None:
        answer = await _word(sentinel, service)
        if isinstance(answer, Word):
            now = time.monotonic()
            newest, heard = self._newest.get(service, (answer.epoch, now))
            if answer.epoch >= newest or now - heard > _REMEMBERED_S:
                self._newest[service] = answer.epoch, now
        return answer


async def _word(sentinel: Any, service: str) -> Word | Exception | None:
    """None: it does not know the service."""
    try:
        state = (await sentinel.sentinel_masters()).get(service)
        # In the middle of a failover, who leads it names the new one here, and not yet there.
        named = await sentinel.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", service)
    except _SILENT as error:
        return error
    if not state or not named:
        return None
    host, port = named
    address = (host.decode() if isinstance(host, bytes) else host, int(port))
    replaced = address != (state["ip"], state["port"])
    up = replaced or not (state["is_sdown"] or state["is_odown"])
    return Word(state["config-epoch"], up, address)


def following(pool: SentinelConnectionPool) -> Callable[[], Coroutine[Any, Any, None]]:
    """Asks the sentinels for ever, so that the pool's connections know who is primary."""

    async def follow() -> None:
        while True:
            await asyncio.sleep(ASKED_EVERY_S)
            try:
                await pool.get_master_address()  # type: ignore[no-untyped-call]
            except _SILENT:
                continue
            except Exception as error:  # noqa: BLE001 - a bug of ours must not leave us behind
                log(logger, logging.ERROR, "primary_not_asked", exc_info=error)

    return follow


def to_the_primary(kind: type[T]) -> type[T]:
    """Connections of this kind that go to whom the pool calls the primary, also those in use."""

    class Following(kind):  # type: ignore[valid-type,misc]
        async def read_response(self, *args: Any, **options: Any) -> Any:
            answer = await super().read_response(*args, **options)
            if self.connection_pool.master_address not in (None, (self.host, self.port)):
                await self.disconnect()
                raise BrokenConnection("the server that answered is no longer the primary")
            return answer

        async def send_packed_command(
            self, command: bytes | str | Iterable[bytes], check_health: bool = True
        ) -> Any:
            if not self.is_connected:
                await self.connect()
            await super().send_packed_command(command, check_health)

    return Following
