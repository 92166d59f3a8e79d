"""What the simulator's verdict rests on."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, guards, integration, unit


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "muster/simulate/verdict.py",
        unit("simulate"),
        ("verdict: who was falsely called something", 'not counts[f"falsely {status}"]', "True"),
        (
            "verdict: punctual",
            "punctual = (late is None or late <= _LATE_S) and not own",
            "punctual = True",
        ),
        ("verdict: all are ready in the end", 'now["ready"] == outcome.nodes,', "True,"),
        ("verdict: the slowest beat", "p99 <= outcome.slowest_beat_s", "True"),
        prefix="simulate",
    )
    yield from guards(
        "muster/simulate/usage.py",
        unit("simulate"),
        ("usage: a process that began anew", "if early.started != late.started:", "if False:"),
        prefix="simulate",
    )
    yield from guards(
        "muster/simulate/scenarios.py",
        unit("simulate"),
        ("scenarios: longer than the time-out", "timeout_s + 2 * interval_s", "interval_s"),
        prefix="simulate",
    )
    yield from guards(
        "muster/simulate/frames.py",
        unit("simulate"),
        ("frames: size of a frame", "if size > MOST_BYTES:", "if False:"),
        prefix="simulate",
    )
    yield from guards(
        "muster/simulate/node.py",
        integration("simulate"),
        ("a close is followed by a new socket", "self._again(soon)", "pass"),
        prefix="simulate",
    )
    yield from guards(
        "muster/cli/simulating.py",
        unit("simulate"),
        ("a server elsewhere is not loaded unasked", "if far and not yes:", "if False:"),
        prefix="simulate",
    )
