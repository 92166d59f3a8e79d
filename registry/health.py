"""What one heartbeat is worth: one verdict, a pure function of the registration and the report.

A heartbeat passes with at least one usable GPU, the required models ready, and no word from the
node itself that it is unwell. Nothing reported says nothing: what was registered stands. Failures
are named in that order; a missed heartbeat and a failed job are found elsewhere.
"""

from __future__ import annotations

from muster.wire.messages import Heartbeat
from registry.capabilities import usable_gpus
from registry.model import Verdict


def judge(heartbeat: Heartbeat, models_ready: bool) -> Verdict:
    """The verdict on `heartbeat` from a node whose required models are ready, or not
    (`registry.capabilities.required_met`), with what this heartbeat says of them applied."""
    if not gpu_usable(heartbeat):
        return Verdict.GPU_UNAVAILABLE
    if not models_ready:
        return Verdict.MODEL_MISSING
    if heartbeat.health_ok is False:
        return Verdict.SELF_REPORTED
    return Verdict.PASS


def gpu_usable(heartbeat: Heartbeat) -> bool:
    """Whether the report leaves at least one GPU to work with."""
    listed, hardware = heartbeat.hardware_gpus, heartbeat.hardware
    if listed is not None and usable_gpus(listed) == 0:
        return False
    if hardware is not None and usable_gpus(hardware.gpus) == 0:
        return False
    usage = heartbeat.usage
    if usage.gpus is not None and not any(gpu.healthy for gpu in usage.gpus):
        return False
    return usage.gpu_percent is None or 0 <= usage.gpu_percent <= 100
