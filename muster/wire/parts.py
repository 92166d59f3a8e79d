"""Reading the parts that registrations and heartbeats share."""

from __future__ import annotations

from collections.abc import Iterable

from muster.wire.fields import Fields, Warnings
from muster.wire.kinds import BOOLEAN, COUNT, NUMBER, STRING
from muster.wire.messages import CapabilityOfType, Gpu, LanguageCapabilities, Model, Service

NEEDED_LANGUAGES = {"nmt": ("src_lang", "tgt_lang"), "tts": ("tgt_lang",)}


def gpu(fields: Fields) -> Gpu:
    """One card."""
    return Gpu(
        name=fields.required("name", STRING),
        memory_gb=fields.required("memory_gb", NUMBER),
        uuid=fields.optional("uuid", STRING),
        driver_version=fields.optional("driver_version", STRING),
        index=fields.optional("index", COUNT),
    )


def model(fields: Fields) -> Model:
    """One installed model."""
    enabled = fields.optional("enabled", BOOLEAN)
    status = fields.optional("status", STRING)
    return Model(
        model_id=fields.required("model_id", STRING),
        kind=fields.required("kind", STRING),
        version=fields.required("version", STRING),
        src_lang=fields.optional("src_lang", STRING),
        tgt_lang=fields.optional("tgt_lang", STRING),
        dialect=fields.optional("dialect", STRING),
        enabled=True if enabled is None else enabled,
        status="ready" if status is None else status,
    )


def warn_of_languages(models: Iterable[Model], warnings: Warnings) -> None:
    """A model without a language its kind needs matches no request: its owner should know."""
    for at, entry in enumerate(models):
        for language in NEEDED_LANGUAGES.get(entry.kind, ()):
            if not getattr(entry, language):
                warnings.add(f"installed_models[{at}].{language}: missing, needed by {entry.kind}")


def service(fields: Fields) -> Service:
    """One installed service."""
    return Service(
        service_id=fields.optional("service_id", STRING),
        type=fields.optional("type", STRING),
        device=fields.optional("device", STRING),
        status=fields.optional("status", STRING),
    )


def capability_of_type(fields: Fields) -> CapabilityOfType:
    """One core capability by the node's word."""
    return CapabilityOfType(
        type=fields.required("type", STRING),
        ready=fields.required("ready", BOOLEAN),
        reason=fields.optional("reason", STRING),
    )


def language_capabilities(fields: Fields | None) -> LanguageCapabilities | None:
    """Languages by direction."""
    if fields is None:
        return None
    return LanguageCapabilities(
        asr_languages=fields.strings("asr_languages") or (),
        semantic_languages=fields.strings("semantic_languages") or (),
        tts_languages=fields.strings("tts_languages") or (),
    )
