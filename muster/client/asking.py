"""What may be asked for, and how it is written in a body and in a query.

The names are those of the bodies (docs/api.md); queries say `model` where a body says `models`.
Nothing is judged here: the gateway says what does not fit, and what may have been meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

Pairs = Sequence[tuple[str, str]]
"""Directions of translation: [("zh", "en")]."""
Words = Sequence[str] | str
"""Some texts; one alone may stand for a list of one."""


@dataclass(frozen=True, slots=True)
class Not:
    """None of these values of a label; a machine without the label passes too."""

    values: Words


LabelTest = str | Sequence[str] | Not
"""A value, a list of which one is enough, or `Not`."""


class Ceilings(TypedDict, total=False):
    """The busiest a machine may say it is; percent, and jobs."""

    cpu_percent: float
    gpu_percent: float
    mem_percent: float
    gpu_queue_length: float


class Requirement(TypedDict, total=False):
    """What a machine must be able to do; everything given must be met."""

    kind: Literal["asr", "nmt", "tts"]
    src_lang: str
    tgt_lang: str
    asr: Words
    nmt: Pairs
    tts: Words
    models: Words
    features: Words
    advanced_features: Words
    labels: Mapping[str, LabelTest]
    min_gpu_memory_gb: float
    public: bool
    ceilings: Ceilings


class Wanted(Requirement, total=False):
    """What a selection looks for: not `avoid`, rather `prefer`."""

    avoid: Words
    prefer: Words


class Filter(Requirement, total=False):
    """Which nodes: all that meet everything given."""

    status: Words
    live: bool
    available: bool
    drained: bool
    gateway: str
    program_version: str
    platform: str
    gpu: str
    q: str
    ids: Words


Sort = Literal[
    "node_id", "-node_id", "status", "-status", "since", "-since",
    "last_heartbeat", "-last_heartbeat", "load", "-load",
]  # fmt: skip

_LISTS = (
    "asr", "tts", "models", "features", "advanced_features", "avoid", "prefer", "status", "ids",
)  # fmt: skip
_IN_A_QUERY = {"models": "model", "features": "feature", "advanced_features": "advanced_feature"}
_WITH_COMMAS = ("status", "ids")


def body(asked: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON says it."""
    return {name: _in_a_body(name, value) for name, value in asked.items()}


def query(asked: Mapping[str, Any]) -> list[tuple[str, str]]:
    """As a query says it. Raises ValueError for a label's test that a query can't say."""
    return [pair for name, value in asked.items() for pair in _in_a_query(name, value)]


def _in_a_body(name: str, value: Any) -> Any:
    if name in _LISTS:
        return list(_words(value))
    if name == "nmt":
        return [{"src_lang": src, "tgt_lang": tgt} for src, tgt in value]
    if name == "labels":
        return {label: _test(test) for label, test in value.items()}
    return dict(value) if name == "ceilings" else value


def _in_a_query(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if name in _WITH_COMMAS:
        yield name, ",".join(_words(value))
    elif name in _LISTS:
        yield from ((_IN_A_QUERY.get(name, name), word) for word in _words(value))
    elif name == "nmt":
        yield from ((name, f"{src}:{tgt}") for src, tgt in value)
    elif name == "labels":
        yield from (("label", _condition(label, test)) for label, test in value.items())
    elif name == "ceilings":
        yield from ((ceiling, _text(limit)) for ceiling, limit in value.items())
    else:
        yield name, _text(value)


def _words(value: Words) -> Iterable[str]:
    return (value,) if isinstance(value, str) else value


def _test(test: LabelTest) -> Any:
    if isinstance(test, Not):
        return {"not": list(_words(test.values))}
    return test if isinstance(test, str) else list(test)


def _condition(label: str, test: LabelTest) -> str:
    """`region=eu`, `tier=gold,silver` or `owner!=lab`."""
    excluded = isinstance(test, Not)
    values = list(_words(test.values if isinstance(test, Not) else test))
    if "=" in label or label.endswith("!") or any("," in value for value in values):
        raise ValueError(
            f"the label {label!r}: a list can't be asked for a name with = or ! or for a value "
            "with a comma"
        )
    return f"{label}{'!' if excluded else ''}={','.join(values)}"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
