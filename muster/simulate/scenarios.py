"""What may befall a fleet, whom it strikes and when: all of it known from a seed. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum


class Fault(Enum):
    """What a struck node does between the fault's beginning and its end."""

    NONE = "nothing"
    GPU_LOST = "reports its GPU as lost"
    FLAPS = "reports its GPU as lost three beats of four"
    SILENT = "keeps its socket and says nothing"
    SLOW = "reads nothing and sends its frames in two pieces"
    CLONED = "has a double: another machine with the same saved identity"


@dataclass(frozen=True)
class Scenario:
    """`share`: the part of the fleet that is struck. `storm`: all connect in the same instant."""

    name: str
    says: str
    fault: Fault = Fault.NONE
    share: float = 0.0
    storm: bool = False


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("steady", "connect at a pace, beat, leave"),
        Scenario("boot-storm", "all connect in the same instant", storm=True),
        Scenario("rolling", "you restart gateways meanwhile; counts who was away, how long"),
        Scenario("gpu-loss", "5 % report a lost GPU, then are mended", Fault.GPU_LOST, 0.05),
        Scenario("flapping", "5 % are unwell three beats of four", Fault.FLAPS, 0.05),
        Scenario("regional-loss", "one region of five falls silent", Fault.SILENT, 0.2),
        Scenario("slow-clients", "10 % read nothing, send in pieces", Fault.SLOW, 0.1),
        Scenario("cloned-ids", "2 % meet a double of themselves", Fault.CLONED, 0.02),
    )
}


@dataclass(frozen=True)
class Timeline:
    """Seconds since all were ready."""

    fault_at_s: float
    fault_ends_s: float
    ends_s: float


def timeline(
    scenario: Scenario, duration_s: float, interval_s: float, timeout_s: float
) -> Timeline:
    """When the fault begins and ends: a fifth of the time is quiet, for comparison.

    A run that was asked to be too short to show its fault and the recovery from it takes as long as
    that needs."""
    before = max(interval_s, duration_s / 5)
    lasts, recovers = {
        Fault.NONE: (0.0, 0.0),
        Fault.GPU_LOST: (5 * interval_s, 4 * interval_s),
        Fault.FLAPS: (12 * interval_s, 4 * interval_s),
        # Silence counts from the last beat, up to an interval ago; then its word has to arrive.
        Fault.SILENT: (timeout_s + 2 * interval_s, 5 * interval_s),
        Fault.SLOW: (4 * interval_s, 2 * interval_s),
        Fault.CLONED: (4 * interval_s, timeout_s + 4 * interval_s),
    }[scenario.fault]
    if scenario.fault in (Fault.NONE, Fault.GPU_LOST, Fault.SILENT):
        return Timeline(before, before + lasts, max(duration_s, before + lasts + recovers))
    ends = max(duration_s, before + lasts + recovers)
    return Timeline(before, ends - recovers, ends)


def struck(scenario: Scenario, nodes: int, seed: int) -> frozenset[int]:
    """The numbers of the nodes the fault strikes: at least one, the same for the same seed."""
    if scenario.fault is Fault.NONE:
        return frozenset()
    if scenario.fault is Fault.SILENT:
        return frozenset(n for n in range(nodes) if region(scenario, n) == LOST_REGION)
    count = max(1, round(nodes * scenario.share))
    return frozenset(random.Random(seed).sample(range(nodes), count))


LOST_REGION = "sim-1"


def region(scenario: Scenario, number: int) -> str:
    """The label `region` of a node; the regional loss strikes LOST_REGION."""
    regions = round(1 / scenario.share) if scenario.fault is Fault.SILENT else 5
    return f"sim-{number % regions + 1}"
