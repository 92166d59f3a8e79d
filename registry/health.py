"""What one heartbeat is worth. Pure; the rules are those of docs/lifecycle.md.

Nothing reported says nothing: the registered GPUs stand. One sick GPU of several lowers capacity,
not health.
"""

from __future__ import annotations

from collections.abc import Sequence

from muster.wire.messages import Heartbeat, Register
from registry.capabilities import required_met
from registry.model import Verdict


def judge(register: Register, heartbeat: Heartbeat, required_models: Sequence[str]) -> Verdict:
    """The verdict of a beat; `register` is the registration with the beat's changes applied."""
    if _gpu_unavailable(heartbeat):
        return Verdict.GPU_UNAVAILABLE
    if not required_met(register, required_models):
        return Verdict.MODEL_MISSING
    if heartbeat.health_ok is False:
        return Verdict.SELF_REPORTED
    return Verdict.PASS


def _gpu_unavailable(heartbeat: Heartbeat) -> bool:
    if heartbeat.hardware_gpus == ():
        return True
    gpus = heartbeat.usage.gpus
    if gpus is not None and not any(gpu.healthy for gpu in gpus):
        return True
    percent = heartbeat.usage.gpu_percent
    return percent is not None and not 0 <= percent <= 100
