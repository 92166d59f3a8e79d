"""As much of a gateway as writes what a node can do: its own code, without sockets and frames."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from gateway.enrolment import adopt, new_registration, prepare
from gateway.pulse import Pulse
from gateway.session import Session
from muster.wire.messages import Register, Unregister
from registry import capabilities as can
from registry.model import UNLABELLED, OperatorLabels, Registered
from registry.registry import Registry


def able(register: Register, labels: OperatorLabels = UNLABELLED) -> dict[str, Any]:
    """What a gateway writes of a registration, made under an operator's labels."""
    return {
        "registration": can.pack(register),
        "digest": can.digest(register, labels.values),
        "capabilities": can.capabilities(register, labels.values),
        "gpu_memory_gb": can.largest_gpu_gb(register),
        "label_stamp": labels.stamp,
    }


class Socket:
    """One socket's session, and what is written for it."""

    def __init__(self, registry: Registry, gateway_id: str = "gw1") -> None:
        hub = SimpleNamespace(put=lambda *_: None, remove=lambda *_: None)
        self.services = SimpleNamespace(registry=registry, gateway_id=gateway_id, hub=hub)
        self.node_id = "node-A"
        self.address = ""
        self.session: Session | None = None
        self.incoming: Session | None = None
        self._pulse = Pulse(self)  # type: ignore[arg-type]

    async def insist(self, call: Callable[[], Awaitable[Any]]) -> Any:
        return await call()

    async def register(self, message: Register, kind: str = "resume") -> Registered:
        """Looks and writes until the store agrees."""
        registry: Registry = self.services.registry
        while True:
            known = await registry.known(self.node_id)
            incoming = prepare(message, known.labels)
            new = new_registration(self, incoming, kind, registry.clock.monotonic())  # type: ignore[arg-type]
            written = await registry.register(new, known.record)
            if isinstance(written, Registered):
                adopt(self, incoming, written)  # type: ignore[arg-type]
                return written

    async def report(self, updated: Register) -> None:
        """A heartbeat says that the node can do something else now."""
        await self._pulse._update(updated)

    def renewing(self) -> asyncio.Lock:
        """Held while a beat's answer makes a new session of this one."""
        return self._pulse._alone()

    async def unregister(self) -> None:
        await self._pulse.unregister(Unregister())
