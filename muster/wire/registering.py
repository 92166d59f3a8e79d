"""Reading `node_register`: strict, as its sender waits for the answer and can mend it.

The order of checks is the protocol's, as the first failure answers: the types of the top level,
then the list of GPUs by its own rule, then the rest of the hardware, then everything else. The
lists of schema 2.0 are read leniently, as fleets send what no list here names. Whether
the schema is supported is not asked here: whose id it is comes first, and the gateway knows that.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import replace

from muster.wire import parts
from muster.wire.fields import Fields
from muster.wire.invalid import InvalidMessage, NoGpu
from muster.wire.kinds import (
    ARRAY,
    BOOLEAN,
    CAPACITY,
    CORES,
    OBJECT,
    ORDINAL,
    SIZE,
    STRING,
    Kind,
)
from muster.wire.messages import Gpu, Hardware, Model, Register

KINDS = ("asr", "nmt", "tts", "vad", "emotion", "other")
LABELS_MOST = 32
LABEL_BYTES_MOST = 256
PLATFORMS = {
    "win32": "windows",
    "windows": "windows",
    "darwin": "macos",
    "macos": "macos",
    "linux": "linux",
}

LABEL_SHAPE = "[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*"
"""What is shown, listed and logged in a line; a pattern of Python and of JSON Schema alike."""

IN_A_LINE = re.compile(LABEL_SHAPE)
_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TOP_LEVEL: dict[str, Kind[Any]] = {
    "node_id": STRING,
    "version": STRING,
    "platform": STRING,
    "hardware": OBJECT,
    "installed_models": ARRAY,
    "features_supported": OBJECT,
    "accept_public_jobs": BOOLEAN,
    "capability_schema_version": STRING,
    "advanced_features": ARRAY,
    "max_concurrent_jobs": CAPACITY,
    "labels": OBJECT,
    "node_token": STRING,
    "boot_id": STRING,
    "attempt": ORDINAL,
    "heartbeat_ack": BOOLEAN,
}


def register(fields: Fields) -> Register:
    """A registration; raises InvalidMessage or NoGpu."""
    for key, kind in _TOP_LEVEL.items():
        fields.optional(key, kind)
    node_id = _node_id(fields)
    hardware = _hardware(fields)
    schema = fields.optional("capability_schema_version", STRING)
    schema = "1.0" if schema is None else schema
    models = _models(fields, schema)
    public = fields.optional("accept_public_jobs", BOOLEAN)
    lenient = fields.lenient()
    read = Register(
        node_id=node_id,
        version=_known(fields, "version"),
        platform=_platform(fields),
        hardware=hardware,
        installed_models=models,
        features_supported=fields.entries("features_supported", BOOLEAN, null=True) or {},
        accept_public_jobs=True if public is None else public,
        capability_schema_version=schema,
        advanced_features=fields.strings("advanced_features") or (),
        max_concurrent_jobs=fields.optional("max_concurrent_jobs", CAPACITY),
        labels=_labels(fields),
        node_token=fields.optional("node_token", STRING),
        boot_id=fields.optional("boot_id", STRING),
        attempt=fields.optional("attempt", ORDINAL),
        heartbeat_ack=fields.optional("heartbeat_ack", BOOLEAN) or False,
        installed_services=lenient.elements("installed_services", parts.service),
        capability_by_type=lenient.elements("capability_by_type", parts.capability_of_type),
        language_capabilities=parts.language_capabilities(lenient.object("language_capabilities")),
        capability_state=lenient.entries("capability_state", STRING) or {},
    )
    return _with_warnings(read, fields)


def _with_warnings(read: Register, fields: Fields) -> Register:
    parts.warn_of_languages(read.installed_models, fields.warnings)
    if not read.installed_models and read.capability_schema_version == "1.0":
        fields.warnings.add("installed_models: empty, the node can't become ready without a model")
    return replace(read, warnings=fields.warnings.all())


def _node_id(fields: Fields) -> str | None:
    node_id = fields.optional("node_id", STRING)
    if not node_id:
        return None
    if not _NODE_ID.fullmatch(node_id):
        raise InvalidMessage("node_id", "1 to 64 of A-Z a-z 0-9 . _ -", "another string")
    return node_id


def _hardware(fields: Fields) -> Hardware:
    inside = fields.object("hardware")
    if inside is None:
        raise NoGpu
    gpus: tuple[Gpu, ...] = inside.elements("gpus", parts.gpu) or ()
    if not any(gpu.memory_gb > 0 for gpu in gpus):
        raise NoGpu
    return Hardware(
        cpu_cores=inside.required("cpu_cores", CORES),
        memory_gb=inside.required("memory_gb", SIZE),
        gpus=gpus,
    )


def _models(fields: Fields, schema: str) -> tuple[Model, ...]:
    fields.required("installed_models", ARRAY)
    models = fields.elements("installed_models", parts.model) or ()
    if schema == "1.0":
        for at, model in enumerate(models):
            if model.kind not in KINDS:
                raise InvalidMessage(
                    f"installed_models[{at}].kind", "one of " + " ".join(KINDS), "another string"
                )
    return models


def _labels(fields: Fields) -> dict[str, str]:
    labels: dict[str, str] = fields.entries("labels", STRING) or {}
    if len(labels) > LABELS_MOST:
        raise InvalidMessage("labels", f"at most {LABELS_MOST} entries", f"{len(labels)} entries")
    for key, value in labels.items():
        if max(len(key.encode()), len(value.encode())) > LABEL_BYTES_MOST:
            raise InvalidMessage(
                f"labels.{key}", f"key and value of at most {LABEL_BYTES_MOST} bytes", "more"
            )
        if not (IN_A_LINE.fullmatch(key) and IN_A_LINE.fullmatch(value)):
            raise InvalidMessage(
                f"labels.{key}", "key and value without control characters", "one of them"
            )
    return labels


def _known(fields: Fields, key: str) -> str:
    value = fields.optional(key, STRING)
    if value is None:
        fields.warnings.add(f"{key}: missing")
        return "unknown"
    return value


def _platform(fields: Fields) -> str:
    platform = _known(fields, "platform")
    return PLATFORMS.get(platform.lower(), platform)
