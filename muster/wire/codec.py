"""The two ways a message crosses a socket: JSON in text frames, MessagePack in binary ones."""

from __future__ import annotations

from typing import Any

import msgspec

MSGPACK_SUBPROTOCOL = "muster.v1.msgpack"


class Codec:
    """Bytes to plain values and structs to bytes, for one kind of frame."""

    def __init__(self, subprotocol: str | None) -> None:
        self.subprotocol = subprotocol
        self.binary = subprotocol is not None
        if self.binary:
            self.encode = msgspec.msgpack.Encoder().encode
            self._decode = msgspec.msgpack.Decoder().decode
        else:
            self.encode = msgspec.json.Encoder().encode
            self._decode = msgspec.json.Decoder().decode

    def decode(self, frame: str | bytes) -> Any:
        """A frame's value. Raises ValueError when it is unreadable in this codec."""
        data = frame.encode("utf-8") if isinstance(frame, str) else frame
        try:
            return self._decode(data)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from error


JSON = Codec(None)
MSGPACK = Codec(MSGPACK_SUBPROTOCOL)
