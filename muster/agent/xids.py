"""NVIDIA's critical errors (Xids), as NVML tells them: each once, when it happens."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any, NamedTuple

import pynvml

from muster.agent import nvidia

OF_PROGRAMS = {13, 31, 43, 45, 68, 109}
"""Xids of a faulty program, not of a faulty card: those NVIDIA's Kubernetes plugin passes over."""

_AT_ONCE = 64
_NO_INSTANCE = 0xFFFFFFFF


class Xid(NamedTuple):
    """A critical error of a card, or of one of its slices."""

    code: int
    device: int
    instance: int | None


class Xids:
    """What is listened to. Where neither system nor card offers events, nothing is ever heard."""

    def __init__(self) -> None:
        self._events: Any = None
        with suppress(pynvml.NVMLError):
            self._events = pynvml.nvmlEventSetCreate()

    def listen(self, device: Any) -> None:
        """From now on what happens to this card is heard, if it can be."""
        if self._events is not None:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlDeviceRegisterEvents(
                    device, pynvml.nvmlEventTypeXidCriticalError, self._events
                )

    def take(self) -> list[Xid]:
        """What came since the last call."""
        taken: list[Xid] = []
        while self._events is not None and len(taken) < _AT_ONCE:
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
            except pynvml.NVMLError as error:
                if error.value != nvidia.TIMEOUT:
                    self._events = None
                break
            instance = None if event.gpuInstanceId == _NO_INSTANCE else int(event.gpuInstanceId)
            taken.append(Xid(int(event.eventData), address(event.device), instance))
        return [xid for xid in taken if xid.code not in OF_PROGRAMS]


def address(handle: Any) -> int:
    """What two handles of the same device have in common."""
    return ctypes.cast(handle, ctypes.c_void_p).value or 0
