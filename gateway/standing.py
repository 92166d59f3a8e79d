"""How a gateway stands: what its readiness rests on, as it is known now, without asking anybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """A gateway's id, each of `gateway.metrics.CHECKS` true or false, and with which words
    the store refuses to write ('' where it does not)."""

    gateway_id: str
    checks: Callable[[], dict[str, bool]]
    refused: Callable[[], str]
