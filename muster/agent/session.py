"""The node in the fleet: one life after another until it is told to leave or refused for good.

    session = NodeSession(config, inventory, on_status=print)
    reason = await session.run()

Nothing of a life survives it but what the server gave the node: its id, its token. How a life
ends is told by `life.py`, what comes after which end by `endings.py`; here it is done.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

from muster.agent import system
from muster.agent.backoff import Backoff
from muster.agent.config import AgentConfig, ConfigError, shown_url
from muster.agent.conversation import (
    Acknowledged,
    Conversation,
    Event,
    Ignored,
    Moving,
    Refused,
    Registered,
    StatusTold,
    Then,
)
from muster.agent.endings import Again, ClosedBy, End, Lost, Stop, Wait, what_next
from muster.agent.hardware import NoGpuError
from muster.agent.identity import ForeignIdentity, Identity, IdentityFile, UnreadableIdentity
from muster.agent.inventory import Inventory
from muster.agent.life import Leaving, Life
from muster.agent.models import ModelScan
from muster.agent.report import Claim
from muster.agent.status import (
    Action,
    AgentStatus,
    Closed,
    ModelRow,
    NoGpu,
    Registration,
    Unreachable,
)
from muster.agent.status import Refused as RefusedProblem
from muster.agent.trouble import Note, trouble_of

logger = logging.getLogger("muster.agent")

FRAME_MOST_BYTES = 1_048_576
CLOSE_S = 1.0
RESULTS_KEPT = 1000


class ExitReason(StrEnum):
    """Why a session ended."""

    LEFT = "left"
    REFUSED = "refused"


class NodeSession:
    """Keeps a machine in the fleet.

    Callbacks are called in the event loop and must return at once: `on_registered(node_id)`,
    `on_status(status, reason)`, `on_refused(code, message)`.
    """

    def __init__(
        self,
        config: AgentConfig,
        inventory: Inventory,
        status: AgentStatus | None = None,
        identity: IdentityFile | None = None,
        *,
        fingerprint: str | None = None,
        on_registered: Callable[[str], None] | None = None,
        on_status: Callable[[str, str], None] | None = None,
        on_refused: Callable[[str, str], None] | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        if not config.servers:
            raise ConfigError("servers", "at least one URL", "none")
        self.config = config
        self.inventory = inventory
        self.status = status or AgentStatus(inventory.version, simulated=inventory.simulated)
        self.status.gpus = inventory.gpu_rows
        self._file = identity or IdentityFile(config.state_path)
        self._fingerprint = system.fingerprint() if fingerprint is None else fingerprint
        self._on_registered = on_registered
        self._on_status = on_status
        self._on_refused = on_refused
        self._uniform = uniform
        self._backoff = Backoff(config.backoff_first_s, config.backoff_most_s, uniform)
        self._boot_id = secrets.token_hex(16)
        self._attempt = 0
        self._identity: Identity | None = None
        self._server = 0
        self._tried = 0
        self._may_forget = True
        self._life: Life | None = None
        self._conversation: Conversation | None = None
        self._ills: dict[int, str | None] = {}
        self._results: deque[dict[str, Any]] = deque(maxlen=RESULTS_KEPT)
        self._leaving: Leaving | None = None
        self._gone = asyncio.Event()

    # What a program may ask

    async def run(self) -> ExitReason:
        """Lives until the node left or was refused for good. Raises only for a bug of ours."""
        self._recall()
        lives = asyncio.create_task(self._live_on())
        gone = asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait({lives, gone}, return_when=asyncio.FIRST_COMPLETED)
            return lives.result() if lives.done() else self._left()
        finally:
            await _end(lives, gone)

    def beat_now(self) -> None:
        """Has the next heartbeat sent at once."""
        if self._life is not None:
            self._life.beat_now()

    def set_running_jobs(self, count: int) -> None:
        """How many jobs run now; the next heartbeat says so."""
        self.inventory.running_jobs = count
        self.status.change(running_jobs=count)
        if self._leaving is not None:
            self.beat_now()
            self._leave_if_idle()

    def set_health(self, ok: bool, reason: str | None = None) -> None:
        """Whether the programs on this machine are fit for work; told at once."""
        self.inventory.health_ok = ok
        self.inventory.health_reason = None if ok else reason
        self.beat_now()

    def set_models(self, scan: ModelScan) -> None:
        """What models and features there are now; told at once."""
        before, self.inventory.models = self.inventory.models, scan
        rows = tuple(
            ModelRow(m.model_id, m.kind, m.version, m.src_lang, m.tgt_lang, m.enabled, m.status)
            for m in scan.models
        )
        self.status.change(models=rows, model_problems=scan.problems)
        if scan.models:
            self.status.withdraw(Note.NO_MODELS)
        else:
            self.status.note(Note.NO_MODELS)
        self.status.tell(
            Action.MODELS_CHANGED, models=len(scan.models), problems=len(scan.problems)
        )
        if self._life is None:
            return
        if (before.features, before.advanced_features) != (scan.features, scan.advanced_features):
            self._life.renew()
        elif before.models != scan.models:
            self._life.beat_now()

    def gpus_changed(self) -> None:
        """A card fell ill, recovered, or is ill for another reason; told at once."""
        for row in self.inventory.gpu_rows():
            if self._ills.get(row.index) != row.reason:
                self._ills[row.index] = row.reason
                self.status.tell(
                    Action.GPU_CHANGED,
                    index=row.index,
                    name=row.name,
                    healthy=row.healthy,
                    reason=row.reason,
                )
        self.beat_now()

    async def job_result(
        self,
        job_id: str,
        success: bool,
        error: str | Mapping[str, Any] | None = None,
        running_jobs: int | None = None,
    ) -> None:
        """A job finished. Kept while there is no connection, the oldest dropped first."""
        if running_jobs is not None:
            self.set_running_jobs(running_jobs)
        self._results.append(
            {"job_id": job_id, "success": success, "error": error, "running_jobs": running_jobs}
        )
        self._send_results()

    async def drain(self, reason: str | None = None, timeout_s: float | None = None) -> None:
        """Begins to leave and returns at once: no new jobs, and `run` ends when those that run
        are done or `timeout_s` (by default the configured one) has passed."""
        if self._leaving is not None:
            return
        wait = self.config.drain_timeout_s if timeout_s is None else timeout_s
        loop = asyncio.get_running_loop()
        self._leaving = Leaving(reason or "", time.monotonic() + wait)
        self.status.tell(Action.DRAINING, reason=reason or "", timeout_s=wait)
        loop.call_later(wait, self._leave_late)
        if self._life is not None:
            self._life.leave(self._leaving)
        self._leave_if_idle()

    # One life after another

    async def _live_on(self) -> ExitReason:
        while True:
            end = await self._live(self.config.servers[self._server])
            if self._leaving is not None and not self.inventory.running_jobs:
                return self._left()
            self._told_end(end)
            step = what_next(end)
            if step is Stop.LEFT:
                return await self._outlast()
            if step is Stop.REFUSED:
                self.status.change(registration=Registration.FAILED)
                return ExitReason.REFUSED
            await self._prepare(step)

    async def _live(self, server: str) -> End:
        self._attempt += 1
        shown = shown_url(server)
        self.status.change(server=shown, retry_at=None)
        self.status.tell(Action.CONNECTING, server=shown, attempt=self._attempt)
        try:
            async with asyncio.timeout(self.config.connect_timeout_s):
                ws = await self._connect(server)
        except TimeoutError as error:
            return Lost(trouble_of(error), f"no answer within {self.config.connect_timeout_s:g} s")
        except Exception as error:  # noqa: BLE001 - whatever a network or a proxy may answer
            return Lost(trouble_of(error), str(error) or type(error).__name__)
        self.status.change(connected=True, registration=Registration.REGISTERING)
        self.status.tell(Action.CONNECTED, server=shown)
        self._conversation = Conversation(self._claim(), self._uniform)
        self._life = life = Life(
            ws,
            self._conversation,
            report=self.inventory.report,
            told=self._told,
            beaten=self._beaten,
        )
        if self._leaving is not None:
            life.leave(self._leaving)
        try:
            return await life.run()
        finally:
            self._life = None
            self.status.change(connected=False, next_heartbeat_at=None, round_trip_ms=None)
            self._judge(life)

    async def _connect(self, server: str) -> ClientConnection:
        parts = urlsplit(server)
        if parts.scheme == "ws" and not _is_loopback(parts.hostname or ""):
            self.status.note(Note.CLEAR_TEXT, server=shown_url(server))
        headers = {}
        if self.config.join_token:
            headers["Authorization"] = f"Bearer {self.config.join_token}"
        if self.config.locale:
            headers["Accept-Language"] = self.config.locale
        return await connect(
            server,
            additional_headers=headers,
            user_agent_header=f"muster-agent/{self.inventory.version}",
            compression=None,
            max_size=FRAME_MOST_BYTES,
            open_timeout=None,
            ping_interval=None,
            close_timeout=CLOSE_S,
        )

    def _claim(self) -> Claim:
        known = self._identity
        return Claim(
            node_id=known.node_id if known else None,
            node_token=known.node_token if known else None,
            boot_id=self._boot_id,
            attempt=self._attempt,
        )

    def _judge(self, life: Life) -> None:
        """A life that lasted makes the next failure a first one."""
        if life.registered_at is None or self._conversation is None:
            return
        if time.monotonic() - life.registered_at >= self._conversation.interval_s:
            self._backoff.reset()
            self._tried = 0
            self._may_forget = True

    async def _prepare(self, step: Again) -> None:
        """What has to happen, and pass, before the next life."""
        if step.mend:
            await self._mend_hardware()
            return
        at_once = False
        if step.elsewhere and len(self.config.servers) > 1:
            self._server = (self._server + 1) % len(self.config.servers)
            self._tried += 1
            # Once round without a wait; what a server asked for is kept to.
            at_once = step.wait is not Wait.ASKED and self._tried % len(self.config.servers) > 0
        if step.forget and not self._forget():
            await self._pause(self._backoff.next())
        elif not at_once:
            await self._pause(self._wait(step))

    def _wait(self, step: Again) -> float:
        match step.wait:
            case Wait.NONE:
                return 0.0
            case Wait.SOON:
                return self._backoff.soon()
            case Wait.BACK_OFF:
                return self._backoff.next()
            case Wait.ASKED:
                return self._backoff.after(step.asked_s)

    async def _pause(self, wait_s: float) -> None:
        if wait_s > 0:
            self.status.change(retry_at=time.monotonic() + wait_s)
            self.status.tell(Action.RETRYING, in_s=round(wait_s, 1))
            await asyncio.sleep(wait_s)

    async def _mend_hardware(self) -> None:
        """Looks at the hardware until it is another than the one that was refused."""
        while True:
            try:
                changed = await self.inventory.reprobe()
            except NoGpuError as error:
                self._no_gpu(error)
            else:
                if changed is not None:
                    added, removed = changed
                    self.status.tell(Action.HARDWARE_CHANGED, added=added, removed=removed)
                    return
            await asyncio.sleep(self.config.reprobe_interval_s)

    def _no_gpu(self, error: NoGpuError) -> None:
        problem = NoGpu(error.cause, error.detail)
        if self.status.problem != problem:
            self.status.change(problem=problem)
            self.status.tell(Action.NO_GPU, cause=error.cause, detail=error.detail)

    # Leaving

    def _leave_if_idle(self) -> None:
        """Without a job nothing is waited for but the server's leave, if it can give one."""
        connected = self._life is not None and self._life.registered
        if self._leaving is not None and not self.inventory.running_jobs and not connected:
            self._gone.set()

    def _leave_late(self) -> None:
        if self._life is None or not self._life.registered:
            self._gone.set()

    async def _outlast(self) -> ExitReason:
        """The server let go, but jobs still run here: they have the rest of their time."""
        left_s = self._leaving.deadline - time.monotonic() if self._leaving is not None else 0.0
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, left_s)):
                await self._gone.wait()
        return self._left()

    def _left(self) -> ExitReason:
        reason = self._leaving.reason if self._leaving is not None else ""
        self.status.change(registration=Registration.IDLE, retry_at=None)
        self.status.tell(Action.LEFT, reason=reason)
        return ExitReason.LEFT

    # What a life tells

    def _told(self, event: Event) -> None:
        match event:
            case Registered():
                self._registered(event)
            case StatusTold():
                self._status_told(event)
            case Acknowledged():
                self._acknowledged(event)
            case Refused():
                self._refused(event)
            case Ignored():
                logger.debug("ignored: %s", event.why)
            case Moving():
                logger.debug("asked to move: %s", event.reason)

    def _registered(self, event: Registered) -> None:
        known = self._identity
        same = known is not None and known.node_id == event.node_id
        token = event.node_token or (known.node_token if known and same else None)
        self._remember(
            Identity(node_id=event.node_id, node_token=token, fingerprint=self._fingerprint)
        )
        self.status.change(
            node_id=event.node_id,
            session=event.session,
            registration=Registration.SUCCESS,
            status=event.status,
            reason=None if event.resumed else _REASONS.get(event.status),
            said="",
            since_ms=_wall_ms(),
            problem=None,
            server_warnings=event.warnings,
        )
        self.status.tell(
            Action.REGISTERED,
            node_id=event.node_id,
            status=event.status,
            resumed=event.resumed,
            session=event.session,
        )
        self._send_results()
        _call(self._on_registered, event.node_id)
        _call(self._on_status, event.status, self.status.reason or "")

    def _status_told(self, event: StatusTold) -> None:
        self.status.change(
            status=event.status, reason=event.reason, said=event.said, since_ms=event.timestamp
        )
        self.status.tell(
            Action.STATUS,
            status=event.status,
            previous=event.previous,
            reason=event.reason,
            said=event.said,
        )
        _call(self._on_status, event.status, event.reason)

    def _acknowledged(self, event: Acknowledged) -> None:
        if event.round_trip_s is not None:
            self.status.change(round_trip_ms=round(event.round_trip_s * 1000, 1))
        self._show_next_beat()
        if event.store_ok:
            self.status.withdraw(Note.STORE_AWAY)
        else:
            self.status.note(Note.STORE_AWAY)

    def _refused(self, event: Refused) -> None:
        if event.then is not Then.STAY:
            self.status.change(
                registration=Registration.FAILED,
                problem=RefusedProblem(event.code, event.details, event.said),
            )
        self.status.tell(
            Action.REFUSED,
            code=event.code,
            details=event.details,
            said=event.said,
            then=event.then.value,
            retry_in_s=event.after_s,
        )
        _call(self._on_refused, event.code, event.said)

    def _beaten(self) -> None:
        self.status.change(last_heartbeat_ms=_wall_ms())
        self._show_next_beat()

    def _show_next_beat(self) -> None:
        if self._conversation is not None:
            self.status.change(next_heartbeat_at=self._conversation.next_beat)

    def _told_end(self, end: End) -> None:
        server = self.status.server or ""
        failed = self.status.registration is Registration.FAILED
        if not failed:
            self.status.change(registration=Registration.IDLE)
        match end:
            case Lost(trouble, detail):
                self.status.change(problem=Unreachable(trouble, server, detail))
                self.status.tell(
                    Action.CLOSED, server=server, close_code=None, trouble=trouble, detail=detail
                )
            case ClosedBy(code, reason):
                if not failed:
                    self.status.change(problem=Closed(code, reason))
                self.status.tell(
                    Action.CLOSED, server=server, close_code=code, trouble=None, detail=reason
                )

    def _send_results(self) -> None:
        life, conversation = self._life, self._conversation
        if life is None or conversation is None or not life.registered:
            return
        while self._results:
            life.say(conversation.job_result(**self._results.popleft()))

    # What is remembered

    def _recall(self) -> None:
        try:
            self._identity = self._file.load(self._fingerprint)
        except ForeignIdentity as foreign:
            self.status.note(Note.IDENTITY_OF_ANOTHER_MACHINE, node_id=foreign.node_id)
            self._clear_file()
        except UnreadableIdentity as error:
            self.status.note(Note.IDENTITY_UNREADABLE, detail=str(error))
        except OSError as error:
            self.status.note(Note.STATE_NOT_WRITABLE, detail=str(error))
        if self._identity is not None:
            self.status.change(node_id=self._identity.node_id)

    def _remember(self, identity: Identity) -> None:
        if identity == self._identity:
            return
        self._identity = identity
        try:
            self._file.save(identity)
        except OSError as error:
            self.status.note(Note.STATE_NOT_WRITABLE, detail=str(error))
        else:
            self.status.withdraw(Note.STATE_NOT_WRITABLE)

    def _forget(self) -> bool:
        """Clears the saved identity; False if that was done before and did not help."""
        known = self._identity
        if known is None or not self._may_forget:
            return False
        self._may_forget = False
        self._identity = None
        self.status.change(node_id=None)
        self.status.note(Note.IDENTITY_CLEARED, node_id=known.node_id)
        self._clear_file()
        return True

    def _clear_file(self) -> None:
        try:
            self._file.clear()
        except OSError as error:
            self.status.note(Note.STATE_NOT_WRITABLE, detail=str(error))


# Why a new session has the status its ack tells: there is no `node_status` that says so.
_REASONS = {"registering": "registered", "draining": "operator"}


def _wall_ms() -> int:
    """For people to read; nothing is decided by it."""
    return int(time.time() * 1000)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _call(callback: Callable[..., None] | None, *values: Any) -> None:
    """A program's callback that fails must not end the node's session."""
    if callback is None:
        return
    try:
        callback(*values)
    except Exception:
        logger.exception("a callback failed")


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
