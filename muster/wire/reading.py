"""A frame of a node becomes a message, or a reason to refuse it.

Nothing but WireError is ever raised, whatever the bytes.
"""

from __future__ import annotations

from typing import Any

from muster.wire.beating import heartbeat, quick_heartbeat
from muster.wire.codec import Codec, Malformed
from muster.wire.fields import Fields, Warnings
from muster.wire.invalid import InvalidMessage, NoGpu, WireError
from muster.wire.kinds import BOOLEAN, COUNT, STRING, said
from muster.wire.messages import (
    SUPPORTED_SCHEMAS,
    Heartbeat,
    JobResult,
    Message,
    Register,
    Unknown,
    Unregister,
)
from muster.wire.registering import register

__all__ = ["MAX_REPORT_BYTES", "SUPPORTED_SCHEMAS", "InvalidMessage", "NoGpu", "WireError", "read"]

MAX_REPORT_BYTES = 262_144


def read(
    data: str | bytes, codec: Codec, *, max_report_bytes: int = MAX_REPORT_BYTES
) -> Register | Heartbeat | JobResult | Unregister | Unknown:
    """The message in one frame; raises WireError.

    Registrations and heartbeats above `max_report_bytes` are refused; results may be larger, as
    they may carry audio.
    """
    if len(data) <= max_report_bytes:
        quick = quick_heartbeat(data, codec)
        if quick is not None and not _oversize(data, max_report_bytes):
            return quick
    message, kind = _envelope(data, codec)
    try:
        return _message(kind, message, data, max_report_bytes)
    except WireError as error:
        error.type = kind
        raise


def _envelope(data: str | bytes, codec: Codec) -> tuple[dict[str, Any], str]:
    try:
        message = codec.decode(data)
    except Malformed as error:
        raise InvalidMessage(
            None, f"one {codec.name} object a frame", details={"error": str(error)}, unreadable=True
        ) from None
    if type(message) is not dict:
        raise InvalidMessage(None, "object", said(message), unreadable=True)
    kind = message.get("type")
    if type(kind) is not str:
        got = said(kind) if "type" in message else "nothing"
        raise InvalidMessage("type", STRING.expected, got, unreadable=True)
    return message, kind


def _message(
    kind: str, message: dict[str, Any], data: str | bytes, max_report_bytes: int
) -> Message:
    if kind in ("node_register", "node_heartbeat") and _oversize(data, max_report_bytes):
        raise InvalidMessage(None, f"at most {max_report_bytes} bytes", "more")
    match kind:
        case "node_heartbeat":
            return heartbeat(message)
        case "node_register":
            return register(Fields(message, Warnings(), lenient=False))
        case "job_result":
            return _job_result(Fields(message, Warnings(), lenient=False))
        case "node_unregister":
            return _unregister(Fields(message, Warnings(), lenient=False))
        case _:
            return Unknown(type=kind)


def _job_result(fields: Fields) -> JobResult:
    code, text = None, None
    lenient = fields.lenient()
    if isinstance(said_error := fields.value("error"), str):
        text = said_error
    elif (error := lenient.object("error")) is not None:
        code, text = error.optional("code", STRING), error.optional("message", STRING)
    return JobResult(
        node_id=fields.optional("node_id", STRING) or None,
        job_id=fields.required("job_id", STRING),
        success=fields.required("success", BOOLEAN),
        error_code=code,
        error_message=text,
        running_jobs=fields.optional("running_jobs", COUNT),
    )


def _unregister(fields: Fields) -> Unregister:
    drain = fields.optional("drain", BOOLEAN)
    return Unregister(
        reason=fields.optional("reason", STRING), drain=True if drain is None else drain
    )


def _oversize(data: str | bytes, max_bytes: int) -> bool:
    """Whether the frame has more bytes; a text is only measured if it may have."""
    if len(data) > max_bytes:
        return True
    if isinstance(data, bytes) or data.isascii() or len(data) * 4 <= max_bytes:
        return False
    return len(data.encode(errors="replace")) > max_bytes
