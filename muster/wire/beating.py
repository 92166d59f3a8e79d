"""Reading `node_heartbeat`: lenient, as a sloppy report must not kill a machine.

Three ways to one result. The short way takes what nearly every heartbeat is, a small JSON object of
usage and health alone, and keeps its bytes as the report. The quick way decodes any well-formed
heartbeat straight into types. If anything at all is out of the ordinary each gives up, and the slow
way reads field by field and says what it left out. Only a foreign kind of `node_id` is refused.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from muster.wire import parts
from muster.wire.codec import JSON, Codec
from muster.wire.fields import Fields, Warnings
from muster.wire.invalid import InvalidMessage
from muster.wire.kinds import BOOLEAN, CORES, COUNT, NUMBER, SIZE, STRING, said
from muster.wire.messages import (
    CapabilityOfType,
    Gpu,
    GpuReport,
    Hardware,
    Heartbeat,
    LanguageCapabilities,
    Model,
    Service,
    Usage,
)

SHORT_MOST = 1024
"""Bytes. A report that is kept as it came is no longer than this."""
RAW_MOST = 32
TEXT_MOST = 256


class _Health(Struct, frozen=True):
    ok: bool | None = None
    reason: str | None = None


class _Short(Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["node_heartbeat"]
    node_id: str | None = None
    timestamp: Any = None
    resource_usage: Usage | None = None
    health: _Health | None = None


class _Machine(Struct, frozen=True):
    cpu_cores: float | None = None
    memory_gb: float | None = None
    gpus: tuple[Gpu, ...] | None = None


class _Beat(Struct, frozen=True):
    type: Literal["node_heartbeat"]
    node_id: str | None = None
    timestamp: Any = None
    resource_usage: dict[str, Any] | None = None
    health: _Health | None = None
    hardware: _Machine | None = None
    installed_models: tuple[Model, ...] | None = None
    installed_services: tuple[Service, ...] | None = None
    capability_by_type: tuple[CapabilityOfType, ...] | None = None
    language_capabilities: LanguageCapabilities | None = None
    capability_state: dict[str, str] | None = None


_BEAT = msgspec.json.Decoder(_Beat)
_SHORT = msgspec.json.Decoder(_Short)
_NO_HEALTH = _Health()
_NO_MACHINE = _Machine()
_NO_USAGE = Usage()


def short_heartbeat(frame: bytes) -> Heartbeat | None:
    """A small heartbeat of usage and health alone, whose `frame` stands for `raw`, `timestamp` and
    `health_reason`; or None for anything else."""
    if len(frame) > SHORT_MOST or not frame.isascii():
        return None
    try:
        beat = _SHORT.decode(frame)
    except (ValueError, RecursionError):
        return None
    health = beat.health or _NO_HEALTH
    return Heartbeat(
        node_id=beat.node_id or None,
        usage=beat.resource_usage or _NO_USAGE,
        health_ok=health.ok,
        frame=frame,
    )


def heartbeat_of(frame: bytes) -> Heartbeat:
    """What `short_heartbeat` took, read in full. Raises WireError or Malformed for other frames."""
    quick = quick_heartbeat(frame, JSON)
    if quick is not None:
        return quick
    plain = JSON.decode(frame)
    return heartbeat(plain if isinstance(plain, dict) else {})


def quick_heartbeat(data: bytes | str, codec: Codec) -> Heartbeat | None:
    """A well-formed heartbeat, or None for anything else: then the slow way decides."""
    if codec is not JSON:
        return None
    try:
        beat = _BEAT.decode(data)
        usage = (
            _NO_USAGE
            if beat.resource_usage is None
            else msgspec.convert(beat.resource_usage, Usage)
        )
    except (ValueError, RecursionError):
        return None
    machine = beat.hardware or _NO_MACHINE
    if machine is not _NO_MACHINE and not _plausible(machine):
        return None
    health = beat.health or _NO_HEALTH
    return Heartbeat(
        node_id=beat.node_id or None,
        timestamp=_plain(beat.timestamp),
        usage=usage,
        health_ok=health.ok,
        health_reason=health.reason,
        hardware_gpus=machine.gpus,
        hardware=_whole(machine.cpu_cores, machine.memory_gb, machine.gpus),
        installed_models=beat.installed_models,
        installed_services=beat.installed_services,
        capability_by_type=beat.capability_by_type,
        language_capabilities=beat.language_capabilities,
        capability_state=beat.capability_state,
        warnings=_warnings(beat.installed_models, Warnings()) if beat.installed_models else (),
        raw=_raw(beat.resource_usage, usage),
    )


def heartbeat(message: dict[str, Any]) -> Heartbeat:
    """A heartbeat from its plain object; raises InvalidMessage for a foreign kind of id."""
    node_id = message.get("node_id")
    if node_id is not None and type(node_id) is not str:
        raise InvalidMessage("node_id", STRING.expected, said(node_id))
    warnings = Warnings()
    fields = Fields(message, warnings, lenient=True)
    inside = fields.object("resource_usage")
    usage = _NO_USAGE if inside is None else _usage(inside)
    health = fields.object("health")
    machine = fields.object("hardware")
    gpus = machine.elements("gpus", parts.gpu) if machine else None
    models = fields.elements("installed_models", parts.model)
    usage_sent = message.get("resource_usage")
    return Heartbeat(
        node_id=node_id or None,
        timestamp=_plain(message.get("timestamp")),
        usage=usage,
        health_ok=health.optional("ok", BOOLEAN) if health else None,
        health_reason=health.optional("reason", STRING) if health else None,
        hardware_gpus=gpus,
        hardware=_whole(
            machine.optional("cpu_cores", CORES), machine.optional("memory_gb", SIZE), gpus
        )
        if machine
        else None,
        installed_models=models,
        installed_services=fields.elements("installed_services", parts.service),
        capability_by_type=fields.elements("capability_by_type", parts.capability_of_type),
        language_capabilities=parts.language_capabilities(fields.object("language_capabilities")),
        capability_state=fields.entries("capability_state", STRING),
        warnings=_warnings(models or (), warnings),
        raw=_raw(usage_sent if type(usage_sent) is dict else None, usage),
    )


def _usage(fields: Fields) -> Usage:
    return Usage(
        cpu_percent=fields.optional("cpu_percent", NUMBER),
        mem_percent=fields.optional("mem_percent", NUMBER),
        running_jobs=fields.optional("running_jobs", COUNT),
        gpu_percent=fields.optional("gpu_percent", NUMBER),
        gpu_mem_percent=fields.optional("gpu_mem_percent", NUMBER),
        gpu_queue_length=fields.optional("gpu_queue_length", COUNT),
        gpus=fields.elements("gpus", _gpu_report),
    )


def _gpu_report(fields: Fields) -> GpuReport:
    healthy = fields.optional("healthy", BOOLEAN)
    return GpuReport(
        index=fields.optional("index", COUNT),
        uuid=fields.optional("uuid", STRING),
        healthy=True if healthy is None else healthy,
        reason=fields.optional("reason", STRING),
        memory_used_gb=fields.optional("memory_used_gb", NUMBER),
        temperature_c=fields.optional("temperature_c", NUMBER),
    )


def _plausible(machine: _Machine) -> bool:
    cores, memory = machine.cpu_cores, machine.memory_gb
    return (cores is None or cores >= 1) and (memory is None or memory > 0)


def _whole(
    cpu_cores: float | None, memory_gb: float | None, gpus: tuple[Gpu, ...] | None
) -> Hardware | None:
    if cpu_cores is None or memory_gb is None or gpus is None:
        return None
    return Hardware(cpu_cores=cpu_cores, memory_gb=memory_gb, gpus=gpus)


def _warnings(models: tuple[Model, ...], warnings: Warnings) -> tuple[str, ...]:
    parts.warn_of_languages(models, warnings)
    return warnings.all()


def _raw(sent: dict[str, Any] | None, usage: Usage) -> dict[str, Any]:
    """The usage for people: single values as sent, cards as understood, nothing unbounded."""
    if not sent:
        return {}
    shown: dict[str, Any] = {}
    for key, value in sent.items():
        if value is None or isinstance(value, str | int | float):
            shown[key[:TEXT_MOST]] = _plain(value)
            if len(shown) == RAW_MOST:
                break
    if usage.gpus is not None:
        shown["gpus"] = msgspec.to_builtins(usage.gpus, str_keys=True)
    return shown


def _plain(value: Any) -> Any:
    """A single value that any codec can write; anything else as a short text."""
    if value is None or type(value) is float or type(value) is bool:
        return value
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    try:
        return str(value)[:TEXT_MOST]
    except (RecursionError, ValueError):
        return "?"
