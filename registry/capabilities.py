"""What a registration says a node can do: the names it is indexed under. Pure.

From enabled and ready models: `asr:<lang>`, `nmt:<src>:<tgt>`, `tts:<lang>`, `model:<id>`; from 2.0
lists the same names; from flags `feature:<name>` and `advanced:<name>`; `any` for every node. A
model without a language its kind needs is a model, but satisfies no request for its kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgpack
import msgspec

from muster.wire.messages import Heartbeat, Model, Register

CORE = ("asr", "nmt", "tts")
_REPLACED = (
    "hardware",
    "installed_models",
    "installed_services",
    "capability_by_type",
    "language_capabilities",
    "capability_state",
)


def _plain(part: str) -> bool:
    """Names that stay one line and one key part."""
    return bool(part) and "\n" not in part


def _usable(register: Register) -> Iterator[Model]:
    states = register.capability_state or {}
    for model in register.installed_models:
        if model.enabled and states.get(model.model_id, model.status) == "ready":
            yield model


def _of_model(model: Model) -> str | None:
    if model.kind == "asr" and model.src_lang:
        return f"asr:{model.src_lang}"
    if model.kind == "nmt" and model.src_lang and model.tgt_lang:
        return f"nmt:{model.src_lang}:{model.tgt_lang}"
    if model.kind == "tts" and model.tgt_lang:
        return f"tts:{model.tgt_lang}"
    return None


def _types_ready(register: Register) -> set[str]:
    return {c.type for c in register.capability_by_type or () if c.ready}


def _of_lists(register: Register) -> Iterator[str]:
    languages = register.language_capabilities
    if languages is None:
        return
    ready = _types_ready(register)
    if "asr" in ready:
        yield from (f"asr:{lang}" for lang in languages.asr_languages)
    if "tts" in ready:
        yield from (f"tts:{lang}" for lang in languages.tts_languages)
    if "nmt" in ready:
        for src in languages.asr_languages:
            yield from (f"nmt:{src}:{tgt}" for tgt in languages.semantic_languages if tgt != src)


def capabilities(register: Register) -> tuple[str, ...]:
    """Every name the node is indexed under while it is ready, sorted."""
    found = {"any"}
    for model in _usable(register):
        found.add(f"model:{model.model_id}")
        name = _of_model(model)
        if name:
            found.add(name)
    found.update(_of_lists(register))
    found.update(f"feature:{n}" for n, on in register.features_supported.items() if on)
    found.update(f"advanced:{n}" for n in register.advanced_features)
    return tuple(sorted(name for name in found if _plain(name)))


def kinds_ready(register: Register) -> frozenset[str]:
    """Kinds of work the node can do: by a usable model that satisfies requests, or by its 2.0
    list."""
    kinds = {
        model.kind
        for model in _usable(register)
        if model.kind not in ("nmt", "tts") or _of_model(model)
    }
    return frozenset(kinds | _types_ready(register))


def required_met(register: Register, required_models: Sequence[str]) -> bool:
    """Whether the required kinds and model ids are ready; by default one core kind."""
    kinds = kinds_ready(register)
    if not required_models:
        return any(kind in kinds for kind in CORE)
    ids = {
        model.model_id
        for model in _usable(register)
        if model.kind not in ("nmt", "tts") or _of_model(model)
    }
    return all(name in kinds or name in ids for name in required_models)


def capacity(register: Register, heartbeat: Heartbeat | None = None) -> int:
    """Jobs at once: what was declared, else one a GPU; less the share of GPUs that are sick."""
    gpus = max(1, len(register.hardware.gpus))
    declared = register.max_concurrent_jobs or gpus
    reported = heartbeat.usage.gpus if heartbeat is not None else None
    if not reported:
        return declared
    sick = sum(1 for gpu in reported if not gpu.healthy)
    return max(1, declared * max(0, gpus - sick) // gpus) if sick else declared


def apply(register: Register, heartbeat: Heartbeat) -> Register:
    """The registration after a beat that reports hardware, models or lists anew."""
    changes = {name: value for name in _REPLACED if (value := getattr(heartbeat, name)) is not None}
    return msgspec.structs.replace(register, **changes) if changes else register


def requirement(kind: str, src_lang: str | None, tgt_lang: str | None) -> str:
    """The index name of a request by kind and languages.

    Raises ValueError naming the field that is missing."""
    if kind == "asr":
        return f"asr:{_needed('src_lang', src_lang)}"
    if kind == "nmt":
        return f"nmt:{_needed('src_lang', src_lang)}:{_needed('tgt_lang', tgt_lang)}"
    if kind == "tts":
        return f"tts:{_needed('tgt_lang', tgt_lang)}"
    raise ValueError("kind: expected asr, nmt or tts")


def _needed(name: str, value: str | None) -> str:
    if not value:
        raise ValueError(f"{name}: expected a language code")
    return value


def _short_hash(value: Any) -> str:
    return hashlib.blake2b(msgpack.packb(value), digest_size=8).hexdigest()


def digest(register: Register) -> str:
    """What selection is judged by, as one short word: equal digests, equal index places."""
    return _short_hash(
        [
            capabilities(register),
            register.accept_public_jobs,
            sorted(register.labels.items()),
            sorted(kinds_ready(register)),
        ]
    )


def hardware_digest(register: Register) -> str:
    """The machine's hardware as one short word; a resumption needs the same."""
    hardware = register.hardware
    gpus = sorted((g.name, round(g.memory_gb), g.uuid or "") for g in hardware.gpus)
    return _short_hash([round(hardware.cpu_cores), round(hardware.memory_gb), gpus])


def pack(register: Register, warnings: Sequence[str] = ()) -> bytes:
    """A registration as the store keeps it (MessagePack, opaque to scripts); no secrets."""
    plain = msgspec.to_builtins(register)
    plain.pop("node_token", None)
    plain["warnings"] = [*register.warnings, *warnings]
    packed: bytes = msgpack.packb({k: v for k, v in plain.items() if v not in (None, [], {})})
    return packed


def unpack(data: bytes) -> dict[str, Any]:
    """What `pack` wrote, as plain values."""
    value = msgpack.unpackb(data, strict_map_key=False)
    return value if isinstance(value, dict) else {}
