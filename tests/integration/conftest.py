"""Systems of real processes, with the numbers of the document shortened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest_asyncio

from registry.registry import Registry
from registry.settings import RegistrySettings
from tests.support.processes import Process, Processes, ProcessesFactory
from tests.support.stores import Backend

QUICK: dict[str, str | int | float | bool | list[str]] = {
    "heartbeat_interval_s": 0.5,
    "heartbeat_timeout_s": 3.0,
    "warmup_timeout_s": 3.5,
    "drain_timeout_s": 2.0,
    "presence_ttl_s": 2.0,
    "gateway_grace_s": 5.0,
    "lease_ttl_s": 2.0,
    "observe_interval_s": 0.2,
    "unobserved_gap_s": 0.6,
    "max_lag_s": 1.0,
    "redis_timeout_s": 1.0,
    "alive_question_s": 2.0,  # as long as it is: who lives answers at once
    "messages_burst": 1000,
    "messages_per_s": 1000,
    "registrations_burst": 100,
    "registrations_per_s": 100,
    "drain_window_s": 2.0,
    "secret": ["fleet-secret"],
    "log_format": "text",
}


@dataclass
class System:
    """Gateways and sweepers on one store; `registry` is a connection of the test's own."""

    processes: Processes
    registry: Registry
    backend: Backend
    gateways: list[Process] = field(default_factory=list)
    sweepers: list[Process] = field(default_factory=list)

    @property
    def ws(self) -> str:
        return self.gateways[0].ws_url

    @property
    def http(self) -> str:
        return self.gateways[0].url

    async def start(self, gateways: int = 1, sweepers: int = 1, **settings: object) -> System:
        """Starts processes; `settings` hold for these alone."""
        for _ in range(gateways):
            self.gateways.append(await self.processes.gateway(**settings))  # type: ignore[arg-type]
        for _ in range(sweepers):
            self.sweepers.append(await self.processes.sweeper(**settings))  # type: ignore[arg-type]
        return self


@pytest_asyncio.fixture
async def system(processes: ProcessesFactory, valkey: Backend) -> AsyncIterator[System]:
    """Nothing started yet: `await system.start(gateways=…, sweepers=…)`."""
    assert valkey.url is not None
    made = processes(valkey.url, **QUICK)
    names = RegistrySettings.__dataclass_fields__
    shared: dict[str, Any] = {k: v for k, v in QUICK.items() if k in names}
    settings = replace(RegistrySettings(), redis_url=valkey.url, **shared)
    registry = await Registry.connect(settings)
    yield System(made, registry, valkey)
    await registry.close()
