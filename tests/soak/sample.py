"""What was seen of a system at one moment. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Part:
    """One process: since when it lives (its pid), resident bytes, descriptors, processor seconds
    since it started, sockets (a gateway's nodes, the store's clients), bytes of its log."""

    pid: int
    rss: int
    descriptors: int
    cpu_s: float
    sockets: int = 0
    log_bytes: int = 0


@dataclass(frozen=True)
class Waits:
    """How long something took since the sample before, seconds; None where it did not happen."""

    count: int = 0
    p50: float | None = None
    p99: float | None = None


@dataclass(frozen=True)
class Sample:
    """One moment, `at_s` seconds after all were ready. `during`: what was done to the system since
    the sample before, or so recently that it may still be felt; empty: nothing."""

    at_s: float
    parts: dict[str, Part]
    store_bytes: int
    keys: int
    events: int
    beats: int
    ack: Waits
    to_store: Waits
    select: Waits
    ready: int
    load: float
    during: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def of(cls, told: dict[str, Any]) -> Sample:
        """Of `as_dict`."""
        waits = {name: Waits(**told[name]) for name in ("ack", "to_store", "select")}
        parts = {name: Part(**part) for name, part in told["parts"].items()}
        return cls(**(told | waits | {"parts": parts, "during": tuple(told["during"])}))
