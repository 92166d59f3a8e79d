"""NVIDIA's cards by NVML, through `nvidia-ml-py`. Runs in the worker: any call here may hang.

Three rules hold.
A call that fails in a way that only means "not told" (not supported, not permitted, unknown to
this driver) leaves its figure out; any other failure is a fault of the card, an unknown code
included: a code nobody has met yet is no reason to call a card healthy.
A card that was lost is looked for again by starting the library anew, as handles taken before it
was lost stay dead; that costs time on a big machine, so not more often than every 30 s.
No card is touched before it is asked for: one that hangs must not keep the others from answering.

A card in MIG mode stands for nothing itself: its slices are the cards.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from muster.agent import nvidia
from muster.agent.facts import CardFound, CardReading, CardWanted, Source

try:
    import pynvml

    from muster.agent.xids import Xids, address
except ImportError:
    pynvml = None

RESTART_S = 30.0

_HW_THERMAL_SLOWDOWN = 0x40


class _Card(NamedTuple):
    """A card or a slice. `whole` is the card the slice is part of, else the card itself."""

    handle: Any
    whole: Any
    number: int
    uuid: str | None
    instance: int | None
    slowdown_c: int | None


class Nvml:
    """NVML as a source of cards."""

    name: Source = "nvml"

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._started_at: float | None = None
        self._restart = False
        self._count = 0
        self._cards: list[_Card] = []
        self._opened: dict[int, Any] = {}
        """The numbers of the cards that were touched: None, or the error that they answered."""
        self._xids: Xids | None = None
        self._heard: dict[tuple[int, int | None], list[int]] = {}

    def find(self) -> list[CardFound]:
        """All cards and slices that can be used; raises NoGpuError if there is none."""
        self.begin()
        driver = _told(pynvml.nvmlSystemGetDriverVersion)
        for number in range(self._count):
            self._open(number)
        found: list[CardFound] = []
        for card in self._cards:
            try:
                memory = _told(_memory, card.handle)
                found.append(
                    {
                        "name": pynvml.nvmlDeviceGetName(card.handle),
                        "memory_bytes": None if memory is None else memory.total,
                        "uuid": card.uuid,
                        "driver_version": driver,
                        "index": card.number,
                    }
                )
            except pynvml.NVMLError as error:
                self._opened[card.number] = error
        if found:
            return found
        for answered in self._opened.values():
            if answered is not None:
                raise nvidia.failed(answered.value, _said(answered), self._root)
        raise nvidia.no_slices() if self._count else nvidia.none_listed(self._root)

    def begin(self) -> None:
        """Makes the library ready and hears what it has to tell; raises NoGpuError."""
        if pynvml is None:
            raise nvidia.not_installed("the Python package nvidia-ml-py is missing", self._root)
        now = self._clock()
        if self._started_at is not None and self._restart and now - self._started_at >= RESTART_S:
            self._stop()
        if self._started_at is None:
            try:
                pynvml.nvmlInit()
                self._started_at, self._restart = now, False
                self._count = pynvml.nvmlDeviceGetCount()
            except pynvml.NVMLError as error:
                self._stop()
                raise nvidia.failed(error.value, _said(error), self._root) from None
            self._cards, self._opened, self._xids = [], {}, Xids()
        self._hear()

    def read(self, wanted: CardWanted) -> CardReading:
        """How a card is now."""
        card = self._card(wanted)
        if card is None:
            self._restart = True
            error = self._opened.get(-1 if wanted["index"] is None else wanted["index"])
            return {"fault": nvidia.fault(nvidia.GPU_IS_LOST if error is None else error.value)}
        try:
            reading = _read(card)
        except pynvml.NVMLError as error:
            self._restart = True
            reading = {"fault": nvidia.fault(error.value)}
        xids = self._heard.pop(_key(card), None)
        if xids:
            reading["xids"] = xids
        return reading

    def _open(self, number: int) -> None:
        """Touches a card for the first time: finds its slices, listens to it."""
        if number in self._opened:
            return
        self._opened[number] = None
        try:
            whole = pynvml.nvmlDeviceGetHandleByIndex(number)
            slices = _slices(whole)
            self._cards += [_made(handle, whole, number) for handle in slices or ()]
            if slices is None:
                self._cards.append(_made(whole, whole, number))
        except pynvml.NVMLError as error:
            self._opened[number] = error
        else:
            assert self._xids is not None
            self._xids.listen(whole)

    def _stop(self) -> None:
        if self._started_at is not None:
            self._started_at = None
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def _card(self, wanted: CardWanted) -> _Card | None:
        """The card, first looked for under the number it had when it was found."""
        first = [] if wanted["index"] is None else [wanted["index"]]
        for number in (None, *first, *range(self._count)):
            if number is not None and number < self._count:
                self._open(number)
            for card in self._cards:
                if _is(card, wanted):
                    return card
        return None

    def _hear(self) -> None:
        """An Xid without an instance concerns every slice of its card."""
        for xid in self._xids.take() if self._xids is not None else ():
            for card in self._cards:
                if address(card.whole) == xid.device and xid.instance in (None, card.instance):
                    self._heard.setdefault(_key(card), []).append(xid.code)


def _is(card: _Card, wanted: CardWanted) -> bool:
    """By its uuid; a card that has none by its number."""
    if wanted["uuid"] is None:
        return card.number == wanted["index"]
    return card.uuid == wanted["uuid"]


def _slices(whole: Any) -> list[Any] | None:
    """The slices of a card in MIG mode, None for a card that is not."""
    mode = _told(pynvml.nvmlDeviceGetMigMode, whole)
    if mode is None or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return None
    slices = []
    for at in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(whole)):
        try:
            slices.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(whole, at))
        except pynvml.NVMLError_NotFound:
            continue
    return slices


def _made(handle: Any, whole: Any, number: int) -> _Card:
    is_slice = handle is not whole
    slowdown = pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
    return _Card(
        handle=handle,
        whole=whole,
        number=number,
        uuid=_told(pynvml.nvmlDeviceGetUUID, handle),
        instance=_told(pynvml.nvmlDeviceGetGpuInstanceId, handle) if is_slice else None,
        slowdown_c=_told(pynvml.nvmlDeviceGetTemperatureThreshold, whole, slowdown),
    )


def _read(card: _Card) -> CardReading:
    """All figures of a card; raises NVMLError for a fault. A slice has heat and ECC of its card."""
    reading = CardReading()
    memory = _told(_memory, card.handle)
    if memory is not None:
        reading["memory_used_bytes"] = memory.used
        reading["memory_total_bytes"] = memory.total
    busy = _told(pynvml.nvmlDeviceGetUtilizationRates, card.handle)
    if busy is not None:
        reading["busy_percent"] = busy.gpu
    celsius = _told(pynvml.nvmlDeviceGetTemperature, card.whole, pynvml.NVML_TEMPERATURE_GPU)
    if celsius is not None:
        reading["temperature_c"] = celsius
    throttled = _told(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, card.whole)
    reading["hot"] = bool((throttled or 0) & _HW_THERMAL_SLOWDOWN) or (
        celsius is not None and card.slowdown_c is not None and celsius >= card.slowdown_c
    )
    errors = _told(
        pynvml.nvmlDeviceGetTotalEccErrors,
        card.whole,
        pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
        pynvml.NVML_VOLATILE_ECC,
    )
    if errors is not None:
        reading["ecc_uncorrected"] = errors
    return reading


def _memory(handle: Any) -> Any:
    """Total and used bytes; the newer call does not count what the driver keeps as used."""
    try:
        return pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except (pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_ArgumentVersionMismatch):
        return pynvml.nvmlDeviceGetMemoryInfo(handle)


def _told(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call tells, None if it is not told; raises NVMLError for a fault."""
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        if error.value in nvidia.NOT_TOLD:
            return None
        raise


def _key(card: _Card) -> tuple[int, int | None]:
    return address(card.whole), card.instance


def _said(error: Any) -> str:
    return f"NVML error {error.value}: {error}"
