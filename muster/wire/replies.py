"""A frame of a gateway becomes a message: what an agent reads.

Types a newer gateway may send come out as Unknown, and unknown fields are ignored.
"""

from __future__ import annotations

import msgspec

from muster.wire.codec import Codec, Malformed
from muster.wire.messages import (
    HeartbeatAck,
    NodeError,
    NodeStatus,
    Reconnect,
    RegisterAck,
    Reply,
    Unknown,
)

_REPLIES: dict[str, type[Reply]] = {
    "node_register_ack": RegisterAck,
    "node_error": NodeError,
    "node_status": NodeStatus,
    "node_heartbeat_ack": HeartbeatAck,
    "reconnect": Reconnect,
}


def read_reply(data: str | bytes, codec: Codec) -> Reply | Unknown:
    """The message in one frame of a gateway; raises Malformed."""
    message = codec.decode(data)
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str):
        raise Malformed("not a message: an object with a type was expected")
    if kind not in _REPLIES:
        return Unknown(type=kind)
    try:
        return msgspec.convert(message, _REPLIES[kind])
    except msgspec.ValidationError as error:
        raise Malformed(f"{kind}: {error}") from None
