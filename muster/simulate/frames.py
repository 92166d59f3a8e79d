"""WebSocket frames, as cheap as they can be: the least of RFC 6455 a node needs.

A client that is tested by others (the agent's) costs ten times as much a frame, and whoever drives
tens of thousands of sockets measures itself then. This one masks, answers pings and reads what a
gateway sends: whole, unmasked frames. Anything else is a `FrameError`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10

MOST_BYTES = 1_048_576
"""The largest frame taken from a server."""


class FrameError(Exception):
    """What the server sent is no frame that it may send."""


def masked(data: bytes, opcode: int = TEXT) -> bytes:
    """One whole frame as a client sends it."""
    size = len(data)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    key = os.urandom(4)
    # One number against another: Python has no quicker way through bytes of its own.
    pad = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    return head + key + (int.from_bytes(data, "big") ^ pad).to_bytes(size, "big")


def frames(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Takes every whole frame from the beginning of a buffer: (opcode, payload)."""
    while len(buffer) >= 2:
        first, size, at = buffer[0], buffer[1], 2
        if size & 0x80 or first & 0x70 or not first & 0x80:
            raise FrameError("masked, compressed or in parts")
        if size == 126:
            size, at = int.from_bytes(buffer[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < at:
            return
        if size > MOST_BYTES:
            raise FrameError(f"{size} bytes")
        if len(buffer) < at + size:
            return
        payload = bytes(buffer[at : at + size])
        del buffer[: at + size]
        yield first & 0x0F, payload


def close_code(payload: bytes) -> int:
    """The code of a close frame; 1005 where it has none."""
    return int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
