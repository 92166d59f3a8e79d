"""Where the guards are: a room's file names the guards of its code and the tests that miss them."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.rooms import (
    access,
    agent,
    api,
    beats,
    client,
    clocks,
    door,
    events,
    formats,
    gateway,
    holds,
    life,
    operators,
    pages,
    registrations,
    selecting,
    short_way,
    simulate,
    store,
    sweeper,
    transitions,
    watched,
    wire,
)

_ROOMS = (
    registrations, beats, transitions, clocks, holds, selecting, operators, events, formats,
    store, sweeper, gateway, short_way, access, api, wire, agent, client, simulate, life, pages,
    door, watched,
)  # fmt: skip


def rooms() -> dict[str, list[Mutant]]:
    """Every guard that is broken, by its room, in a fixed order."""
    return {room.__name__.rpartition(".")[2]: list(room.mutants()) for room in _ROOMS}


def mutants() -> list[Mutant]:
    """Every guard that is broken, in a fixed order."""
    return [mutant for room in rooms().values() for mutant in room]
