"""What the readings of one card mean: a pure judgement with a short memory.

Two rules hold.
A fault lasts as long as the card shows it: the first good reading makes the card healthy again.
A sign that is over in a moment (heat, a critical error of the driver) lasts until it has not been
seen for a while, so that a card does not flicker between ill and healthy.

Memory errors that could not be corrected are counted by the card since its driver was loaded: such
a card should be reset, which sets the count to 0, and that makes it healthy.
"""

from __future__ import annotations

from muster.agent.facts import CardReading
from muster.agent.hardware import BYTES_PER_GIB, Gpu, GpuState

_LOST = ("gpu_lost", "reset_required")

HOT_QUIET_S = 30.0
XID_QUIET_S = 600.0


class CardHealth:
    """One card's. Times are seconds of any clock that never goes back."""

    def __init__(self, gpu: Gpu) -> None:
        self.state = GpuState(index=gpu.index, uuid=gpu.uuid)
        self.memory: tuple[float, float] | None = None
        """Used and total bytes, where the card tells them."""
        self._gpu = gpu
        self._hot_until = 0.0
        self._xid_until = 0.0
        self._xid = 0

    def see(self, reading: CardReading, now: float) -> None:
        """Judges a reading taken now. A card that is back was reset: what it did before is over."""
        if self.state.reason in _LOST and "fault" not in reading:
            self._xid_until = 0.0
        if reading.get("hot"):
            self._hot_until = now + HOT_QUIET_S
        for xid in reading.get("xids", ()):
            self._xid, self._xid_until = xid, now + XID_QUIET_S
        used = reading.get("memory_used_bytes")
        total = reading.get("memory_total_bytes", self._gpu.memory_gb * BYTES_PER_GIB)
        self.memory = None if used is None else (used, total)
        self._set(
            self._reason(reading, now),
            memory_used_gb=None if used is None else round(used / BYTES_PER_GIB, 2),
            temperature_c=reading.get("temperature_c"),
            gpu_percent=reading.get("busy_percent"),
        )

    def miss(self, reason: str) -> None:
        """There is no reading, for this reason."""
        self.memory = None
        self._set(reason)

    def _reason(self, reading: CardReading, now: float) -> str | None:
        if "fault" in reading:
            return reading["fault"]
        if now < self._xid_until:
            return f"xid_{self._xid}"
        if reading.get("ecc_uncorrected", 0) > 0:
            return "ecc_uncorrected"
        return "overheated" if now < self._hot_until else None

    def _set(
        self,
        reason: str | None,
        *,
        memory_used_gb: float | None = None,
        temperature_c: float | None = None,
        gpu_percent: float | None = None,
    ) -> None:
        self.state = GpuState(
            index=self._gpu.index,
            uuid=self._gpu.uuid,
            healthy=reason is None,
            reason=reason,
            memory_used_gb=memory_used_gb,
            temperature_c=temperature_c,
            gpu_percent=gpu_percent,
        )
