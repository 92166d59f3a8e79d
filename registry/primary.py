"""Connections to the primary that Sentinel names, and to nobody else.

The client library asks who that is for new connections only. One that broke goes back to where it
was, and one in use while another hears of a new primary stays with the former: where two servers
take writes for a while, one process would speak with both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from redis.asyncio.sentinel import SentinelManagedConnection

T = TypeVar("T", bound=SentinelManagedConnection)


def to_the_primary(kind: type[T]) -> type[T]:
    """Connections of this kind that go where Sentinel says, whenever they are taken or broke."""

    class Following(kind):  # type: ignore[valid-type,misc]
        async def connect(self) -> None:
            named = self.connection_pool.master_address
            if self.is_connected and named not in (None, (self.host, self.port)):
                await self.disconnect()
            await super().connect()

        async def send_packed_command(
            self, command: bytes | str | Iterable[bytes], check_health: bool = True
        ) -> Any:
            if not self.is_connected:
                await self.connect()
            await super().send_packed_command(command, check_health)

    return Following
