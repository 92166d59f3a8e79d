"""How fast a run goes: the document's numbers, all shortened by one factor, or as they are."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.processes import Setting

_COMMON: dict[str, Setting] = {
    "messages_burst": 1000,
    "messages_per_s": 1000,
    "registrations_burst": 1000,
    "registrations_per_s": 1000,
    "secret": ["fleet-secret"],
    "log_format": "text",
}


@dataclass(frozen=True)
class Pace:
    """`speed` 10 makes a time-out of 45 s one of 4.5 s. What would be shorter than a busy machine
    can keep (a second's answer of the store) is shortened less."""

    name: str
    speed: float
    settings: dict[str, Setting] = field(default_factory=dict)

    def s(self, seconds: float) -> float:
        """A time of the document in seconds of this run."""
        return seconds / self.speed

    @property
    def timeout_s(self) -> float:
        return self.s(45)

    @property
    def interval_s(self) -> float:
        return self.s(15)

    @property
    def grace_s(self) -> float:
        return self.s(90)


def _shortened(speed: float) -> dict[str, Setting]:
    return {
        **_COMMON,
        "heartbeat_interval_s": 15 / speed,
        "heartbeat_timeout_s": 45 / speed,
        "warmup_timeout_s": 60 / speed,
        "gateway_grace_s": 90 / speed,
        "presence_ttl_s": max(1.0, 10 / speed),
        "lease_ttl_s": max(1.5, 8 / speed),
        "observe_interval_s": max(0.2, 1 / speed),
        "unobserved_gap_s": max(0.8, 5 / speed),
        "max_lag_s": max(1.0, 5 / speed),
        "redis_timeout_s": max(1.0, 5 / speed),
        "alive_question_s": max(0.4, 2 / speed),
        "drain_window_s": 25 / speed,
        "repair_interval_s": 300 / speed / 4,
        "register_timeout_s": 60 / speed,
    }


QUICK = Pace("1:10", 10.0, _shortened(10.0))
HASTY = Pace("1:15", 15.0, _shortened(15.0))
TRUE = Pace("true speed", 1.0, dict(_COMMON))
