"""What a node can do, as short names that can be indexed and asked for.

Two rules hold. A capability exists only while something ready stands behind it: an enabled, ready
model with every language its kind needs, or a 2.0 list whose type is not said to be unready; both
sources add up. And what nothing was said about stays as it was: a report replaces only what it
names, and a report of no GPUs is a failed verdict, never a registration without GPUs.

    any · asr:<lang> · nmt:<src>:<tgt> · tts:<lang> · model:<id> · feature:<name> · advanced:<name>
    gpu_memory:<GiB> (each step of a ladder that the largest GPU reaches) · label:<name>=<value>

Labels are the node's own, overlaid by the operator's. Pure: no I/O, no clock. What the node is
*worth* is judged in `registry.health`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import msgspec

from muster.wire.beating import heartbeat_of
from muster.wire.messages import Gpu, Heartbeat, Model, Register

ANY = "any"
CORE = ("asr", "nmt", "tts")
GPU_MEMORY_STEPS = (12, 24, 40, 80)
"""GiB. Few, as each costs a place in an index; a request is judged by the exact size as well."""

NO_LABELS: Mapping[str, str] = MappingProxyType({})
_NEEDS = {"nmt": ("src_lang", "tgt_lang"), "tts": ("tgt_lang",)}
_REPLACED = (
    "installed_models",
    "installed_services",
    "capability_by_type",
    "language_capabilities",
    "capability_state",
)
_SECRETS = ("node_token",)


def capabilities(
    register: Register, operator_labels: Mapping[str, str] = NO_LABELS
) -> tuple[str, ...]:
    """Every name a request may ask this node for, sorted; `any` is always among them."""
    found = {ANY, *_of_models(register), *_of_lists(register)}
    found.update(f"feature:{name}" for name, on in register.features_supported.items() if on)
    found.update(f"advanced:{name}" for name in register.advanced_features)
    largest = largest_gpu_gb(register)
    found.update(f"gpu_memory:{step}" for step in GPU_MEMORY_STEPS if largest >= step)
    labels = {**register.labels, **operator_labels}
    found.update(label_name(name, value) for name, value in labels.items())
    return tuple(sorted(name for name in found if name.isprintable()))


def label_name(name: str, value: str) -> str:
    """A label as a capability. Quoted, as labels may hold anything, a newline too."""
    return f"label:{quote(name, safe='')}={quote(value, safe='')}"


def largest_gpu_gb(register: Register) -> float:
    """Memory of the largest GPU, GiB; 0 if there is none."""
    return max((gpu.memory_gb for gpu in register.hardware.gpus), default=0.0)


def requirement(kind: str, src_lang: str | None = None, tgt_lang: str | None = None) -> str:
    """The capability that a job of this kind asks for.

    Raises ValueError if a language it needs is missing or the kind is not one of the core."""
    languages = {
        "asr": (src_lang,),
        "nmt": (src_lang, tgt_lang),
        "tts": (tgt_lang,),
    }
    if kind not in languages:
        raise ValueError(f"kind: expected one of {', '.join(CORE)}, but it is {kind!r}")
    given = [language for language in languages[kind] if language]
    if len(given) != len(languages[kind]):
        raise ValueError(f"{kind}: a language it needs is missing")
    return ":".join((kind, *given))


def usable_models(register: Register) -> list[Model]:
    """Models that are enabled, ready and complete; `capability_state` overrides their status."""
    state = register.capability_state or {}
    return [
        model
        for model in register.installed_models
        if model.enabled
        and state.get(model.model_id, model.status) == "ready"
        and all(getattr(model, name) for name in _NEEDS.get(model.kind, ()))
    ]


def ready_kinds(register: Register) -> set[str]:
    """Kinds of which a model is usable, or that a 2.0 node says are ready."""
    said = {entry.type for entry in register.capability_by_type or () if entry.ready}
    return said | {model.kind for model in usable_models(register)}


def required_met(register: Register, required_models: Sequence[str]) -> bool:
    """Whether every required kind or model id is ready; if none is named, any core capability."""
    kinds = ready_kinds(register)
    if not required_models:
        return any(kind in kinds for kind in CORE)
    ids = {model.model_id for model in usable_models(register)}
    return all(name in kinds or name in ids for name in required_models)


def usable_gpus(gpus: Iterable[Gpu]) -> int:
    """How many GPUs have memory at all."""
    return sum(1 for gpu in gpus if gpu.memory_gb > 0)


def capacity(register: Register, heartbeat: Heartbeat | None) -> int:
    """Jobs the node may have at once: what it registered, less the share of GPUs reported bad."""
    gpus = usable_gpus(register.hardware.gpus)
    full = register.max_concurrent_jobs or max(gpus, 1)
    reported = heartbeat.usage.gpus if heartbeat is not None else None
    if reported is None:
        return full
    good = sum(1 for gpu in reported if gpu.healthy)
    there = max(gpus, len(reported))
    if good >= there:
        return full
    return max(full * good // there, 1) if good else 0


def apply(register: Register, heartbeat: Heartbeat) -> Register:
    """The registration with what the heartbeat replaces; the same object if that is nothing."""
    changes: dict[str, Any] = {}
    for name in _REPLACED:
        reported = getattr(heartbeat, name)
        if reported is not None and reported != getattr(register, name):
            changes[name] = reported
    hardware = heartbeat.hardware or register.hardware
    reported = heartbeat.hardware_gpus or hardware.gpus
    gpus = reported if usable_gpus(reported) else register.hardware.gpus
    hardware = msgspec.structs.replace(hardware, gpus=gpus)
    if hardware != register.hardware:
        changes["hardware"] = hardware
    return msgspec.structs.replace(register, **changes) if changes else register


def digest(register: Register, operator_labels: Mapping[str, str] = NO_LABELS) -> str:
    """Equal exactly while selection sees the same node: what it can do, its labels, its pool, its
    capacity and its largest GPU."""
    return _hash(
        (
            capabilities(register, operator_labels),
            register.accept_public_jobs,
            capacity(register, None),
            largest_gpu_gb(register),
        )
    )


def hardware_digest(register: Register) -> str:
    """Equal while the machine is the same one; order of GPUs and driver version don't count."""
    hardware = register.hardware
    gpus = sorted((gpu.name, gpu.memory_gb, gpu.uuid or "") for gpu in hardware.gpus)
    return _hash((hardware.cpu_cores, hardware.memory_gb, gpus))


def pack(register: Register, warnings: Sequence[str] = ()) -> bytes:
    """A registration as the store keeps it for people: MessagePack, without secrets."""
    fields: dict[str, Any] = msgspec.to_builtins(register)
    kept = {k: v for k, v in fields.items() if v is not None and k not in _SECRETS}
    return msgspec.msgpack.encode(kept | {"warnings": list(warnings)})


def unpack(packed: bytes) -> dict[str, Any]:
    """What `pack` made."""
    found: dict[str, Any] = msgspec.msgpack.decode(packed, type=dict[str, Any])
    return found


def unpack_register(packed: bytes) -> Register:
    """What `pack` made, as the message it was."""
    return msgspec.msgpack.decode(packed, type=Register)


def pack_labels(labels: Mapping[str, str]) -> bytes:
    """An operator's labels as the store keeps them."""
    return msgspec.msgpack.encode(dict(labels))


def unpack_labels(packed: bytes | None) -> dict[str, str]:
    """What `pack_labels` made; none for a missing one."""
    return msgspec.msgpack.decode(packed, type=dict[str, str]) if packed else {}


def pack_report(heartbeat: Heartbeat) -> bytes:
    """A heartbeat as the store keeps it for people: its usage as it came, health, warnings.
    Numbers that no record can hold are left out. A small one is its own record."""
    if heartbeat.frame:
        return heartbeat.frame
    report = _report(heartbeat)
    try:
        return msgspec.msgpack.encode(report)
    except (OverflowError, ValueError, TypeError, RecursionError):
        shown = report | {"resource_usage": None, "timestamp": None}
        return msgspec.msgpack.encode(shown)


def unpack_report(packed: bytes) -> dict[str, Any]:
    """What `pack_report` made, whichever way it came; nothing for what never was a report."""
    if not packed:
        return {}
    if packed.startswith(b"{"):
        return unpack_report(pack_report(heartbeat_of(packed)))
    found = msgspec.msgpack.decode(packed)
    return found if isinstance(found, dict) else {}


def _report(heartbeat: Heartbeat) -> dict[str, Any]:
    return {
        "resource_usage": heartbeat.raw,
        "timestamp": heartbeat.timestamp,
        "health_ok": heartbeat.health_ok,
        "health_reason": heartbeat.health_reason,
        "report_warnings": heartbeat.warnings,
    }


def _of_models(register: Register) -> Iterator[str]:
    for model in usable_models(register):
        yield f"model:{model.model_id}"
        if model.kind == "nmt":
            yield f"nmt:{model.src_lang}:{model.tgt_lang}"
        elif model.kind == "tts":
            yield f"tts:{model.tgt_lang}"
        elif model.kind == "asr" and model.src_lang:
            yield f"asr:{model.src_lang}"


def _of_lists(register: Register) -> Iterator[str]:
    lists = register.language_capabilities
    if lists is None:
        return
    if _may(register, "asr"):
        yield from (f"asr:{language}" for language in lists.asr_languages if language)
    if _may(register, "tts"):
        yield from (f"tts:{language}" for language in lists.tts_languages if language)
    if _may(register, "nmt"):
        for source in lists.asr_languages:
            for target in lists.semantic_languages:
                if source and target and source != target:
                    yield f"nmt:{source}:{target}"


def _may(register: Register, kind: str) -> bool:
    """Whether the lists count for this kind: where types are reported, theirs must be ready."""
    if register.capability_by_type is None:
        return True
    return any(entry.type == kind and entry.ready for entry in register.capability_by_type)


def _hash(value: Any) -> str:
    return hashlib.blake2b(msgspec.json.encode(value), digest_size=12).hexdigest()
