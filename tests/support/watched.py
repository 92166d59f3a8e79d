"""Agents' states to look at: a node that works, one that was refused, one that is pretended."""

from __future__ import annotations

import time

from muster.agent.hardware import NoGpuCause
from muster.agent.models import ModelProblem
from muster.agent.status import (
    Action,
    AgentStatus,
    GpuRow,
    ModelRow,
    NoGpu,
    Registration,
    Unreachable,
)
from muster.agent.trouble import Note, Trouble

SERVER = "wss://dispatcher.example.com/ws/node"
NODE_ID = "node-7KQ2M9XA"


def working(cards: int = 2) -> AgentStatus:
    """Ready, with a job, one of its cards fallen off the bus."""
    status = AgentStatus("0.1.0")
    now_ms = int(time.time() * 1000)
    status.tell(Action.PROBED, gpus=("RTX 4090", "RTX 3090"), simulated=False)
    status.tell(Action.CONNECTING, server=SERVER, attempt=1)
    status.tell(Action.REGISTERED, node_id=NODE_ID, status="registering", resumed=False, session=1)
    status.tell(Action.STATUS, status="ready", previous="registering", reason="healthy", said="")
    status.change(
        server=SERVER,
        connected=True,
        registration=Registration.SUCCESS,
        node_id=NODE_ID,
        session=1,
        status="ready",
        reason="healthy",
        since_ms=now_ms - 12 * 60_000,
        last_heartbeat_ms=now_ms - 3_000,
        round_trip_ms=12.4,
        next_heartbeat_at=time.monotonic() + 11.4,
        running_jobs=1,
        models=(
            ModelRow("mdl-nmt-zh-en-base-v1", "nmt", "1.0.0", "zh", "en"),
            ModelRow("whisper-large-v3", "asr", "3", "zh", status="downloading"),
        ),
    )
    rows = [
        GpuRow(
            index=0,
            name="NVIDIA GeForce RTX 4090",
            memory_gb=24,
            memory_used_gb=10.2,
            temperature_c=61,
            gpu_percent=62,
        )
    ]
    rows += [
        GpuRow(
            index=index,
            name="NVIDIA GeForce RTX 3090",
            memory_gb=24,
            healthy=False,
            reason="gpu_lost",
        )
        for index in range(1, cards)
    ]
    status.gpus = lambda: tuple(rows)
    return status


def refused() -> AgentStatus:
    """No driver."""
    status = AgentStatus("0.1.0")
    status.change(
        registration=Registration.FAILED, problem=NoGpu(NoGpuCause.NO_DRIVER, "NVML not found")
    )
    return status


def pretended() -> AgentStatus:
    """Simulated cards, no server, a problem with a model."""
    status = AgentStatus("0.1.0", simulated=True)
    status.gpus = lambda: (GpuRow(index=0, name="RTX 4090", memory_gb=24),)
    status.change(
        server=SERVER,
        registration=Registration.REGISTERING,
        problem=Unreachable(Trouble.NAME, SERVER, "no such host"),
        retry_at=time.monotonic() + 8,
        model_problems=(ModelProblem("models.toml", "models[1].kind", "string", "number"),),
    )
    status.note(Note.SIMULATED)
    return status
