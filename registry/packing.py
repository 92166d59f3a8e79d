"""Commands are written out for the store by hiredis, which the client library leaves to Python.

A batch of heartbeats is a command of hundreds of arguments, and Python takes as long for one as
hiredis for ten. The bytes are the same.
"""

from __future__ import annotations

from typing import Any, TypeVar

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import DataError

T = TypeVar("T", bound=AbstractConnection)


def packing(kind: type[T]) -> type[T]:
    """Connections of this kind whose commands hiredis writes out."""

    class Packing(kind):  # type: ignore[valid-type,misc]
        def pack_command(self, *args: Any) -> list[bytes]:
            """One command. Raises DataError for an argument that is no text, bytes or number."""
            name, *rest = args
            try:
                # The client library names some commands by several words ('CONFIG GET').
                return [hiredis.pack_command((*name.split(), *rest))]
            except TypeError as error:
                raise DataError(str(error)) from error

    return Packing
