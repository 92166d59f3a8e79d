"""One gateway process's parts, put together, started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import socket
import time
from typing import Any

from gateway.admission import Policy
from gateway.batcher import Batcher
from gateway.buffers import Buffers
from gateway.clock import StallClock
from gateway.connection import Connection
from gateway.hub import NodeConnectionManager
from gateway.metrics import CHECKS, Metrics
from gateway.ownership import Ownership
from gateway.presence import Presence
from gateway.relay import Relay
from gateway.services import Services
from gateway.settings import GatewaySettings
from gateway.standing import Standing
from gateway.tail import Tail
from gateway.tokens import JoinTokens, NodeTokens
from gateway.wheel import Wheel
from registry.ending import end
from registry.errors import StoreError
from registry.logs import log
from registry.measuring import program_version
from registry.registry import Registry

logger = logging.getLogger("muster.gateway")

FLUSH_S = 2.0
_END_S = 3.0  # a subscription alone may take 1 s to end


def new_gateway_id() -> str:
    """Unique for every start of a process, and tells a person where it runs."""
    host = "".join(c for c in socket.gethostname() if c.isalnum() or c == "-")[:32]
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"


class Gate:
    """Everything one gateway runs. `asked` is the registry over HTTP's own connections."""

    def __init__(
        self, settings: GatewaySettings, registry: Registry, asked: Registry, metrics: Metrics
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.gateway_id = new_gateway_id()
        self.metrics = metrics
        self.standing = Standing(self.gateway_id, self._checks, lambda: self.presence.refused)
        for each in (registry, asked):
            each.store.observer = metrics
        self.clock = StallClock()
        self.buffers = Buffers(settings.buffer_limit_bytes)
        self.sockets: set[Connection] = set()
        self.draining = False
        hub: NodeConnectionManager[Connection] = NodeConnectionManager()
        self.batcher = Batcher(
            registry,
            window_s=settings.batch_window_s,
            batch_max=settings.batch_max,
            pending_per_node=settings.beats_pending_per_node,
            observe=self.metrics.batch_size.observe,
        )
        self.relay = Relay(registry, hub, self.gateway_id, settings.alive_question_s)
        self.presence = Presence(
            registry,
            self.batcher,
            self.clock,
            self.gateway_id,
            self._info(),
            ttl_s=settings.presence_ttl_s,
            interval_s=settings.heartbeat_interval_s,
        )
        self.wheel = Wheel(
            lambda: self.sockets,
            self.clock.observed,
            timeout_s=settings.heartbeat_timeout_s,
            factor=settings.reap_factor,
            register_timeout_s=settings.register_timeout_s,
        )
        self.tail = Tail(
            asked,
            metrics,
            poll_s=settings.watch_poll_s,
            buffer_bytes=settings.watch_buffer_bytes,
        )
        self.services = Services(
            gateway_id=self.gateway_id,
            settings=settings,
            registry=registry,
            hub=hub,
            batcher=self.batcher,
            ownership=Ownership(registry, self.relay, self.gateway_id, _policy(settings)),
            node_tokens=NodeTokens(settings.secret),
            join_tokens=JoinTokens(settings.join_tokens),
            clock=self.clock,
            metrics=self.metrics,
        )
        self._stalled_told = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Starts every loop; the store may be away."""
        for run in (
            self.clock.run, self.batcher.run, self.relay.run, self.presence.run, self.wheel.run,
            self.tail.run,
        ):  # fmt: skip
            self._tasks.append(asyncio.create_task(_for_ever(run)))
        log(logger, logging.INFO, "gateway_started", gateway=self.gateway_id)

    async def stop(self) -> None:
        """Sends what waits, leaves the roll, ends every loop."""
        await self.batcher.drain(FLUSH_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.presence.withdraw(), FLUSH_S)
        await end(self._tasks, _END_S)
        await self.registry.close()

    async def drain(self) -> None:
        """Unready at once; who watches is asked to go elsewhere, then every socket, a paced few at
        a time."""
        self.draining = True
        self.tail.end()
        sockets = list(self.sockets)
        random.shuffle(sockets)
        log(logger, logging.INFO, "draining", sockets=len(sockets))
        s = self.settings
        rate = max(s.drain_rate_per_s, len(sockets) / s.drain_window_s if s.drain_window_s else 1e9)
        began = time.monotonic()
        for place, connection in enumerate(sockets):
            due = began + place / rate
            if due > time.monotonic():
                await asyncio.sleep(due - time.monotonic())
            connection.reconnect(random.randint(0, 1000), "restarting")
        until = time.monotonic() + FLUSH_S
        while self.sockets and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def checks(self) -> dict[str, Any]:
        """What readiness rests on, each true or false, and warnings for people.

        The store has to answer and to take the announcement that this gateway lives: one that
        refuses writes takes no beat. What a part of a Cluster does is not asked, as the others'
        nodes are well off here."""
        store = self.presence.answered and await self._reached()
        warnings = []
        if not self.services.node_tokens.enabled:
            warnings.append("MUSTER_SECRET is not set: no node tokens are issued or checked")
        if self.presence.refused:
            warnings.append(f"the store refuses writes: {self.presence.refused}")
        return {"checks": self._checks() | {"store": store}, "warnings": warnings}

    async def _reached(self) -> bool:
        try:
            await asyncio.wait_for(self.registry.ping(), 2.0)
        except (StoreError, TimeoutError):
            return False
        return True

    def _checks(self) -> dict[str, bool]:
        holds = (
            self.batcher.store_ok and self.presence.answered,
            self.relay.healthy,
            self.presence.ok,
            not self.draining,
        )
        return dict(zip(CHECKS, holds, strict=True))

    def measure(self) -> bytes:
        """The exposition text, with the gauges as they are now."""
        registered = sum(c.registered for c in self.sockets)
        self.metrics.sockets.labels("registered").set(registered)
        self.metrics.sockets.labels("unregistered").set(len(self.sockets) - registered)
        self.metrics.pending.set(len(self.batcher))
        self.metrics.buffered.set(self.buffers.total)
        for check, holds in self.standing.checks().items():
            self.metrics.checks.labels(check).set(holds)
        stalled = self.clock.stalled_s
        self.metrics.stalled.inc(stalled - self._stalled_told)
        self._stalled_told = stalled
        return self.metrics.render()

    def _info(self) -> dict[str, str]:
        s = self.settings
        return {
            "id": self.gateway_id,
            "url": s.public_url or s.own_url,
            "version": program_version(),
            "started": str(int(time.time() * 1000)),
        }


def _policy(settings: GatewaySettings) -> Policy:
    return Policy(
        require_token=settings.require_node_token,
        takeover_limit=settings.takeover_limit,
        takeover_window_ms=round(settings.takeover_window_s * 1000),
        retry_after_ms=round(settings.heartbeat_timeout_s * 1000),
    )


async def _for_ever(run: Any) -> None:
    """Starts a loop again that ended by a bug of ours."""
    while True:
        try:
            await run()
        except Exception as error:  # noqa: BLE001 - the process must outlive one loop's bug
            log(logger, logging.ERROR, "loop_failed", exc_info=error, loop=run.__qualname__)
        await asyncio.sleep(0.2)
