"""From what was asked to what the registry understands, within what the asker may see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from msgspec import UNSET, UnsetType

from gateway.access import Principal
from gateway.api.questions import (
    NEEDS,
    CeilingsAsked,
    EventsQuery,
    FilterBody,
    NeedsBody,
    NodesQuery,
    RequirementQuery,
)
from gateway.api.terms import LabelCondition, LabelTests
from gateway.settings import GatewaySettings
from registry.capabilities import requirement
from registry.events import EventType, Interest
from registry.listing import Filter
from registry.requirement import Ceilings, LabelTest, Requirement, Skill

T = TypeVar("T")

OWNER = "owner"
"""The label that a token's owner scope goes by."""


def wanted(body: NeedsBody, settings: GatewaySettings, asker: Principal) -> Requirement:
    """What a selection must meet."""
    short = [requirement(body.kind, body.src_lang, body.tgt_lang)] if body.kind else []
    return _within(
        Requirement(
            capabilities=(
                *short,
                *(f"asr:{language}" for language in body.asr),
                *(f"nmt:{pair.src_lang}:{pair.tgt_lang}" for pair in body.nmt),
                *(f"tts:{language}" for language in body.tts),
                *_named(body.models, body.features, body.advanced_features),
            ),
            labels=tuple(_tests(body.labels)),
            min_gpu_memory_gb=body.min_gpu_memory_gb,
            public=body.public,
            ceilings=_ceilings(body.ceilings, settings),
            avoid=frozenset(body.avoid),
            prefer=body.prefer,
        ),
        asker,
    )


def asked(query: RequirementQuery, settings: GatewaySettings) -> Requirement | None:
    """What an explanation is to compare a node with, as a selection would; None if nothing."""
    if query == RequirementQuery():
        return None
    found = _suited(query)
    ceilings = _ceilings(query, settings)
    return replace(found, public=query.public is not False, ceilings=ceilings)


def shown(query: NodesQuery, asker: Principal) -> Filter:
    """Which nodes a list shows."""
    return _filter(query, _suited(query), asker)


def meant(body: FilterBody | UnsetType, asker: Principal) -> Filter:
    """Which nodes a filter of a body means."""
    if body is UNSET:
        return scope(asker) or Filter()
    suited = Requirement(
        capabilities=(
            *(f"asr:{language}" for language in body.asr or ()),
            *(f"nmt:{pair.src_lang}:{pair.tgt_lang}" for pair in body.nmt or ()),
            *(f"tts:{language}" for language in body.tts or ()),
            *_named(body.models or (), body.features or (), body.advanced_features or ()),
        ),
        skills=_skills(body.kind, body.src_lang, body.tgt_lang),
        labels=tuple(_tests(body.labels or {})),
        min_gpu_memory_gb=_or_none(body.min_gpu_memory_gb),
        public=None,
        ceilings=_ceilings(body.ceilings or CeilingsAsked()),
    )
    return _filter(body, suited, asker)


def interest(query: EventsQuery, asker: Principal) -> Interest:
    """Which events a stream has."""
    labels = tuple(_label(text) for text in query.label)
    # Owners are told when nobody watched: it is part of what their machines are judged by.
    told = asker.owner is not None and not labels
    return Interest(
        types=frozenset(query.types),
        node_ids=frozenset(query.node_id),
        statuses=frozenset(query.status),
        labels=_within(Requirement(labels=labels), asker).labels,
        everybodys=frozenset({EventType.UNOBSERVED} if told else ()),
    )


def scope(asker: Principal) -> Filter | None:
    """The nodes that the asker may know of; None for all."""
    if asker.owner is None:
        return None
    return Filter(suited=_within(Requirement(public=None), asker))


def _filter(given: NodesQuery | FilterBody, suited: Requirement, asker: Principal) -> Filter:
    return Filter(
        suited=_within(suited, asker),
        statuses=frozenset(given.status or ()),
        public=_or_none(given.public),
        live=_or_none(given.live),
        available=_or_none(given.available),
        intent=_or_none(given.drained),
        gateway=_or_none(given.gateway),
        program_version=_or_none(given.program_version),
        platform=_or_none(given.platform),
        gpu=_or_none(given.gpu),
        id_part=_or_none(given.q),
        ids=frozenset(given.ids) if given.ids else None,
    )


def _within(suited: Requirement, asker: Principal) -> Requirement:
    if asker.owner is None:
        return suited
    return replace(suited, labels=(*suited.labels, LabelTest(OWNER, "in", (asker.owner,))))


def _suited(query: RequirementQuery) -> Requirement:
    return Requirement(
        capabilities=(
            *(f"asr:{language}" for language in query.asr),
            *(f"nmt:{pair}" for pair in query.nmt),
            *(f"tts:{language}" for language in query.tts),
            *_named(query.model, query.feature, query.advanced_feature),
        ),
        skills=_skills(query.kind, query.src_lang, query.tgt_lang),
        labels=tuple(_label(text) for text in query.label),
        min_gpu_memory_gb=_or_none(query.min_gpu_memory_gb),
        public=None,
        ceilings=_ceilings(query),
    )


def _named(
    models: Iterable[str], features: Iterable[str], advanced: Iterable[str]
) -> Iterable[str]:
    yield from (f"model:{name}" for name in models)
    yield from (f"feature:{name}" for name in features)
    yield from (f"advanced:{name}" for name in advanced)


def _skills(
    kind: str | UnsetType, src_lang: str | UnsetType, tgt_lang: str | UnsetType
) -> tuple[Skill, ...]:
    """The short form, in which a language may be left open; one the kind has not is not looked
    at."""
    given = {"src_lang": _or_none(src_lang), "tgt_lang": _or_none(tgt_lang)}
    if kind is not UNSET:
        given = {name: given[name] for name in NEEDS[kind]}
    if kind is UNSET and not any(given.values()):
        return ()
    return (Skill(_or_none(kind), **given),)


def _tests(labels: LabelTests) -> Iterable[LabelTest]:
    for name, test in labels.items():
        if isinstance(test, LabelCondition):
            if test.any_of is not UNSET:
                yield LabelTest(name, "in", test.any_of)
            if test.none_of is not UNSET:
                yield LabelTest(name, "not", test.none_of)
        else:
            yield LabelTest(name, "in", (test,) if isinstance(test, str) else test)


def _label(text: str) -> LabelTest:
    """`name=value,value` or `name!=value,value`."""
    name, _, values = text.partition("=")
    if name.endswith("!"):
        return LabelTest(name[:-1], "not", tuple(values.split(",")))
    return LabelTest(name, "in", tuple(values.split(",")))


def _ceilings(
    given: CeilingsAsked | RequirementQuery, settings: GatewaySettings | None = None
) -> Ceilings:
    """The ceilings asked for; of those that are not, what the settings say, if given."""
    found = {}
    for name in ("cpu_percent", "gpu_percent", "mem_percent", "gpu_queue_length"):
        limit = getattr(given, name)
        if limit is UNSET:
            limit = getattr(settings, f"select_max_{name}") if settings else None
        found[name] = limit
    return Ceilings(**found)


def _or_none(value: T | UnsetType) -> T | None:
    return None if value is UNSET else value
