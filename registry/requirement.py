"""What a scheduler asks of a machine, and what a machine lacks of it.

Pure, and the only place that says why a machine does not fit: selection, lists, explanations and
counts all ask here. Two kinds of lack are told apart. `unsuited` is about what a machine is (its
pool, models, features, labels, memory, how busy it says it is); `unavailable` is about now (its
status, its life, its capacity). What a machine does not report is not held against it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from registry.capabilities import ANY, CORE, GPU_MEMORY_STEPS, label_name
from registry.model import Selected, Status
from registry.subject import Subject

ALTERNATIVES_MOST = 64


class Unfit(StrEnum):
    """Why a machine was not selected, in the order in which the first one is counted."""

    STATUS_NOT_READY = "status_not_ready"
    NOT_LIVE = "not_live"
    NOT_IN_PUBLIC_POOL = "not_in_public_pool"
    GPU_UNAVAILABLE = "gpu_unavailable"
    MODEL_NOT_AVAILABLE = "model_not_available"
    FEATURE_NOT_AVAILABLE = "feature_not_available"
    LABEL_MISMATCH = "label_mismatch"
    MEMORY_TOO_SMALL = "memory_too_small"
    CAPACITY_EXCEEDED = "capacity_exceeded"
    RESOURCE_THRESHOLD_EXCEEDED = "resource_threshold_exceeded"
    AVOIDED = "avoided"


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that is missing: what was wanted, and what there is."""

    reason: Unfit
    wanted: Any
    has: Any


@dataclass(frozen=True, slots=True)
class LabelTest:
    """A condition on one label: `in` one of the values, or `not` any of them. A machine without
    the label passes only `not`."""

    name: str
    test: Literal["in", "not"]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Skill:
    """A core capability of which parts may be left open: any `nmt` into `en`."""

    kind: str | None = None
    src_lang: str | None = None
    tgt_lang: str | None = None

    def among(self, capabilities: frozenset[str]) -> bool:
        """Whether one of the capabilities is such a one."""
        return any(self._is(name) for name in capabilities)

    def given(self) -> dict[str, str]:
        """What was not left open."""
        parts = {"kind": self.kind, "src_lang": self.src_lang, "tgt_lang": self.tgt_lang}
        return {name: part for name, part in parts.items() if part is not None}

    def _is(self, capability: str) -> bool:
        kind, _, languages = capability.partition(":")
        source, _, target = languages.partition(":")
        if kind == "tts":
            source, target = "", languages
        return (
            kind in CORE
            and self.kind in (None, kind)
            and self.src_lang in (None, source)
            and self.tgt_lang in (None, target)
        )


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The busiest a machine may say it is; percentages, and jobs waiting for its GPUs."""

    cpu_percent: float | None = None
    gpu_percent: float | None = None
    mem_percent: float | None = None
    gpu_queue_length: float | None = None

    def given(self) -> Iterator[tuple[str, float]]:
        """Name and limit of each ceiling that was set."""
        for name in ("cpu_percent", "gpu_percent", "mem_percent", "gpu_queue_length"):
            limit = getattr(self, name)
            if limit is not None:
                yield name, limit


@dataclass(frozen=True, slots=True)
class Requirement:
    """Everything a request may ask for; all of it must be met.

    `capabilities` are names as `registry.capabilities` makes them; `skills` are not in any index,
    so they are for lists rather than for selection. `public` False also takes machines that keep
    out of the public pool; None does not ask."""

    capabilities: tuple[str, ...] = ()
    labels: tuple[LabelTest, ...] = ()
    min_gpu_memory_gb: float | None = None
    public: bool | None = True
    ceilings: Ceilings = field(default_factory=Ceilings)
    avoid: frozenset[str] = frozenset()
    prefer: tuple[str, ...] = ()
    skills: tuple[Skill, ...] = ()

    @property
    def asks_reports(self) -> bool:
        """Whether a machine's last report is needed to judge it."""
        return any(True for _ in self.ceilings.given())

    def indexes(self) -> tuple[str, ...]:
        """Ready indexes in all of which every fitting machine is."""
        names = dict.fromkeys(self.capabilities)
        for test in self.labels:
            if test.test == "in" and len(test.values) == 1:
                names[label_name(test.name, test.values[0])] = None
        steps = [s for s in GPU_MEMORY_STEPS if s <= (self.min_gpu_memory_gb or 0)]
        if steps:
            names[f"gpu_memory:{steps[-1]}"] = None
        return tuple(names) or (ANY,)

    def alternatives(self) -> list[tuple[str, ...]]:
        """Sets of indexes; every fitting machine is in all indexes of at least one of them."""
        base = self.indexes()
        choices = [
            [label_name(test.name, value) for value in dict.fromkeys(test.values)]
            for test in self.labels
            if test.test == "in" and len(test.values) > 1
        ]
        while choices and _product(choices) > ALTERNATIVES_MOST:
            choices.remove(max(choices, key=len))
        return [tuple(dict.fromkeys((*base, *chosen))) for chosen in itertools.product(*choices)]

    def unavailable(self, s: Subject, timeout_ms: int) -> Iterator[Lack]:
        """Why the machine may not be given work now, whatever is asked for."""
        if not s.ready:
            yield Lack(Unfit.STATUS_NOT_READY, Status.READY.value, s.shown_status)
        if not s.live(timeout_ms):
            yield Lack(Unfit.NOT_LIVE, "a heartbeat in time", f"last beat {s.last_beat}")
        if s.capacity <= 0:
            yield Lack(Unfit.GPU_UNAVAILABLE, "a usable GPU", "none")
        elif s.load >= s.capacity:
            yield Lack(Unfit.CAPACITY_EXCEEDED, f"fewer than {s.capacity} jobs", s.load)

    def unsuited(self, s: Subject) -> Iterator[Lack]:
        """What the machine lacks of what is asked for."""
        if self.public and not s.public:
            yield Lack(Unfit.NOT_IN_PUBLIC_POOL, "public", "accept_public_jobs is false")
        for name in self.capabilities:
            if name not in s.capabilities:
                yield Lack(_reason(name), name, _alike(name, s.capabilities))
        for skill in self.skills:
            if not skill.among(s.capabilities):
                has = [name for kind in CORE for name in _alike(kind, s.capabilities)]
                yield Lack(Unfit.MODEL_NOT_AVAILABLE, skill.given(), has)
        for test in self.labels:
            names = [label_name(test.name, value) for value in test.values]
            found = any(name in s.capabilities for name in names)
            if found == (test.test == "not"):
                wanted = {test.name: {test.test: list(test.values)}}
                yield Lack(Unfit.LABEL_MISMATCH, wanted, s.label(test.name))
        if self.min_gpu_memory_gb is not None and s.gpu_memory_gb < self.min_gpu_memory_gb:
            yield Lack(Unfit.MEMORY_TOO_SMALL, self.min_gpu_memory_gb, s.gpu_memory_gb)
        for name, limit in self.ceilings.given():
            value = s.usage(name)
            if value is not None and value > limit:
                yield Lack(Unfit.RESOURCE_THRESHOLD_EXCEEDED, {name: limit}, {name: value})
        if s.node_id in self.avoid:
            yield Lack(Unfit.AVOIDED, "another machine", s.node_id)

    def lacks(self, s: Subject, timeout_ms: int) -> list[Lack]:
        """Everything that keeps the machine from being selected, in the order of `Unfit`."""
        found = [*self.unavailable(s, timeout_ms), *self.unsuited(s)]
        order = list(Unfit)
        return sorted(found, key=lambda lack: order.index(lack.reason))

    def fits(self, s: Subject, timeout_ms: int) -> bool:
        """Whether the machine may be given this work now."""
        return not any(self.unavailable(s, timeout_ms)) and not any(self.unsuited(s))


def _product(choices: list[list[str]]) -> int:
    total = 1
    for choice in choices:
        total *= len(choice)
    return total


def _reason(capability: str) -> Unfit:
    kind = capability.partition(":")[0]
    return (
        Unfit.FEATURE_NOT_AVAILABLE
        if kind in ("feature", "advanced")
        else Unfit.MODEL_NOT_AVAILABLE
    )


def _alike(name: str, capabilities: frozenset[str]) -> list[str]:
    """What the machine has of the same kind, for a person to compare."""
    head = name.partition(":")[0] + ":"
    return sorted(c for c in capabilities if c.startswith(head))[:10]


def rank(wanted: Requirement) -> Callable[[Subject | Selected], tuple[int, float]]:
    """The preferred in the order of preference, then the least loaded; of those that fit."""
    places = {id_: place for place, id_ in enumerate(wanted.prefer)}
    return lambda s: (places.get(s.node_id, len(places)), s.load / s.capacity)
