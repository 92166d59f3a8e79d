"""Sequences of faults drawn from a seed: the same seed, the same sequence.

An episode is up to three faults that overlap in time, unless they touch the same; after it all must
be well again. A sequence is a few episodes on one world, whose clocks may be wrong. Not drawn is
what leaves something behind for good (an identity that was cloned, a second that was lost) or
repeats another fault: these are tried alone.
"""

from __future__ import annotations

import random
from typing import Literal

from tests.faults import faults

_MOST_AT_ONCE = 3


Store = Literal["one server", "Sentinel", "Cluster"]


def episodes(seed: int, count: int, store: Store = "one server") -> list[faults.Together]:
    """So many episodes of faults that this kind of store can suffer."""
    dice = random.Random(f"{seed}/sequence")
    return [_episode(dice, store) for _ in range(count)]


def clock_errors(seed: int) -> tuple[float, ...]:
    """Seconds by which the gateways' clocks are wrong, in their order; none: all are right."""
    wrong: tuple[tuple[float, ...], ...] = ((), (3600.0, -3600.0), (-90.0, 0.0), (0.0, 20.0))
    return random.Random(f"{seed}/clocks").choice(wrong)


def _episode(dice: random.Random, store: Store) -> faults.Together:
    drawn: list[tuple[float, faults.Fault]] = []
    for _ in range(dice.randint(1, _MOST_AT_ONCE)):
        fault = _fault(dice, store)
        if not any(fault.touches & other.touches for _, other in drawn):
            drawn.append((round(dice.uniform(0, 40), 1) if drawn else 0.0, fault))
    return faults.Together(of=tuple(drawn))


def _fault(dice: random.Random, store: Store) -> faults.Fault:
    lasts = round(dice.choice((5, 20, 50, 80)) * dice.uniform(0.7, 1.3), 1)
    door = dice.randrange(2)
    stores: dict[Store, tuple[faults.Fault, ...]] = {
        "one server": (
            faults.StoreRestarted(killed=dice.random() < 0.5),
            faults.StoreRestarted(empty=True),
            faults.StoreUnreachable(lasts),
            faults.StoreUnreachable(lasts, refused=True),
            faults.StorePaused(lasts),
            faults.WritesRefused(lasts, replicas=dice.random() < 0.5),
            faults.OneGatewayCutOff(lasts, door=door),
        ),
        "Sentinel": (faults.PrimaryKilled(), faults.PrimaryKilled()),
        "Cluster": (faults.ClusterPrimaryKilled(), faults.SlotsMoving(lasts)),
    }
    kinds: tuple[faults.Fault, ...] = (
        *stores[store],
        faults.GatewayKilled(lasts, door=door),
        faults.GatewayPaused(lasts, door=door),
        faults.GatewaysRolled(),
        faults.SweeperKilled(lasts),
        faults.SweepersPaused(lasts),
        faults.HalfOpen(lasts, share=round(dice.uniform(0.1, 0.6), 2)),
        faults.HalfOpen(lasts, share=0.3, for_ever=True),
        faults.SlowNetwork(lasts, delay_s=0.1),
        faults.EverybodyReconnects(),
        faults.SlowReaders(lasts),
        faults.Newcomers(lasts, count=6),
        faults.Drained(lasts),
        faults.Drained(lasts),
        faults.Leaving(),
    )
    return dice.choice(kinds)
