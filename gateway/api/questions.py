"""What may be asked: queries and bodies.

A query's lists are given by repeating the parameter. In a filter every member narrows, so nothing
in it may be empty; in a selection an empty list asks for nothing, and null counts as missing.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.api import terms
from gateway.api.terms import about
from gateway.problem import BadParameterError

NEEDS = {"asr": ("src_lang",), "nmt": ("src_lang", "tgt_lang"), "tts": ("tgt_lang",)}
"""The languages of each kind."""

_SOME = Meta(min_length=1)
_STRING = {"type": "string"}


class CeilingsAsked(Struct, frozen=True, forbid_unknown_fields=True):
    """The busiest a machine may say it is. What a machine does not report passes."""

    cpu_percent: terms.CpuCeiling | UnsetType = UNSET
    gpu_percent: terms.GpuCeiling | UnsetType = UNSET
    mem_percent: terms.MemCeiling | UnsetType = UNSET
    gpu_queue_length: terms.QueueCeiling | UnsetType = UNSET


class RequirementQuery(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a machine must be able to do; everything given must be met."""

    kind: terms.AnyKind | UnsetType = UNSET
    src_lang: terms.SrcLang | UnsetType = UNSET
    tgt_lang: terms.TgtLang | UnsetType = UNSET
    asr: terms.Asr = ()
    nmt: terms.NmtTexts = ()
    tts: terms.Tts = ()
    model: terms.Models = ()
    feature: terms.Features = ()
    advanced_feature: terms.Advanced = ()
    label: terms.LabelTexts = ()
    min_gpu_memory_gb: terms.GpuMemory | UnsetType = UNSET
    public: terms.Pool | UnsetType = UNSET
    cpu_percent: terms.CpuCeiling | UnsetType = UNSET
    gpu_percent: terms.GpuCeiling | UnsetType = UNSET
    mem_percent: terms.MemCeiling | UnsetType = UNSET
    gpu_queue_length: terms.QueueCeiling | UnsetType = UNSET


class NodesQuery(RequirementQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which nodes a list shows, and in what order."""

    status: Annotated[terms.Statuses, about("One of these; repeated, or with commas.")] = ()
    live: terms.Live | UnsetType = UNSET
    available: terms.Available | UnsetType = UNSET
    drained: terms.Drained | UnsetType = UNSET
    gateway: terms.Gateway | UnsetType = UNSET
    program_version: terms.Program | UnsetType = UNSET
    platform: terms.Platform | UnsetType = UNSET
    gpu: terms.GpuName | UnsetType = UNSET
    q: terms.IdPart | UnsetType = UNSET
    ids: Annotated[terms.Ids, about("One of these, with commas between.", min_length=1)] = ()
    sort: (
        Annotated[terms.Sort, about("Descending with `-` in front. Looks at the whole fleet.")]
        | UnsetType
    ) = UNSET
    limit: Annotated[int, about("Nodes in a page at most.", ge=1, le=terms.LIMIT_MOST)] = (
        terms.LIMIT_DEFAULT
    )
    cursor: terms.Cursor | UnsetType = UNSET
    snapshot: terms.Snapshot | UnsetType = UNSET


class EventsQuery(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which events a stream has, and from where on."""

    types: terms.EventNames = ()
    node_id: terms.NodeIds = ()
    status: Annotated[
        terms.Statuses, about("Into or out of one of these; repeated, or with commas.")
    ] = ()
    label: Annotated[
        terms.LabelTexts,
        about("Of nodes whose labels meet all of these, before or after: as in a list."),
    ] = ()
    after: terms.EventCursor | UnsetType = UNSET
    since: terms.EventsSince | UnsetType = UNSET
    until: terms.EventsUntil | UnsetType = UNSET


class ReasonQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is done."""

    reason: terms.Reason


def _if_given(name: str, schema: dict[str, str], *needs: str) -> dict[str, Any]:
    """JSON Schema for: if this member is so, the others must be there and no null."""
    return {
        "if": {"properties": {name: schema}, "required": [name]},
        "then": {"properties": dict.fromkeys(needs, _STRING), "required": list(needs)},
    }


class NeedsBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a machine must be able to do, and which are to be left out or come first."""

    kind: Annotated[
        terms.Kind | None,
        about(
            "The short form: `asr` with `src_lang`, `nmt` with both, `tts` with `tgt_lang`. A "
            "language that the kind does not need is not looked at."
        ),
    ] = None
    src_lang: terms.SrcLang | None = None
    tgt_lang: terms.TgtLang | None = None
    asr: terms.Asr = ()
    nmt: terms.Nmt = ()
    tts: terms.Tts = ()
    models: terms.Models = ()
    features: terms.Features = ()
    advanced_features: terms.Advanced = ()
    min_gpu_memory_gb: terms.GpuMemory | None = None
    labels: terms.LabelTests = {}
    public: Annotated[bool, about("false: also machines that keep out of the public pool.")] = True
    ceilings: Annotated[
        CeilingsAsked, about("What is not given is as the gateway's settings say.")
    ] = CeilingsAsked()
    avoid: Annotated[terms.Ids, about("Not these machines.")] = ()
    prefer: Annotated[terms.Ids, about("These first, in this order, if they fit.")] = ()

    schema_more: ClassVar[dict[str, Any]] = {
        "allOf": [
            *(_if_given("kind", {"const": kind}, *needs) for kind, needs in NEEDS.items()),
            _if_given("src_lang", _STRING, "kind"),
            _if_given("tgt_lang", _STRING, "kind"),
        ]
    }

    def __post_init__(self) -> None:
        for name in NEEDS.get(self.kind or "", ()):
            if getattr(self, name) is None:
                raise BadParameterError(name, f"a language, which {self.kind} needs")
        given = self.src_lang is not None or self.tgt_lang is not None
        if given and self.kind is None:
            raise BadParameterError("kind", "asr, nmt or tts, as a language is given")


class SelectBody(NeedsBody, frozen=True, kw_only=True):
    """What a machine must be able to do, and how it is to be held."""

    limit: Annotated[int, about("Machines at most.", ge=1, le=terms.SELECT_MOST)] = 1
    hold_ms: Annotated[int, about("How long to hold a place on each; 0 holds none.", ge=0)] = 0
    request_id: Annotated[
        terms.RequestId | None,
        about(
            "Asked again with the same id, the same answer comes, not a second machine. Ids are "
            "one namespace for the whole fleet: use UUIDs."
        ),
    ] = None


class FilterBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which nodes: all that meet everything given here. Nothing given may be empty."""

    status: Annotated[terms.Statuses, _SOME] | UnsetType = UNSET
    kind: terms.AnyKind | UnsetType = UNSET
    src_lang: terms.SrcLang | UnsetType = UNSET
    tgt_lang: terms.TgtLang | UnsetType = UNSET
    asr: Annotated[terms.Asr, _SOME] | UnsetType = UNSET
    nmt: Annotated[terms.Nmt, _SOME] | UnsetType = UNSET
    tts: Annotated[terms.Tts, _SOME] | UnsetType = UNSET
    models: Annotated[terms.Models, _SOME] | UnsetType = UNSET
    features: Annotated[terms.Features, _SOME] | UnsetType = UNSET
    advanced_features: Annotated[terms.Advanced, _SOME] | UnsetType = UNSET
    labels: Annotated[terms.LabelTests, _SOME] | UnsetType = UNSET
    min_gpu_memory_gb: terms.GpuMemory | UnsetType = UNSET
    ceilings: Annotated[CeilingsAsked, Meta(extra_json_schema={"minProperties": 1})] | UnsetType = (
        UNSET
    )
    public: terms.Pool | UnsetType = UNSET
    live: terms.Live | UnsetType = UNSET
    available: terms.Available | UnsetType = UNSET
    drained: terms.Drained | UnsetType = UNSET
    gateway: terms.Gateway | UnsetType = UNSET
    program_version: terms.Program | UnsetType = UNSET
    platform: terms.Platform | UnsetType = UNSET
    gpu: terms.GpuName | UnsetType = UNSET
    q: terms.IdPart | UnsetType = UNSET
    ids: Annotated[terms.Ids, _SOME] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.ceilings == CeilingsAsked():
            raise BadParameterError("filter.ceilings", "at least one of them")


class DrainBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why, and how long jobs may take."""

    reason: terms.Reason
    timeout_s: terms.TimeoutS | None = None


class ResumeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why."""

    reason: terms.Reason


class LabelsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which labels to set, and why."""

    labels: terms.LabelChanges
    reason: terms.Reason


class Bulk(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The same done to every node that a filter shows."""

    filter: FilterBody | UnsetType = UNSET
    all: Annotated[bool, about("Must be true where the filter is left out or empty.")] = False
    dry_run: Annotated[bool, about("Only say which nodes it would be done to.")] = False
    reason: terms.Reason

    schema_more: ClassVar[dict[str, Any]] = {
        "anyOf": [
            {"properties": {"filter": {"minProperties": 1}}, "required": ["filter"]},
            {"properties": {"all": {"const": True}}, "required": ["all"]},
        ]
    }

    def __post_init__(self) -> None:
        if self.filter in (UNSET, FilterBody()) and not self.all:
            raise BadParameterError("filter", 'a condition, or "all": true to mean every node')


class BulkDrain(Bulk, tag_field="action", tag="drain", frozen=True, kw_only=True):
    """Drains them."""

    timeout_s: terms.TimeoutS | None = None


class BulkResume(Bulk, tag_field="action", tag="resume", frozen=True, kw_only=True):
    """Ends their drain."""


class BulkRemove(Bulk, tag_field="action", tag="remove", frozen=True, kw_only=True):
    """Takes them off the roll."""


class BulkLabel(Bulk, tag_field="action", tag="label", frozen=True, kw_only=True):
    """Changes the operator's labels on them."""

    labels: terms.LabelChanges


BulkBody = BulkDrain | BulkResume | BulkRemove | BulkLabel
