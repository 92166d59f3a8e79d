"""JSON Schemas of the frames, made from the messages, for programs in other languages.

What a server says is encoded as its types declare, so the schema is theirs. What a node says is
read by rules of its own (`reading`) into types that keep what was understood; here those types are
put back into the form of a frame, with the rules that readers hold them to. A frame that fits is
accepted without a warning; others may be accepted too, as heartbeats above all are read leniently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct

from muster.wire import messages as m
from muster.wire.errors import ErrorCode
from muster.wire.registering import KINDS, LABEL_BYTES_MOST, LABEL_SHAPE, LABELS_MOST

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_NULL: Schema = {"type": "null"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_LABEL = f"^{LABEL_SHAPE}$"
_CAPABILITY_STATE: Schema = {
    "description": "Status by model id, which counts instead of the model's own.",
    "additionalProperties": _TEXT_OR_NULL,
}


class Health(Struct, frozen=True, kw_only=True):
    """The node's own word on whether it is fit for work."""

    ok: bool | None = None
    reason: str | None = None


class Machine(Struct, frozen=True, kw_only=True):
    """What a machine is made of by now, memory in GiB; its cards alone may be named."""

    cpu_cores: float | None = None
    memory_gb: float | None = None
    gpus: tuple[m.Gpu, ...] | None = None


class JobError(Struct, frozen=True, kw_only=True):
    """Why a task failed."""

    code: str | None = None
    message: str | None = None


def _frame(
    name: str, of: type[Struct], doc: str, without: Iterable[str] = (), **instead: Any
) -> type[Struct]:
    """A message in the form in which it stands in its frame."""
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(of):
        default = field.default
        if field.default_factory is not NODEFAULT:
            default = msgspec.field(default_factory=field.default_factory)
        if field.name not in (*without, *instead):
            fields.append((field.name, field.type, default))
    fields += [(name, kind, None) for name, kind in instead.items()]
    return msgspec.defstruct(
        name, fields, namespace={"__doc__": doc}, tag=of.__struct_config__.tag, kw_only=True
    )


FROM_NODES: Mapping[str, type[Struct]] = {
    "node_register": _frame(
        "NodeRegister",
        m.Register,
        "A node introduces itself.",
        without=("warnings",),
    ),
    "node_heartbeat": _frame(
        "NodeHeartbeat",
        m.Heartbeat,
        "A sign of life. What is reported replaces what was registered; what is not stays.",
        without=(
            "usage",
            "health_ok",
            "health_reason",
            "hardware_gpus",
            "warnings",
            "raw",
            "frame",
        ),
        resource_usage=m.Usage | None,
        health=Health | None,
        hardware=Machine | None,
    ),
    "job_result": _frame(
        "JobResult",
        m.JobResult,
        "A task finished. What else the message has is ignored.",
        without=("error_code", "error_message"),
        error=str | JobError | None,
    ),
    "node_unregister": _frame(
        "NodeUnregister",
        m.Unregister,
        "A node leaves; with `drain`, after finishing what it has.",
    ),
}

FROM_SERVERS: Mapping[str, type[Struct]] = {
    "node_register_ack": m.RegisterAck,
    "node_error": m.NodeError,
    "node_status": m.NodeStatus,
    "node_heartbeat_ack": m.HeartbeatAck,
    "reconnect": m.Reconnect,
}

_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "NodeRegister": ("type", "hardware", "installed_models"),
    "NodeHeartbeat": ("type",),
    "JobResult": ("type", "job_id", "success"),
    "RegisterAck": (
        "type", "node_id", "message", "status", "session", "version", "heartbeat_interval_ms",
        "heartbeat_timeout_ms", "warnings",
    ),
    "NodeError": ("type", "node_id", "code", "message", "details"),
}  # fmt: skip
"""Where a type has defaults for what must be in a frame, or always is."""

_ABOUT: Mapping[str, str] = {
    "RegisterAck": "The first frame of a session: the node is registered.",
    "NodeError": "A message was refused. The socket stays open, but after UNAUTHORIZED.",
}
"""Where the type speaks to who reads our code."""

_FIELDS: Mapping[str, Mapping[str, Schema]] = {
    "NodeRegister": {
        "node_id": {
            "description": "The id from an earlier ack; none or empty: the server assigns one.",
            "pattern": "^[A-Za-z0-9._-]{0,64}$",
        },
        "version": {"description": "Of the node's program."},
        "platform": {"description": "windows, linux or macos; win32 and darwin are translated."},
        "installed_models": {"description": "May be empty, but then no model is ready."},
        "accept_public_jobs": {"description": "false: only for requests that are not public."},
        "capability_schema_version": {"enum": list(m.SUPPORTED_SCHEMAS)},
        "max_concurrent_jobs": {
            "description": "Jobs it may have at once; not given: the number of cards.",
            "minimum": 1,
            "maximum": m.COUNT_MOST,
        },
        "labels": {
            "description": "For filters. Names and values have at most 256 bytes of UTF-8 and no "
            "control characters.",
            "maxProperties": LABELS_MOST,
            "propertyNames": {"maxLength": LABEL_BYTES_MOST, "pattern": _LABEL},
            "additionalProperties": {
                **_TEXT_OR_NULL,
                "maxLength": LABEL_BYTES_MOST,
                "pattern": _LABEL,
            },
        },
        "node_token": {"description": "The token from an earlier ack: proves whose id it is."},
        "boot_id": {"description": "A random text, new at every start of the program."},
        "attempt": {
            "description": "Counts the connections of one start of the program.",
            "minimum": 0,
            "maximum": 2**53,
        },
        "heartbeat_ack": {"description": "Whether heartbeats are to be answered."},
        "capability_state": _CAPABILITY_STATE,
    },
    "NodeHeartbeat": {
        "capability_state": _CAPABILITY_STATE,
        "node_id": {"description": "Another node's id is refused; not given: this socket's."},
        "timestamp": {"description": "Recorded, never trusted."},
    },
    "JobResult": {
        "job_id": {"description": "Of the task, or of the hold it came with."},
    },
    "Hardware": {
        "cpu_cores": {"minimum": 1},
        "memory_gb": {"exclusiveMinimum": 0},
        "gpus": {
            "description": "At least one has memory.",
            "minItems": 1,
            "contains": {"properties": {"memory_gb": {"exclusiveMinimum": 0}}},
        },
    },
    "Machine": {"cpu_cores": {"minimum": 1}, "memory_gb": {"exclusiveMinimum": 0}},
    "Model": {
        "kind": {"description": "Under schema 1.0 one of " + ", ".join(KINDS) + "."},
        "src_lang": {"description": "Heard or translated from; nmt needs it."},
        "tgt_lang": {"description": "Translated into or spoken; nmt and tts need it."},
        "status": {"description": "ready, downloading, not_installed or error."},
    },
    "RegisterAck": {
        "node_token": {"description": "Keep it; there if the id is this node's beyond doubt."},
        "resumed": {"description": "There only if true: the former life goes on."},
        "node_id": {"description": "Keep it, and send it with every registration."},
        "version": {"description": "Orders changes: drop a node_status that has less."},
        "warnings": {"description": "What was accepted though it looks wrong."},
    },
    "NodeError": {
        "node_id": {"description": "null until the socket has a registration."},
        "code": {"description": "One of " + ", ".join(ErrorCode) + "; there may be new ones."},
        "message": {"description": "For people, in the language that Accept-Language asked for."},
    },
    "NodeStatus": {
        "reason": {"description": "A code."},
        "message": {"description": "For people: what it means and what to do."},
        "timestamp": {"description": "ms of the store's clock."},
    },
    "HeartbeatAck": {
        "next_ms": {"description": "When the next heartbeat is wanted."},
        "store": {"description": "ok, or unavailable: what is reported now counts later."},
    },
}
"""What fields mean, and what readers ask of a value beyond its type."""

_NULL_IS_SAID = ("NodeError.node_id", "NodeError.details", "NodeStatus.previous")
"""What a server always says, if only that there is nothing to say."""

_OF_SCHEMA_1: Schema = {
    "if": {
        "properties": {"capability_schema_version": {"const": "2.0"}},
        "required": ["capability_schema_version"],
    },
    "else": {
        "properties": {
            "installed_models": {"items": {"properties": {"kind": {"enum": list(KINDS)}}}}
        }
    },
}
"""A registration that names no schema is of 1.0, which knows these kinds of models alone."""


def components(ref_template: str) -> dict[str, Schema]:
    """The schemas of all frames and of what they are made of, by name."""
    _, sent = msgspec.json.schema_components(FROM_NODES.values(), ref_template=ref_template)
    _, told = msgspec.json.schema_components(FROM_SERVERS.values(), ref_template=ref_template)
    found = {
        # What a node says: null in an optional field counts as missing.
        **{name: _made(name, schema, null=True) for name, schema in sent.items()},
        **{name: _made(name, schema, null=False) for name, schema in told.items()},
    }
    found["NodeRegister"] |= _OF_SCHEMA_1
    return found


def frame_schema(kind: str) -> Schema:
    """The schema of one kind of frame, complete in itself."""
    found = components("#/$defs/{name}")
    frame = FROM_NODES.get(kind) or FROM_SERVERS[kind]
    schema = {"$schema": DRAFT, **found.pop(frame.__name__)}
    parts = _reached(schema, found)
    return schema | ({"$defs": {part: found[part] for part in parts}} if parts else {})


def _made(name: str, schema: Schema, *, null: bool) -> Schema:
    """msgspec's schema of a Struct with all that its type does not say."""
    required = list(_REQUIRED.get(name, schema.get("required", ())))
    fields = _FIELDS.get(name, {})
    properties = {}
    for field, is_ in schema["properties"].items():
        always = field in required
        may_be_null = f"{name}.{field}" in _NULL_IS_SAID or (null and not always)
        properties[field] = _field(is_ | fields.get(field, {}), null=may_be_null, always=always)
    return {
        "title": name,
        "description": _ABOUT.get(name, schema["description"]),
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
    }


def _field(schema: Schema, *, null: bool, always: bool) -> Schema:
    """A field's schema, with null or without."""
    default = schema.pop("default", None)
    if always:
        default = None
    if not schema.keys() - {"description"}:
        return schema  # anything
    said = {name: schema.pop(name) for name in ("description",) if name in schema}
    options = [option for option in schema.pop("anyOf", ()) if option != _NULL]
    if len(options) == 1:
        schema = options[0] | schema
    elif options:
        schema["anyOf"] = options
    if null and "anyOf" in schema:
        schema["anyOf"].append(_NULL)
    elif null:
        schema = {"anyOf": [schema, _NULL]}
    return said | schema | ({} if default is None else {"default": default})


def _reached(schema: Any, found: Mapping[str, Schema]) -> list[str]:
    """Names of what a schema refers to, also by way of others, sorted."""
    reached: set[str] = set()
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name and name not in reached:
                reached.add(name)
                waiting.append(found[name])
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return sorted(reached)
