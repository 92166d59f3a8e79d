"""Finds out what `admission.decide` needs to know: the record, its holder, whether that lives."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from gateway.admission import Ask, Attempt, Decision, Duplicate, Holder, Policy, decide
from gateway.relay import Relay
from registry.keys import partition_of
from registry.logs import log
from registry.model import UNLABELLED, Existing, OperatorLabels
from registry.registry import Registry

logger = logging.getLogger("muster.gateway.ownership")


@dataclass(frozen=True, slots=True)
class Claim:
    """A decision, and the record it was made on, with the operator's labels: the store must still
    be so when it is written."""

    decision: Decision
    existing: Existing | None
    labels: OperatorLabels = UNLABELLED


class Ownership:
    """Decides claims on ids."""

    def __init__(self, registry: Registry, relay: Relay, gateway_id: str, policy: Policy) -> None:
        self._registry = registry
        self._relay = relay
        self._gateway_id = gateway_id
        self._policy = policy

    async def claim(self, node_id: str, attempt: Attempt) -> Claim:
        """Decides one claim; waits while a holder is asked. Raises StoreUnavailable."""
        known = await self._registry.known(node_id)
        existing = known.record
        holder = await self._holder(existing)
        decision = self._decide(existing, attempt, holder)
        if isinstance(decision, Ask):
            holder = await self._relay.ask(decision.gateway, node_id, decision.sid)
            decision = self._decide(existing, attempt, holder)
        if isinstance(decision, Duplicate) and existing is not None:
            await self._note(existing, attempt)
        return Claim(decision, existing, known.labels)

    def _decide(self, existing: Existing | None, attempt: Attempt, holder: Holder) -> Decision:
        now_ms = self._registry.clock.now_ms()
        return decide(existing, attempt, self._policy, holder, now_ms)

    async def _holder(self, existing: Existing | None) -> Holder:
        if existing is None or existing.closed or existing.gateway == self._gateway_id:
            return Holder.UNKNOWN
        present = await self._registry.gateway_present(existing.gateway)
        return Holder.UNKNOWN if present else Holder.ABSENT

    async def _note(self, existing: Existing, attempt: Attempt) -> None:
        detail: dict[str, Any] = {
            "id": existing.node_id,
            "holder_boot_id": existing.boot_id,
            "holder_address": existing.address,
            "boot_id": attempt.boot_id,
            "address": attempt.address,
        }
        log(logger, logging.WARNING, "duplicate_identity", **detail)
        await self._registry.note(partition_of(existing.node_id), "duplicate_identity", detail)
