"""What NVIDIA's error codes mean, and why a machine may have no card of theirs to offer.

The codes are NVML's; nvidia-smi exits with the same ones.
"""

from __future__ import annotations

from pathlib import Path

from muster.agent import bus
from muster.agent.causes import NoGpuCause, NoGpuError

NO_PERMISSION = 4
NOT_FOUND = 6
DRIVER_NOT_LOADED = 9
TIMEOUT = 10
LIBRARY_NOT_FOUND = 12
GPU_IS_LOST = 15
RESET_REQUIRED = 16
VERSION_MISMATCH = 18
GPU_NOT_FOUND = 28

NOT_TOLD = {2, 3, NO_PERMISSION, 7, 13, 19, 21, 22, 23, 24, 25, 26, 27}
"""Codes that mean of a single figure that it is not told, not that the card is ill."""

_CAUSES = {
    NO_PERMISSION: NoGpuCause.NO_PERMISSION,
    DRIVER_NOT_LOADED: NoGpuCause.NO_DRIVER,
    GPU_IS_LOST: NoGpuCause.GPU_LOST,
    RESET_REQUIRED: NoGpuCause.GPU_LOST,
    VERSION_MISMATCH: NoGpuCause.DRIVER_MISMATCH,
    GPU_NOT_FOUND: NoGpuCause.GPU_LOST,
}

_FAULTS = {
    NO_PERMISSION: "no_permission",
    NOT_FOUND: "gpu_lost",
    DRIVER_NOT_LOADED: "no_driver",
    GPU_IS_LOST: "gpu_lost",
    RESET_REQUIRED: "reset_required",
    VERSION_MISMATCH: "driver_mismatch",
    GPU_NOT_FOUND: "gpu_lost",
}

_KEPT_OUT = "the machine's driver runs, but this container was given no card"


def fault(code: int) -> str:
    """The reason a card is not healthy; a code nobody has met yet names itself."""
    return _FAULTS.get(code, f"nvml_{code}")


def failed(code: int, said: str, root: Path) -> NoGpuError:
    """NVIDIA's software failed as a whole with a code; `said` is its own sentence."""
    if code == LIBRARY_NOT_FOUND:
        return not_installed(said, root)
    if code != DRIVER_NOT_LOADED:
        return NoGpuError(_CAUSES.get(code, NoGpuCause.UNKNOWN), said, fault=fault(code))
    cards = bus.cards_on_bus(root, bus.NVIDIA)
    if cards is not None and not cards:
        return _no_card()
    if _kept_out(root):
        return NoGpuError(NoGpuCause.NO_PERMISSION, _KEPT_OUT)
    return NoGpuError(NoGpuCause.NO_DRIVER, _seen(cards) + said)


def not_installed(said: str, root: Path) -> NoGpuError:
    """NVIDIA's software is not there; `said` names what is missing."""
    cards = bus.cards_on_bus(root, bus.NVIDIA)
    if not cards:
        return _no_card()
    if _kept_out(root):
        return NoGpuError(NoGpuCause.NO_PERMISSION, _KEPT_OUT)
    return NoGpuError(NoGpuCause.NO_DRIVER, _seen(cards) + said)


def none_listed(root: Path) -> NoGpuError:
    """NVIDIA's driver runs and lists no card."""
    cards = bus.cards_on_bus(root, bus.NVIDIA)
    if not cards:
        return NoGpuError(NoGpuCause.NO_GPU, "NVIDIA's driver lists no card")
    if bus.in_container(root):
        return NoGpuError(NoGpuCause.NO_PERMISSION, _KEPT_OUT)
    if any(driver == "nvidia" for _, driver in cards):
        return NoGpuError(NoGpuCause.GPU_LOST, _seen(cards) + "NVIDIA's driver does not list it")
    return NoGpuError(NoGpuCause.NO_DRIVER, _seen(cards) + "NVIDIA's driver does not hold it")


def no_slices() -> NoGpuError:
    """Every card is in MIG mode and none is cut into slices."""
    return NoGpuError(NoGpuCause.NO_GPU, "MIG mode is on, but no slice has been made")


def _no_card() -> NoGpuError:
    return NoGpuError(NoGpuCause.NO_GPU, "no NVIDIA card was seen in this machine")


def _kept_out(root: Path) -> bool:
    """Whether the machine's driver runs, but this container was given nothing of it."""
    return (root / "proc/driver/nvidia/version").exists() and bus.in_container(root)


def _seen(cards: list[tuple[str, str | None]] | None) -> str:
    if not cards:
        return ""
    held = [f"{address} (held by {driver})" if driver else address for address, driver in cards]
    return f"NVIDIA card at {', '.join(held)}; "
