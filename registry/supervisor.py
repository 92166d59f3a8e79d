"""Telling who started this process that it is ready: systemd, for a unit of `Type=notify`.

It is one datagram to the socket that NOTIFY_SOCKET names. Where nobody wants to be told, nothing is
done.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable

from registry.logs import log

logger = logging.getLogger("muster.supervisor")

VARIABLE = "NOTIFY_SOCKET"
_EVERY_S = 0.2


async def tell_when(ready: Callable[[], Awaitable[bool]]) -> None:
    """Asks `ready` until it says so, tells that once, and returns; at once if nobody listens."""
    address = os.environ.get(VARIABLE, "")
    if not address:
        return
    while not await ready():  # noqa: ASYNC110 - the store answers when asked, and rings nobody
        await asyncio.sleep(_EVERY_S)
    # @ stands for the zero byte of a name that is in no directory.
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.sendto(b"READY=1", name)
    except OSError as error:
        log(logger, logging.WARNING, "readiness_untold", error=str(error))
