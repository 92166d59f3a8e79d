"""What can stand in an agent's way: why there is no connection, and what is worth a warning.

Sorted by what a machine's owner can do about it; `sentences` says that in words.
"""

from __future__ import annotations

import socket
import ssl
from enum import StrEnum

from websockets import exceptions


class Trouble(StrEnum):
    """What stands between this machine and the server."""

    BAD_URL = "bad_url"
    NAME = "name"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "tls"
    PROXY = "proxy"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    UPSTREAM = "upstream"
    NOT_MUSTER = "not_muster"
    LOST = "lost"
    SILENT = "silent"


class Note(StrEnum):
    """What an owner should know though nothing is broken for good."""

    SIMULATED = "simulated"
    NO_MODELS = "no_models"
    IDENTITY_OF_ANOTHER_MACHINE = "identity_of_another_machine"
    IDENTITY_CLEARED = "identity_cleared"
    IDENTITY_UNREADABLE = "identity_unreadable"
    STATE_NOT_WRITABLE = "state_not_writable"
    HARDWARE_CHANGED = "hardware_changed"
    CLEAR_TEXT = "clear_text"
    STORE_AWAY = "store_away"


def trouble_of(error: BaseException) -> Trouble:
    """The kind of trouble an exception of the WebSocket library or of the system stands for.

    `SILENT` is never among them: only a session knows that answers stayed away.
    """
    if isinstance(error, exceptions.InvalidStatus):
        return _of_http(error.response.status_code)
    for kinds, trouble in _KINDS:
        if isinstance(error, kinds):
            return trouble
    return Trouble.LOST


def _of_http(status: int) -> Trouble:
    if status in (401, 403):
        return Trouble.FORBIDDEN
    if status == 404:
        return Trouble.NOT_FOUND
    return Trouble.UPSTREAM if status >= 500 or status == 429 else Trouble.NOT_MUSTER


# The first that fits decides: several of these are subclasses of OSError.
_KINDS: tuple[tuple[tuple[type[BaseException], ...], Trouble], ...] = (
    ((exceptions.InvalidURI,), Trouble.BAD_URL),
    ((exceptions.ProxyError, exceptions.InvalidProxy), Trouble.PROXY),
    ((exceptions.InvalidHandshake,), Trouble.NOT_MUSTER),
    ((exceptions.ConnectionClosed,), Trouble.LOST),
    ((socket.gaierror,), Trouble.NAME),
    ((ssl.SSLError,), Trouble.TLS),
    ((TimeoutError,), Trouble.TIMEOUT),
    ((ConnectionRefusedError,), Trouble.REFUSED),
    ((ConnectionError,), Trouble.LOST),
    ((OSError,), Trouble.UNREACHABLE),
)
