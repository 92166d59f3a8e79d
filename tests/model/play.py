"""Plays the machine: the same every time, or from a seed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Life, Stage

EXAMPLES, STEPS = 36, 40  # of the short play


def play(
    stage: Stage, examples: int, steps: int, *, from_seed: int | None = None, shrink: bool = True
) -> None:
    """Plays so many lives of so many steps at most. Raises what did not hold, and says by which
    steps it came about; with `shrink` by as few as can be found."""
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=from_seed is None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
    )
    life = on(stage)
    with quiet():
        run_state_machine_as_test(
            life if from_seed is None else seed(from_seed)(life), settings=how
        )


@contextmanager
def played(stage: Stage) -> Iterator[Life]:
    """A machine whose steps are called by name."""
    life = on(stage)()
    with quiet():
        try:
            yield life
        finally:
            life.teardown()


def on(stage: Stage) -> type[Life]:
    """The machine, playing there."""
    return type("Life", (Life,), {"stage": stage})


@contextmanager
def quiet() -> Iterator[None]:
    """What a sweeper says of outages is meant for people."""
    logger = logging.getLogger("muster.sweeper")
    former = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(former)
