"""Why a machine has no usable GPU. Kept apart from `hardware`, as the worker loads little."""

from __future__ import annotations

from enum import StrEnum


class NoGpuCause(StrEnum):
    """Each cause has its own remedy."""

    NO_GPU = "no_gpu"
    NO_DRIVER = "no_driver"
    DRIVER_MISMATCH = "driver_mismatch"
    NO_PERMISSION = "no_permission"
    GPU_LOST = "gpu_lost"
    PROBE_TIMEOUT = "probe_timeout"
    UNKNOWN = "unknown"


class NoGpuError(Exception):
    """No usable GPU was found. `detail` is what the system said, not a sentence for people.

    `fault` is the reason a card is given that was there before.
    """

    def __init__(self, cause: NoGpuCause, detail: str = "", *, fault: str | None = None) -> None:
        super().__init__(f"{cause.value}: {detail}" if detail else cause.value)
        self.cause = cause
        self.detail = detail
        self.fault = fault or ("gpu_lost" if cause is NoGpuCause.NO_GPU else cause.value)
