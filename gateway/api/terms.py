"""What single values in questions may be: their limits, what they mean, and what they are called.

`called` is for the documentation, `expected` for errors; where neither is given, both are made of
the limits.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from registry.cursor import CURSOR_LENGTH_MOST
from registry.events import EventType

END = r"(?![\s\S])"
"""The very end of a text. `$` would also match before a last newline here, but not in JSON Schema;
the documents show `$`."""

LIMIT_DEFAULT = 100
LIMIT_MOST = 1000
SELECT_MOST = 100
_NAMES_MOST = 100
_IDS_MOST = 500
_INSTANT_MOST = 2**47 - 1


def about(description: str, **more: Any) -> Meta:
    """What a field means."""
    return Meta(description=description, **more)


def _form(called: str, expected: str, pattern: str) -> Meta:
    """A text of a certain form."""
    return Meta(pattern=f"^{pattern}{END}", extra={"called": called, "expected": expected})


# Values

Kind = Literal["asr", "nmt", "tts"]
State = Literal["registering", "ready", "degraded", "draining", "offline"]
Sort = Annotated[
    Literal[
        "node_id", "-node_id", "status", "-status", "since", "-since",
        "last_heartbeat", "-last_heartbeat", "load", "-load",
    ],
    Meta(
        extra={
            "called": "`node_id`, `status`, `since`, `last_heartbeat` or `load`",
            "expected": "node_id, status, since, last_heartbeat or load; descending: -load",
        }
    ),
]  # fmt: skip
NodeId = Annotated[
    str, _form("node id", "a node id: 1 to 64 of A-Z a-z 0-9 . _ -", r"[A-Za-z0-9._-]{1,64}")
]
Language = Annotated[
    str,
    _form("language", "a language of 1 to 64 characters without a colon", r"[^:\x00-\x1f]{1,64}"),
]
PairText = Annotated[
    str,
    _form("`zh:en`", "two languages, as zh:en", r"[^:\x00-\x1f]{1,64}:[^:\x00-\x1f]{1,64}"),
]
LabelText = Annotated[
    str,
    _form(
        "condition",
        "name=value, name=value,value or name!=value",
        r"[^=!][^=]{0,256}=[\s\S]{0,1024}",
    ),
]
Word = Annotated[str, Meta(min_length=1, max_length=256)]
LabelValue = Annotated[str, Meta(max_length=256)]
LabelValues = Annotated[tuple[LabelValue, ...], Meta(min_length=1, max_length=_NAMES_MOST)]
Percent = Annotated[float, Meta(ge=0, le=100)]


class Pair(Struct, frozen=True, forbid_unknown_fields=True):
    """A direction of translation."""

    src_lang: Language
    tgt_lang: Language


class LabelCondition(Struct, frozen=True, forbid_unknown_fields=True):
    """One of the two: `in`, one of these values; or `not`, none of them, which a machine without
    the label passes too."""

    any_of: LabelValues | UnsetType = field(name="in", default=UNSET)
    none_of: LabelValues | UnsetType = field(name="not", default=UNSET)

    schema_more: ClassVar[dict[str, Any]] = {"minProperties": 1, "maxProperties": 1}

    def __post_init__(self) -> None:
        if (self.any_of is UNSET) == (self.none_of is UNSET):
            raise ValueError("one of in and not")  # told as what is expected of the label


# What a machine must be able to do

AnyKind = Annotated[Kind, about("A core capability. A language that is not given may be any.")]
SrcLang = Annotated[Language, about("The language heard or translated from.")]
TgtLang = Annotated[Language, about("The language translated into or spoken.")]
Asr = Annotated[
    tuple[Language, ...],
    about("Recognises speech in each of these languages.", max_length=_NAMES_MOST),
]
Nmt = Annotated[tuple[Pair, ...], about("Translates each of these pairs.", max_length=_NAMES_MOST)]
NmtTexts = Annotated[
    tuple[PairText, ...], about("Translates each of these pairs.", max_length=_NAMES_MOST)
]
Tts = Annotated[
    tuple[Language, ...], about("Speaks each of these languages.", max_length=_NAMES_MOST)
]
Models = Annotated[
    tuple[Word, ...], about("Has each of these models ready, by id.", max_length=_NAMES_MOST)
]
Features = Annotated[tuple[Word, ...], about("Has each of these features.", max_length=_NAMES_MOST)]
Advanced = Annotated[
    tuple[Word, ...], about("Has each of these advanced features.", max_length=_NAMES_MOST)
]
LabelWanted = Annotated[
    LabelValue | LabelValues | LabelCondition,
    Meta(
        extra={
            "called": "a value, a list of values or [LabelCondition](#labelcondition)",
            "expected": 'a value, a list of values, {"in": [...]} or {"not": [...]}',
        }
    ),
]
LabelTests = Annotated[
    dict[Word, LabelWanted],
    about(
        'A value; a list of values or `{"in": [values]}`, one of them; or `{"not": [values]}`, '
        "none of them.",
        max_length=32,
    ),
]
LabelTexts = Annotated[
    tuple[LabelText, ...],
    about(
        "`region=eu`, `tier=gold,silver` (one of them) or `owner!=x,y` (none of them). Names with "
        "`=` and values with commas need the form of a body.",
        max_length=32,
    ),
]
GpuMemory = Annotated[float, about("The largest GPU has at least so much memory, GiB.", ge=0)]
CpuCeiling = Annotated[Percent, about("Its CPU is at most so busy.")]
GpuCeiling = Annotated[Percent, about("Its GPUs are at most so busy.")]
MemCeiling = Annotated[Percent, about("At most so much of its memory is used.")]
QueueCeiling = Annotated[float, about("At most so many jobs wait for its GPUs.", ge=0)]

# Which nodes

Statuses = Annotated[tuple[State, ...], about("One of these.")]
Pool = Annotated[bool, about("In the public pool, or (false) kept out of it.")]
Live = Annotated[bool, about("Heard of in time, or not.")]
Available = Annotated[bool, about("May be given work now, or may not.")]
Drained = Annotated[bool, about("Under an operator's drain, or not.")]
Gateway = Annotated[Word, about("Connected to this gateway.")]
Program = Annotated[Word, about("Runs this version of its program.")]
Platform = Annotated[Word, about("`windows`, `linux`, `macos`, …")]
GpuName = Annotated[Word, about("Has a GPU whose name contains this.")]
IdPart = Annotated[Word, about("The id contains this.")]
Ids = Annotated[tuple[NodeId, ...], about("One of these.", max_length=_IDS_MOST)]
Cursor = Annotated[
    str,
    about(
        "Where to go on: the `cursor` of the page before.",
        min_length=1,
        max_length=512,
        extra_json_schema={"format": "cursor"},
    ),
]

Snapshot = Annotated[
    Literal["1"], about("`1`: the answer also says from where on to watch (`events_cursor`).")
]

# Which events

EventNames = Annotated[tuple[EventType, ...], about("Of these kinds; repeated, or with commas.")]
NodeIds = Annotated[
    tuple[NodeId, ...],
    about("About one of these nodes; repeated, or with commas.", max_length=_IDS_MOST),
]
EventCursor = Annotated[
    str,
    about(
        "Where to go on: the `id` of the last event, or the `events_cursor` of a list. Without, "
        "from now on.",
        min_length=1,
        max_length=CURSOR_LENGTH_MOST,
        extra_json_schema={"format": "event-cursor"},
    ),
]

EventsSince = Annotated[
    int,
    about(
        "Where to begin without a cursor: with what happened at this instant (ms of the store's "
        "clock) or later, as far as it is kept. `0`: with the oldest that is.",
        ge=0,
        le=_INSTANT_MOST,
    ),
]
EventsUntil = Annotated[
    Literal["now"],
    about("`now`: the stream ends, with `up_to_date`, once it has told what had happened so far."),
]

# What is to be done

RequestId = Annotated[
    str, _form("request id", "1 to 128 of A-Z a-z 0-9 . _ : -", "[A-Za-z0-9._:-]{1,128}")
]
Reason = Annotated[
    str, about("Why; kept and shown with who and when.", min_length=1, max_length=500)
]
TimeoutS = Annotated[
    float,
    about("How long its jobs may take, seconds; else as the settings say.", ge=0, le=31_536_000),
]
LabelChanges = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=256, extra_json_schema={"format": "label"})],
        Annotated[str, Meta(max_length=256, extra_json_schema={"format": "label"})] | None,
    ],
    about(
        "The value to set, or null to take the operator's label away. Names and values have at "
        "most 256 bytes and no control characters; a name to be taken away may hold some.",
        min_length=1,
        max_length=32,
    ),
]
