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
)
from muster.agent.dialling import CANNOT_CONNECT, dial, is_clear
from muster.agent.endings import Again, End, Lost, Stop, Wait, what_next
from muster.agent.hardware import NoGpuError
from muster.agent.identity import IdentityFile
from muster.agent.inventory import Inventory
from muster.agent.life import Leaving, Life
from muster.agent.memory import Memory
from muster.agent.models import ModelScan
from muster.agent.report import Claim
from muster.agent.status import AgentStatus
from muster.agent.telling import Telling
from muster.agent.trouble import Note, trouble_of

logger = logging.getLogger("muster.agent")

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
        self._telling = Telling(self.status, on_registered, on_status, on_refused)
        self._memory = Memory(
            identity or IdentityFile(config.state_path),
            system.fingerprint() if fingerprint is None else fingerprint,
            self.status,
        )
        self._uniform = uniform
        self._backoff = Backoff(config.backoff_first_s, config.backoff_most_s, uniform)
        self._boot_id = secrets.token_hex(16)
        self._attempt = 0
        self._server = 0
        self._tried = 0
        self._life: Life | None = None
        self._results: deque[dict[str, Any]] = deque(maxlen=RESULTS_KEPT)
        self._leaving: Leaving | None = None
        self._gone = asyncio.Event()

    # What a program may ask

    async def run(self) -> ExitReason:
        """Lives until the node left or was refused for good.

        Raises StateInUse if another agent has this state directory; else only for a bug of ours.
        """
        self._memory.recall()
        lives = asyncio.create_task(self._live_on())
        gone = asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait({lives, gone}, return_when=asyncio.FIRST_COMPLETED)
            return lives.result() if lives.done() else self._left()
        finally:
            await _end(lives, gone)
            self._memory.release()

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
        self._telling.models(scan)
        if self._life is None:
            return
        if (before.features, before.advanced_features) != (scan.features, scan.advanced_features):
            self._life.renew()
        elif before.models != scan.models:
            self._life.beat_now()

    def gpus_changed(self) -> None:
        """A card fell ill, recovered, or is ill for another reason; told at once."""
        self._telling.gpus(self.inventory.gpu_rows())
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
        self._leaving = Leaving(reason or "", time.monotonic() + wait)
        self._telling.draining(self._leaving.reason, wait)
        asyncio.get_running_loop().call_later(wait, self._leave_late)
        if self._life is not None:
            self._life.leave(self._leaving)
        self._leave_if_idle()

    # One life after another

    async def _live_on(self) -> ExitReason:
        while True:
            end = await self._live(self.config.servers[self._server])
            if self._leaving is not None and not self.inventory.running_jobs:
                return self._left()
            self._telling.ended(end)
            step = what_next(end)
            if step is Stop.LEFT:
                return await self._outlast()
            if step is Stop.REFUSED:
                self._telling.refused_for_good()
                return ExitReason.REFUSED
            await self._prepare(step)

    async def _live(self, server: str) -> End:
        self._attempt += 1
        shown = shown_url(server)
        if is_clear(server):
            self.status.note(Note.CLEAR_TEXT, server=shown)
        self._telling.connecting(shown, self._attempt)
        try:
            async with asyncio.timeout(self.config.connect_timeout_s):
                ws = await dial(server, self.config, self.inventory.version)
        except TimeoutError as error:
            return Lost(trouble_of(error), f"no answer within {self.config.connect_timeout_s:g} s")
        except CANNOT_CONNECT as error:
            return Lost(trouble_of(error), str(error) or type(error).__name__)
        self._telling.connected(shown)
        self._life = life = Life(
            ws,
            Conversation(self._claim(), self._uniform),
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
            self._telling.disconnected()
            if life.lasted:
                self._backoff.reset()
                self._tried = 0
                self._memory.lasted()

    def _claim(self) -> Claim:
        known = self._memory.known
        return Claim(
            node_id=known.node_id if known else None,
            node_token=known.node_token if known else None,
            boot_id=self._boot_id,
            attempt=self._attempt,
        )

    async def _prepare(self, step: Again) -> None:
        """What has to happen, and pass, before the next life."""
        if step.mend:
            await self._mend_hardware()
            return
        at_once = False
        servers = len(self.config.servers)
        if step.elsewhere and servers > 1:
            self._server = (self._server + 1) % servers
            self._tried += 1
            # Once round without a wait; what a server asked for is kept to.
            at_once = step.wait is not Wait.ASKED and self._tried % servers > 0
        if step.forget and not self._memory.forget():
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
            self._telling.retrying(wait_s)
            await asyncio.sleep(wait_s)

    async def _mend_hardware(self) -> None:
        """Looks at the hardware until it is another than the one that was refused."""
        while True:
            try:
                changed = await self.inventory.reprobe()
            except NoGpuError as error:
                self._telling.no_gpu(error)
            else:
                if changed is not None:
                    self._telling.other_hardware(*changed)
                    return
            await asyncio.sleep(self.config.reprobe_interval_s)

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
        self._telling.left(self._leaving.reason if self._leaving is not None else "")
        return ExitReason.LEFT

    # What a life tells

    def _told(self, event: Event) -> None:
        match event:
            case Registered():
                self._memory.remember(event.node_id, event.node_token)
                self._telling.registered(event)
                self._send_results()
            case StatusTold():
                self._telling.status(event)
            case Acknowledged():
                self._telling.acknowledged(event, self._next_beat())
            case Refused():
                self._telling.refused(event)
            case Ignored():
                logger.debug("ignored: %s", event.why)
            case Moving():
                logger.debug("asked to move: %s", event.reason)

    def _beaten(self) -> None:
        self._telling.beaten(self._next_beat())

    def _next_beat(self) -> float | None:
        return self._life.next_beat if self._life is not None else None

    def _send_results(self) -> None:
        if self._life is None or not self._life.registered:
            return
        while self._results:
            self._life.job_result(**self._results.popleft())


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
