"""What this machine is and can do, as plain values: read at any moment, never waited for.

The GPU monitor, the watch over models and the local API write here; a heartbeat reads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from muster.agent.hardware import GpuSnapshot, Hardware
from muster.agent.models import ModelScan
from muster.agent.report import Report
from muster.agent.status import GpuRow
from muster.agent.system import SystemLoad, machine
from muster.wire.messages import GpuReport, Usage

SIMULATED_LABEL = "simulated"


class Monitor(Protocol):
    """Whoever knows the state of the cards."""

    def latest(self) -> GpuSnapshot:
        """The last known state; returns at once."""

    def replace(self, hardware: Hardware) -> None:
        """From now on these are the cards."""


class Inventory:
    """One machine. `probe` finds its hardware again; without one it stays what it is."""

    def __init__(
        self,
        hardware: Hardware,
        *,
        monitor: Monitor | None = None,
        probe: Callable[[], Awaitable[Hardware]] | None = None,
        version: str = "unknown",
        labels: Mapping[str, str] | None = None,
        accept_public_jobs: bool = True,
        max_concurrent_jobs: int | None = None,
        simulated: bool = False,
    ) -> None:
        self.hardware = hardware
        self.monitor = monitor
        self.version = version
        self.simulated = simulated
        self.labels = dict(labels or {})
        if simulated:
            self.labels[SIMULATED_LABEL] = "true"
        self.accept_public_jobs = accept_public_jobs
        self.max_concurrent_jobs = max_concurrent_jobs
        self.models = ModelScan()
        self.running_jobs = 0
        self.health_ok = True
        self.health_reason: str | None = None
        self._probe = probe
        self._load = SystemLoad(machine())

    def report(self) -> Report:
        """All of it, now."""
        return Report(
            version=self.version,
            platform=self.hardware.platform,
            hardware=self.hardware.as_message(),
            models=self.models.models,
            features=self.models.features,
            advanced_features=self.models.advanced_features,
            labels=self.labels,
            accept_public_jobs=self.accept_public_jobs,
            max_concurrent_jobs=self.max_concurrent_jobs,
            usage=self._usage(),
            health_ok=self.health_ok,
            health_reason=self.health_reason,
        )

    def gpu_rows(self) -> tuple[GpuRow, ...]:
        """The cards for people: what they are, and how they are."""
        states = self._snapshot().gpus
        rows = []
        for at, gpu in enumerate(self.hardware.gpus):
            state = states[at] if at < len(states) else None
            rows.append(
                GpuRow(
                    index=at if gpu.index is None else gpu.index,
                    name=gpu.name,
                    memory_gb=gpu.memory_gb,
                    uuid=gpu.uuid,
                    driver_version=gpu.driver_version,
                    healthy=state.healthy if state else True,
                    reason=state.reason if state else None,
                    memory_used_gb=state.memory_used_gb if state else None,
                    temperature_c=state.temperature_c if state else None,
                    gpu_percent=state.gpu_percent if state else None,
                )
            )
        return tuple(rows)

    async def reprobe(self) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """Looks at the hardware again; if it is another, takes it: (cards added, cards removed).

        None: nothing changed. Raises NoGpuError.
        """
        if self._probe is None:
            return None
        found = await self._probe()
        if found == self.hardware:
            return None
        before = [gpu.name for gpu in self.hardware.gpus]
        after = [gpu.name for gpu in found.gpus]
        self.hardware = found
        if self.monitor is not None:
            self.monitor.replace(found)
        return _missing(after, before), _missing(before, after)

    def _snapshot(self) -> GpuSnapshot:
        return self.monitor.latest() if self.monitor is not None else GpuSnapshot()

    def _usage(self) -> Usage:
        snapshot = self._snapshot()
        return Usage(
            cpu_percent=self._load.cpu_percent(),
            mem_percent=self._load.mem_percent(),
            running_jobs=self.running_jobs,
            gpu_percent=snapshot.gpu_percent,
            gpu_mem_percent=snapshot.gpu_mem_percent,
            gpus=tuple(
                GpuReport(
                    index=state.index,
                    uuid=state.uuid,
                    healthy=state.healthy,
                    reason=state.reason,
                    memory_used_gb=state.memory_used_gb,
                    temperature_c=state.temperature_c,
                )
                for state in snapshot.gpus
            )
            or None,
        )


def _missing(these: list[str], those: list[str]) -> tuple[str, ...]:
    """Names in `these` more often than in `those`."""
    left = list(those)
    missing = []
    for name in these:
        if name in left:
            left.remove(name)
        else:
            missing.append(name)
    return tuple(missing)
