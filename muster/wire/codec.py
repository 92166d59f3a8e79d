"""Frames to plain values and messages to frames, in JSON and MessagePack.

Strict on the way in: whatever JSON could not say is refused in MessagePack too, except bytes,
which a result may carry. Nothing here knows what the fields mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec


class Malformed(ValueError):  # noqa: N818 (named for what it says)
    """The frame can't be read at all."""


class Codec:
    """One way to write messages; `subprotocol` is the name a client offers for it."""

    __slots__ = ("_decode", "_encode", "binary", "name", "subprotocol")

    def __init__(
        self,
        name: str,
        subprotocol: str | None,
        encode: Callable[[Any], bytes],
        decode: Callable[[bytes | str], Any],
        *,
        binary: bool,
    ) -> None:
        self.name = name
        self.subprotocol = subprotocol
        self.binary = binary
        self._encode = encode
        self._decode = decode

    def __repr__(self) -> str:
        return f"<Codec {self.name}>"

    def encode(self, message: Any) -> bytes:
        """The frame's bytes; UTF-8 text if the codec is not binary."""
        return self._encode(message)

    def decode(self, data: bytes | str) -> object:
        """The plain value of a frame; raises Malformed."""
        try:
            return self._decode(data)
        except RecursionError:
            raise Malformed("nested too deeply") from None
        except UnicodeError:
            raise Malformed("not valid UTF-8") from None
        except (ValueError, TypeError, OverflowError) as error:
            raise Malformed(str(error)[:200]) from None


def _decode_msgpack(data: bytes | str) -> Any:
    if isinstance(data, str):
        raise Malformed("a text frame where MessagePack was agreed")
    value = msgspec.msgpack.decode(data)
    _refuse_what_json_lacks(value)
    return value


_PLAIN = frozenset((str, int, bool, type(None), bytes))


def _refuse_what_json_lacks(value: Any) -> None:
    """NaN, infinities, keys that are not strings, times and extensions, at any depth."""
    left = [value]
    while left:
        item = left.pop()
        if type(item) is float:
            if not math.isfinite(item):
                raise Malformed("a number that is not finite")
        elif type(item) is dict:
            if not all(type(key) is str for key in item):
                raise Malformed("a key that is not a string")
            left.extend(item.values())
        elif type(item) is list or type(item) is tuple:
            left.extend(item)
        elif type(item) not in _PLAIN:
            raise Malformed("an extension type")


JSON = Codec("json", None, msgspec.json.encode, msgspec.json.decode, binary=False)
MSGPACK = Codec(
    "msgpack", "muster.v1.msgpack", msgspec.msgpack.encode, _decode_msgpack, binary=True
)
