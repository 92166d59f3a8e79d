"""Connections to the primary that Sentinel names, and to nobody else.

The client library asks who that is for new connections only. One that broke goes back to where it
was, and one in use while another hears of a new primary stays with the former: where two servers
take writes for a while, one process would speak with both. And a primary that refuses writes for
want of replicas may have been replaced: it is some ten seconds until Sentinel tells it so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from redis.asyncio.sentinel import SentinelManagedConnection
from redis.exceptions import ResponseError

T = TypeVar("T", bound=SentinelManagedConnection)


def to_the_primary(kind: type[T]) -> type[T]:
    """Connections of this kind that go where Sentinel says, whenever they are taken or broke."""

    class Following(kind):  # type: ignore[valid-type,misc]
        refused = False

        async def connect(self) -> None:
            named = self.connection_pool.master_address
            elsewhere = named not in (None, (self.host, self.port))
            if self.is_connected and (elsewhere or self.refused):
                await self.disconnect()
            self.refused = False
            await super().connect()

        async def read_response(self, *args: Any, **options: Any) -> Any:
            try:
                return await super().read_response(*args, **options)
            except ResponseError as error:
                self.refused = self.refused or str(error).startswith("NOREPLICAS")
                raise

        async def send_packed_command(
            self, command: bytes | str | Iterable[bytes], check_health: bool = True
        ) -> Any:
            if not self.is_connected:
                await self.connect()
            await super().send_packed_command(command, check_health)

    return Following
