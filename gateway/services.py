"""What every conversation of a gateway shares."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from gateway.batcher import Batcher
from gateway.clock import StallClock
from gateway.hub import NodeConnectionManager
from gateway.metrics import Metrics
from gateway.ownership import Ownership
from gateway.settings import GatewaySettings
from gateway.tokens import JoinTokens, NodeTokens
from registry.registry import Registry

RENEWALS_AT_ONCE = 64


@dataclass(frozen=True)
class Services:
    """One gateway's parts. `renewals` paces what beats restore after the store lost it."""

    gateway_id: str
    settings: GatewaySettings
    registry: Registry
    hub: NodeConnectionManager  # type: ignore[type-arg]  # of Connection, which knows Services
    batcher: Batcher
    ownership: Ownership
    node_tokens: NodeTokens
    join_tokens: JoinTokens
    clock: StallClock
    metrics: Metrics
    renewals: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RENEWALS_AT_ONCE))
