"""An agent put together: the session, and beside it the watches over GPUs and models.

Each watch is a task of its own; a heartbeat reads what they last wrote and waits for neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from muster.agent.config import AgentConfig
from muster.agent.hardware import Hardware
from muster.agent.identity import IdentityFile
from muster.agent.inventory import Inventory
from muster.agent.models import ModelScan, ModelSource
from muster.agent.monitor import GpuMonitor
from muster.agent.probe import probe
from muster.agent.session import ExitReason, NodeSession
from muster.agent.simulated import SimulatedSource, simulated
from muster.agent.status import AgentStatus

MODELS_AWAITED_S = 5.0
"""How long the first look at the models may take before the node registers without them."""


async def find_hardware(config: AgentConfig) -> Hardware:
    """This machine's hardware, or what it shall pretend. Raises NoGpuError, SimulateError."""
    if config.simulate is not None:
        return simulated(config.simulate)
    return await probe(config.probe_deadline_s)


def program_version() -> str:
    """Muster's own version."""
    try:
        return installed_version("muster")
    except PackageNotFoundError:
        return "unknown"


class Agent:
    """One machine in the fleet. `version` is the program's own, by default Muster's; callbacks are
    those of `NodeSession`."""

    def __init__(
        self,
        config: AgentConfig,
        hardware: Hardware,
        status: AgentStatus | None = None,
        identity: IdentityFile | None = None,
        *,
        version: str | None = None,
        on_registered: Callable[[str], None] | None = None,
        on_status: Callable[[str, str], None] | None = None,
        on_refused: Callable[[str, str], None] | None = None,
    ) -> None:
        pretends = config.simulate is not None
        self._debounce_s = config.models_debounce_s
        self._models = ModelSource(config.models_dir, config.models_file)
        self._models_known = asyncio.Event()
        self._monitor = GpuMonitor(
            hardware,
            interval_s=config.gpu_interval_s,
            deadline_s=config.gpu_deadline_s,
            source=SimulatedSource(hardware) if pretends else None,
            on_change=self._on_gpus,
        )
        inventory = Inventory(
            hardware,
            monitor=self._monitor,
            probe=lambda: find_hardware(config),
            version=version or program_version(),
            labels=config.labels,
            accept_public_jobs=config.accept_public_jobs,
            max_concurrent_jobs=config.max_concurrent_jobs,
            simulated=pretends,
        )
        self.session = NodeSession(
            config,
            inventory,
            status,
            identity,
            on_registered=on_registered,
            on_status=on_status,
            on_refused=on_refused,
        )

    async def run(self) -> ExitReason:
        """Runs until the session ends. A bug in any part ends all of it, with its exception."""
        async with asyncio.TaskGroup() as group:
            beside = (
                group.create_task(self._monitor.run()),
                group.create_task(self._models.watch(self._on_models, self._debounce_s)),
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(MODELS_AWAITED_S):
                    await self._models_known.wait()
            reason = await self.session.run()
            for task in beside:
                task.cancel()
        return reason

    def _on_models(self, scan: ModelScan) -> None:
        self._models_known.set()
        self.session.set_models(scan)

    def _on_gpus(self) -> None:
        self.session.gpus_changed()
