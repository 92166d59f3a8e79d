"""A frame becomes a typed message, or a `WireError` that says which field and what was expected.

Two rules. A registration is read strictly: the first thing wrong with it is answered, in the
protocol's order (the top level, then the GPU list's own rule, then the rest). A heartbeat is read
leniently: an optional value of the wrong type counts as missing and becomes a warning, because a
sloppy report must not kill a machine. Nothing but `WireError` leaves `read`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite
from typing import Any, TypeVar

from muster.wire.codec import Codec
from muster.wire.errors import InvalidMessage, NoGpu, WireError
from muster.wire.messages import (
    KINDS,
    MODEL_STATUSES,
    CapabilityOfType,
    Gpu,
    GpuReport,
    Hardware,
    Heartbeat,
    JobResult,
    LanguageCapabilities,
    Model,
    Register,
    Service,
    Unknown,
    Unregister,
    Usage,
)

__all__ = ["InvalidMessage", "NoGpu", "WireError", "read"]

T = TypeVar("T")
Message = Register | Heartbeat | JobResult | Unregister | Unknown

_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_PLATFORMS = {"win32": "windows", "darwin": "macos", "mac": "macos", "win": "windows"}
_MAX_LABELS = 32
_MAX_LABEL_BYTES = 256
_MAX_WARNINGS = 20
_LARGEST = 1e15
_MISSING: Any = object()


def read(data: str | bytes, codec: Codec, *, max_report_bytes: int = 262_144) -> Message:
    """The message in a frame.

    Raises InvalidMessage or NoGpu; `unreadable` is set when the frame was no message at all."""
    try:
        value = codec.decode(data)
    except ValueError as error:
        expected = "MessagePack" if codec.binary else "JSON"
        raise InvalidMessage(None, f"{expected} ({error})", unreadable=True) from error
    if not isinstance(value, dict):
        raise InvalidMessage(None, f"an object, got {_kind(value)}", unreadable=True)
    type_ = value.get("type")
    if not isinstance(type_, str):
        raise InvalidMessage("type", f"a string, got {_kind(type_)}", unreadable=True)
    reader = _READERS.get(type_)
    if reader is None:
        return Unknown(type=type_)
    try:
        if len(data) > max_report_bytes and type_ in ("node_register", "node_heartbeat"):
            raise InvalidMessage(None, f"at most {max_report_bytes} bytes, got {len(data)}")
        return reader(value)
    except WireError as error:
        error.type = type_
        raise


def _kind(value: Any) -> str:
    if value is None or value is _MISSING:
        return "nothing"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number" if isfinite(value) else f"{value}"
    names: dict[type, str] = {
        str: "string",
        list: "array",
        tuple: "array",
        dict: "object",
        bytes: "binary",
    }
    return names.get(type(value), type(value).__name__)


# Each check returns the value it was given, or raises ValueError naming what was expected.


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a string of valid Unicode") from None
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number")
    if not isfinite(value) or abs(value) > _LARGEST:
        raise ValueError("a finite number")
    return float(value)


def _whole(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError("a whole number")
    return int(number)


def _count(value: Any) -> int:
    number = _whole(value)
    if number < 0:
        raise ValueError("a whole number, 0 or more")
    return number


def _at_least_one(value: Any) -> int:
    number = _whole(value)
    if number < 1:
        raise ValueError("a whole number, 1 or more")
    return number


def _object(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError("an object")
    return value


def _array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("an array")
    return value


class _Fields:
    """The fields of one object, read strictly or leniently (wrong ones noted in `warnings`)."""

    def __init__(
        self, value: dict[Any, Any], path: str = "", warnings: list[str] | None = None
    ) -> None:
        self.value = value
        self.path = path
        self.warnings = warnings

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        return self.value.get(name) is not None

    def get(self, name: str, check: Callable[[Any], T], default: Any = None) -> Any:
        """The field, or the default when it is missing, null, or (leniently) wrong."""
        value = self.value.get(name)
        if value is None:
            return default
        try:
            return check(value)
        except ValueError as error:
            if self.warnings is None:
                raise self.wrong(name, str(error)) from None
            self.warn(f"{self.at(name)}: expected {error}, got {_kind(value)}")
            return default

    def need(self, name: str, check: Callable[[Any], T]) -> T:
        """The field, which must be there; wrong is refused also in a lenient message."""
        value = self.value.get(name)
        try:
            if value is None:
                check(_MISSING)
            return check(value)
        except ValueError as error:
            raise self.wrong(name, str(error)) from None

    def wrong(self, name: str, expected: str) -> InvalidMessage:
        return InvalidMessage(self.at(name), f"{expected}, got {_kind(self.value.get(name))}")

    def warn(self, text: str) -> None:
        if self.warnings is not None and len(self.warnings) < _MAX_WARNINGS:
            self.warnings.append(text)

    def entries(
        self, name: str, read_one: Callable[[_Fields], T], *, drop: bool
    ) -> tuple[T, ...] | None:
        """The objects of an array; with `drop` wrong ones are left out with a warning."""
        found: list[T] = []
        array = self.get(name, _array, None)
        if array is None:
            return None
        for i, entry in enumerate(array):
            path = f"{self.at(name)}[{i}]"
            try:
                if not isinstance(entry, dict):
                    raise InvalidMessage(path, f"an object, got {_kind(entry)}")
                found.append(read_one(_Fields(entry, path, self.warnings)))
            except InvalidMessage as error:
                if not drop:
                    raise
                self.warn(str(error))
        return tuple(found)


def _gpu(f: _Fields) -> Gpu:
    return Gpu(
        name=f.need("name", _text),
        memory_gb=f.need("memory_gb", _number),
        uuid=f.get("uuid", _text),
        driver_version=f.get("driver_version", _text),
        index=f.get("index", _whole),
    )


def _hardware(f: _Fields) -> Hardware:
    """The GPU list's own rule goes before the rest of `hardware`."""
    hardware = f.get("hardware", _object)
    if hardware is None:
        raise NoGpu("hardware.gpus", "at least one GPU")
    h = _Fields(hardware, "hardware")
    gpus = h.entries("gpus", _gpu, drop=False)
    if not gpus or all(gpu.memory_gb <= 0 for gpu in gpus):
        raise NoGpu("hardware.gpus", "at least one GPU with memory_gb above 0")
    cores = h.need("cpu_cores", _number)
    if cores < 1:
        raise h.wrong("cpu_cores", "a number, 1 or more")
    memory = h.need("memory_gb", _number)
    if memory <= 0:
        raise h.wrong("memory_gb", "a number above 0")
    return Hardware(cpu_cores=cores, memory_gb=memory, gpus=gpus)


def _model(schema: str) -> Callable[[_Fields], Model]:
    def read_one(f: _Fields) -> Model:
        kind = f.need("kind", _text)
        if schema == "1.0" and kind not in KINDS:
            raise InvalidMessage(f.at("kind"), f"one of {', '.join(KINDS)}, got {kind[:40]!r}")
        return Model(
            model_id=f.need("model_id", _text),
            kind=kind,
            version=f.need("version", _text),
            src_lang=f.get("src_lang", _text),
            tgt_lang=f.get("tgt_lang", _text),
            dialect=f.get("dialect", _text),
            enabled=f.get("enabled", _flag, True),
            status=f.get("status", _text, MODEL_STATUSES[0]),
        )

    return read_one


def _model_warnings(models: tuple[Model, ...]) -> list[str]:
    found: list[str] = []
    for i, model in enumerate(models):
        lacks = [
            name
            for name, kinds in (("src_lang", ("nmt",)), ("tgt_lang", ("nmt", "tts")))
            if model.kind in kinds and not getattr(model, name)
        ]
        if lacks and len(found) < _MAX_WARNINGS:
            found.append(
                f"installed_models[{i}]: a model of kind {model.kind} needs "
                f"{' and '.join(lacks)}; it matches no request"
            )
    return found


def _service(f: _Fields) -> Service:
    return Service(
        service_id=f.get("service_id", _text),
        type=f.get("type", _text),
        device=f.get("device", _text),
        status=f.get("status", _text),
    )


def _capability_of_type(f: _Fields) -> CapabilityOfType:
    return CapabilityOfType(
        type=f.need("type", _text), ready=f.need("ready", _flag), reason=f.get("reason", _text)
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(entry) for entry in _array(value))


def _known_texts(value: Any) -> tuple[str, ...]:
    return tuple(e for e in _array(value) if isinstance(e, str) and e)


def _states(value: Any) -> dict[str, str]:
    return {k: v for k, v in _object(value).items() if isinstance(k, str) and isinstance(v, str)}


def _second_schema(f: _Fields) -> dict[str, Any]:
    """What 2.0 fleets send besides, always leniently: ignore what is unknown, refuse nothing."""
    warnings = f.warnings if f.warnings is not None else []
    lenient = _Fields(f.value, f.path, warnings)
    languages = lenient.get("language_capabilities", _object)
    if languages is not None:
        inner = _Fields(languages, lenient.at("language_capabilities"), warnings)
        languages = LanguageCapabilities(
            asr_languages=inner.get("asr_languages", _known_texts, ()),
            semantic_languages=inner.get("semantic_languages", _known_texts, ()),
            tts_languages=inner.get("tts_languages", _known_texts, ()),
        )
    return {
        "installed_services": lenient.entries("installed_services", _service, drop=True),
        "capability_by_type": lenient.entries("capability_by_type", _capability_of_type, drop=True),
        "language_capabilities": languages,
        "capability_state": lenient.get("capability_state", _states),
    }


def _features(value: Any) -> dict[str, bool | None]:
    features = _object(value)
    for name, flag in features.items():
        if not isinstance(name, str) or not (flag is None or isinstance(flag, bool)):
            raise ValueError(f"true, false or null for every feature (see {str(name)[:40]!r})")
    return features


def _labels(value: Any) -> dict[str, str]:
    labels = _object(value)
    if len(labels) > _MAX_LABELS:
        raise ValueError(f"at most {_MAX_LABELS} labels")
    for name, text in labels.items():
        for part in (_text(name), _text(text)):
            if len(part.encode()) > _MAX_LABEL_BYTES:
                raise ValueError(f"labels of at most {_MAX_LABEL_BYTES} bytes")
    return labels


def _node_id(value: Any) -> str | None:
    text = _text(value)
    if text == "":
        return None
    if not _NODE_ID.match(text):
        raise ValueError("1 to 64 of A-Z a-z 0-9 . _ -")
    return text


def _platform(text: str) -> str:
    lowered = text.strip().lower()
    lowered = _PLATFORMS.get(lowered, lowered)
    return lowered if lowered in ("windows", "linux", "macos") else text


def _register(value: dict[Any, Any]) -> Register:
    f = _Fields(value)
    warnings: list[str] = []
    node_id = f.get("node_id", _node_id)
    texts = {
        name: f.get(name, _text)
        for name in ("version", "platform", "node_token", "boot_id", "capability_schema_version")
    }
    warnings += [f"{name}: missing" for name in ("version", "platform") if not texts[name]]
    schema = texts["capability_schema_version"] or "1.0"
    features = f.get("features_supported", _features, {})
    public = f.get("accept_public_jobs", _flag, True)
    advanced = f.get("advanced_features", _texts, ())
    jobs = f.get("max_concurrent_jobs", _at_least_one)
    labels = f.get("labels", _labels, {})
    attempt = f.get("attempt", _count)
    heartbeat_ack = f.get("heartbeat_ack", _flag, False)
    f.need("installed_models", _array)
    models = f.entries("installed_models", _model(schema), drop=False) or ()
    hardware = _hardware(f)
    second = _second_schema(_Fields(value, "", warnings))
    warnings += _model_warnings(models)
    if not models and not second["capability_by_type"]:
        warnings.append("installed_models: empty; the node waits as model_missing")
    return Register(
        node_id=node_id,
        version=texts["version"] or "unknown",
        platform=_platform(texts["platform"] or "unknown"),
        hardware=hardware,
        installed_models=models,
        features_supported=features,
        accept_public_jobs=public,
        capability_schema_version=schema,
        advanced_features=advanced,
        max_concurrent_jobs=jobs,
        labels=labels,
        node_token=texts["node_token"],
        boot_id=texts["boot_id"],
        attempt=attempt,
        heartbeat_ack=heartbeat_ack,
        warnings=tuple(warnings),
        **second,
    )


def _gpu_report(f: _Fields) -> GpuReport:
    return GpuReport(
        index=f.get("index", _whole),
        uuid=f.get("uuid", _text),
        healthy=f.get("healthy", _flag, True),
        reason=f.get("reason", _text),
        memory_used_gb=f.get("memory_used_gb", _number),
        temperature_c=f.get("temperature_c", _number),
    )


def _said(array: Any, entries: tuple[T, ...] | None) -> tuple[T, ...] | None:
    """A list whose every entry was unreadable said nothing; only an empty one says empty."""
    return None if array and not entries else entries


def _usage(f: _Fields) -> tuple[Usage, dict[str, Any]]:
    raw = f.get("resource_usage", _object)
    if raw is None:
        return Usage(), {}
    u = _Fields(raw, f.at("resource_usage"), f.warnings)
    usage = Usage(
        cpu_percent=u.get("cpu_percent", _number),
        mem_percent=u.get("mem_percent", _number),
        running_jobs=u.get("running_jobs", _count),
        gpu_percent=u.get("gpu_percent", _number),
        gpu_mem_percent=u.get("gpu_mem_percent", _number),
        gpu_queue_length=u.get("gpu_queue_length", _count),
        gpus=_said(raw.get("gpus"), u.entries("gpus", _gpu_report, drop=True)),
    )
    return usage, raw


def _beat_hardware(f: _Fields) -> tuple[tuple[Gpu, ...] | None, Hardware | None]:
    """A beat's GPUs (() = reported empty) and, if complete, its whole hardware."""
    value = f.get("hardware", _object)
    if value is None:
        return None, None
    h = _Fields(value, f.at("hardware"), f.warnings)
    gpus = _said(value.get("gpus"), h.entries("gpus", _gpu, drop=True))
    cores, memory = h.get("cpu_cores", _number), h.get("memory_gb", _number)
    whole = None
    if gpus and any(g.memory_gb > 0 for g in gpus) and cores and memory:
        whole = Hardware(cpu_cores=cores, memory_gb=memory, gpus=gpus)
    if gpus and all(g.memory_gb <= 0 for g in gpus):
        gpus = ()
    return gpus, whole


def _heartbeat(value: dict[Any, Any]) -> Heartbeat:
    warnings: list[str] = []
    node_id = _Fields(value).get("node_id", _text)
    f = _Fields(value, "", warnings)
    usage, raw = _usage(f)
    gpus, hardware = _beat_hardware(f) if f.has("hardware") else (None, None)
    health = f.get("health", _object, {})
    h = _Fields(health, "health", warnings)
    models = None
    second: dict[str, Any] = {}
    if f.has("installed_models"):
        models = f.entries("installed_models", _model("2.0"), drop=True)
        warnings += _model_warnings(models or ())
    if any(f.has(name) for name in _SECOND):
        second = _second_schema(f)
    return Heartbeat(
        node_id=node_id or None,
        timestamp=value.get("timestamp"),
        usage=usage,
        health_ok=h.get("ok", _flag),
        health_reason=h.get("reason", _text),
        hardware_gpus=gpus,
        hardware=hardware,
        installed_models=models,
        warnings=tuple(warnings),
        raw=raw,
        **second,
    )


_SECOND = (
    "installed_services",
    "capability_by_type",
    "language_capabilities",
    "capability_state",
)


def _job_result(value: dict[Any, Any]) -> JobResult:
    f = _Fields(value, "", [])
    node_id = _Fields(value).get("node_id", _text)
    error = value.get("error")
    code = message = None
    if isinstance(error, dict):
        e = _Fields(error, "error", [])
        code, message = e.get("code", _text), e.get("message", _text)
    elif isinstance(error, str):
        message = error
    return JobResult(
        node_id=node_id or None,
        job_id=f.get("job_id", _text),
        success=f.get("success", _flag),
        error_code=code,
        error_message=message,
        running_jobs=f.get("running_jobs", _count),
    )


def _unregister(value: dict[Any, Any]) -> Unregister:
    f = _Fields(value, "", [])
    return Unregister(reason=f.get("reason", _text), drain=f.get("drain", _flag, True))


_READERS: dict[str, Callable[[dict[Any, Any]], Message]] = {
    "node_register": _register,
    "node_heartbeat": _heartbeat,
    "job_result": _job_result,
    "node_unregister": _unregister,
}
