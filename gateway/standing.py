"""How a gateway stands: what its readiness rests on, as it is known now, without asking anybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """A gateway's id, and each of `gateway.metrics.CHECKS` true or false."""

    gateway_id: str
    checks: Callable[[], dict[str, bool]]
