"""What people and programs can see of an agent: one observable value.

Codes and values are kept here, never sentences: those are made when somebody reads, in the
reader's language. Nobody waits for a reader: listeners are called at once and must return at
once; a subscriber that reads slowly gets the latest state and skips what lay between.

Everything here belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from muster.agent import texts
from muster.agent.hardware import NoGpuCause
from muster.agent.models import ModelProblem
from muster.agent.texts import Advice
from muster.agent.trouble import Note, Trouble
from muster.wire.errors import Locale

RECENT_MOST = 50
RECENT_SHOWN = 10


class Registration(StrEnum):
    """Where the node stands with the server: the document's `registrationStatus`."""

    IDLE = "idle"
    REGISTERING = "registering"
    SUCCESS = "success"
    FAILED = "failed"


class Action(StrEnum):
    """What happened; the names are those of log lines. Beside each: the values told with it."""

    PROBED = "probed"
    """gpus, simulated"""
    NO_GPU = "no_gpu"
    """cause, detail"""
    CONNECTING = "connecting"
    """server, attempt"""
    CONNECTED = "connected"
    """server"""
    REGISTERED = "registered"
    """node_id, status, resumed, session"""
    REFUSED = "refused"
    """code, details, said, retry_in_s (the wait asked for, or None), then: stay (the session goes
    on), again, back_off, wait, forget (the identity), mend_hardware, never"""
    STATUS = "status"
    """status, previous, reason, said"""
    CLOSED = "closed"
    """server, close_code or trouble (the other is None), detail"""
    RETRYING = "retrying"
    """in_s"""
    GPU_CHANGED = "gpu_changed"
    """index, name, healthy, reason"""
    HARDWARE_CHANGED = "hardware_changed"
    """added, removed (names of cards)"""
    MODELS_CHANGED = "models_changed"
    """models (count), problems (count)"""
    SERVING = "serving"
    """url, token_file"""
    DRAINING = "draining"
    """reason, timeout_s"""
    LEFT = "left"
    """reason"""
    NOTE = "note"
    """note, and that note's own values"""


class NoGpu(Struct, frozen=True):
    """This machine has no card that could be used."""

    cause: NoGpuCause
    detail: str


class Refused(Struct, frozen=True):
    """The server answered `node_error`; `said` is its own sentence."""

    code: str
    details: Mapping[str, Any] | None
    said: str


class Unreachable(Struct, frozen=True):
    """There is no connection; `detail` is what the system said."""

    trouble: Trouble
    server: str
    detail: str


class Closed(Struct, frozen=True):
    """The server ended the connection with this code."""

    code: int
    reason: str


Problem = NoGpu | Refused | Unreachable | Closed
"""Why the node is not in the fleet."""


class GpuRow(Struct, frozen=True):
    """One card as shown; memory in GiB, temperature in degrees Celsius, `reason` a code."""

    index: int
    name: str
    memory_gb: float
    uuid: str | None = None
    driver_version: str | None = None
    healthy: bool = True
    reason: str | None = None
    memory_used_gb: float | None = None
    temperature_c: float | None = None
    gpu_percent: float | None = None


class ModelRow(Struct, frozen=True):
    """One model as reported."""

    model_id: str
    kind: str
    version: str
    src_lang: str | None = None
    tgt_lang: str | None = None
    enabled: bool = True
    status: str = "ready"


class Event(Struct, frozen=True):
    """Something that happened; `at` in seconds since the epoch, by this machine's clock."""

    at: float
    action: Action
    values: Mapping[str, Any]


Listener = Callable[[str, Mapping[str, Any]], None]


class AgentStatus:
    """The state of one agent. Written by the session, read by panel, lines and the local API."""

    def __init__(self, version: str = "unknown", *, simulated: bool = False) -> None:
        self.version = version
        self.simulated = simulated
        self.server: str | None = None
        self.connected = False
        self.registration = Registration.IDLE
        self.node_id: str | None = None
        self.session: int | None = None
        self.status: str | None = None
        self.reason: str | None = None
        self.said = ""
        self.since_ms: int | None = None
        self.problem: Problem | None = None
        self.last_heartbeat_ms: int | None = None
        self.round_trip_ms: float | None = None
        self.next_heartbeat_at: float | None = None
        self.retry_at: float | None = None
        self.running_jobs = 0
        self.local_url: str | None = None
        self.models: tuple[ModelRow, ...] = ()
        self.model_problems: tuple[ModelProblem, ...] = ()
        self.server_warnings: tuple[str, ...] = ()
        self.notes: dict[Note, Mapping[str, Any]] = {}
        self.recent: deque[Event] = deque(maxlen=RECENT_MOST)
        self.gpus: Callable[[], tuple[GpuRow, ...]] = tuple
        self._listeners: list[Listener] = []
        self._wakers: set[asyncio.Event] = set()

    @property
    def online(self) -> bool:
        """Whether the node is part of the fleet now, whatever its status."""
        return self.connected and self.registration is Registration.SUCCESS

    # Writing

    def change(self, **fields: Any) -> None:
        """Sets attributes by name, and wakes subscribers if that changed anything."""
        changed = {name for name, value in fields.items() if getattr(self, name) != value}
        for name in changed:
            setattr(self, name, fields[name])
        if changed:
            self._wake()

    def tell(self, action: Action, **values: Any) -> None:
        """Something happened: keeps it, and calls the listeners."""
        self.recent.append(Event(time.time(), action, values))
        for listener in self._listeners:
            listener(action.value, values)
        self._wake()

    def note(self, note: Note, **values: Any) -> None:
        """A warning that stands until it is withdrawn; said once while it stays the same."""
        if self.notes.get(note) != values:
            self.notes[note] = values
            self.tell(Action.NOTE, note=note, **values)

    def withdraw(self, note: Note) -> None:
        """What a note said holds no more."""
        if self.notes.pop(note, None) is not None:
            self._wake()

    # Reading

    def listen(self, callback: Listener) -> None:
        """Has every later event told to `callback`, in order and none left out."""
        self._listeners.append(callback)

    async def subscribe(self, locale: Locale) -> AsyncIterator[dict[str, Any]]:
        """The state now and after every change."""
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            while True:
                waker.clear()
                yield self.as_dict(locale)
                await waker.wait()
        finally:
            self._wakers.discard(waker)

    def advice(self, locale: Locale) -> Advice | None:
        """What is the matter and what to do; None before anything is known."""
        match self.problem:
            case NoGpu(cause, detail):
                return texts.no_gpu(cause, detail, locale)
            case Refused(code, details, said):
                return texts.error(code, details, locale, said=said)
            case Unreachable(trouble, server, detail):
                return texts.trouble(trouble, locale, server=server, detail=detail)
            case Closed(code, _):
                return texts.close(code, locale)
        if self.status is None:
            return None
        return texts.status(self.status, self.reason or "", locale, said=self.said)

    def as_dict(self, locale: Locale) -> dict[str, Any]:
        """What `GET /status` says: the first five keys are the document's. Times in ms."""
        advice = self.advice(locale)
        failed = self.registration is Registration.FAILED
        return {
            "online": self.online,
            "nodeId": self.node_id,
            "connected": self.connected,
            "registrationStatus": self.registration.value,
            "registrationError": advice.what if failed and advice else None,
            "status": self.status,
            "reason": self.reason,
            "code": self._code(),
            "message": advice.what if advice else None,
            "whatToDo": (advice.do or None) if advice else None,
            "since": self.since_ms,
            "server": self.server,
            "gpus": [_gpu(row, locale) for row in self.gpus()],
            "models": [_plain(row) for row in self.models],
            "modelProblems": [
                {**_plain(problem), "message": texts.model_problem(problem, locale)}
                for problem in self.model_problems
            ],
            "lastHeartbeat": self.last_heartbeat_ms,
            "roundTripMs": self.round_trip_ms,
            "nextHeartbeatInMs": _until(self.next_heartbeat_at),
            "retryInMs": _until(self.retry_at),
            "runningJobs": self.running_jobs,
            "localUrl": self.local_url,
            "session": self.session,
            "version": self.version,
            "simulated": self.simulated,
            "warnings": [
                *(texts.note(note, locale, **values) for note, values in self.notes.items()),
                *self.server_warnings,
            ],
            "recent": [_event(event, locale) for event in list(self.recent)[-RECENT_SHOWN:]],
        }

    def _code(self) -> str | None:
        """The problem's own code, for programs."""
        match self.problem:
            case NoGpu(cause, _):
                return cause.value
            case Refused(code, _, _):
                return code
            case Unreachable(trouble, _, _):
                return trouble.value
            case Closed(code, _):
                return str(code)
        return None

    def _wake(self) -> None:
        for waker in self._wakers:
            waker.set()


def _gpu(row: GpuRow, locale: Locale) -> dict[str, Any]:
    shown = _plain(row)
    shown["message"] = texts.gpu_reason(row.reason, locale) if row.reason else None
    return shown


def _event(event: Event, locale: Locale) -> dict[str, Any]:
    told = texts.event(event.action.value, event.values, locale)
    return {
        "at": round(event.at * 1000),
        "action": event.action.value,
        "message": told.what,
        "do": told.do or None,
    }


def _plain(row: Struct) -> dict[str, Any]:
    """The fields by their names in the local API: camelCase, as the document writes them."""
    return {_camel(name): getattr(row, name) for name in row.__struct_fields__}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _until(at: float | None) -> int | None:
    """Milliseconds from now to a moment of the monotonic clock."""
    return None if at is None else max(0, round((at - time.monotonic()) * 1000))
