"""`muster agent run`: an agent with what its owner sees, signals, exit status.

The panel and the local API run beside the agent; no heartbeat waits for either.

The first SIGTERM, SIGINT or Windows' stop begins to leave: no new jobs, those that run may finish.
A second one ends the process there and then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from enum import IntEnum

from muster.agent import texts
from muster.agent.agent import Agent, find_hardware, program_version
from muster.agent.config import AgentConfig, variable_of
from muster.agent.hardware import Hardware, NoGpuError
from muster.agent.identity import IdentityFile, StateInUse
from muster.agent.lines import Lines
from muster.agent.session import ExitReason, NodeSession
from muster.agent.simulated import SimulateError
from muster.agent.status import Action, AgentStatus
from muster.agent.texts import Advice
from muster.agent.trouble import Note
from muster.wire.errors import Locale

logger = logging.getLogger("muster.agent")

_LEAVE_SCREEN = b"\x1b[?1049l\x1b[?25h"


class Exit(IntEnum):
    """What the process ends with."""

    LEFT = 0
    BUG = 1
    USAGE = 2
    NO_GPU = 3
    REFUSED = 4


class CannotRunError(Exception):
    """The agent can't run as asked; `advice` is for its owner."""

    def __init__(self, advice: Advice, status: Exit) -> None:
        super().__init__(advice.what)
        self.advice = advice
        self.status = status


def run(config: AgentConfig, locale: Locale, *, terminal: bool) -> int:
    """Runs an agent until it left or was refused for good; the exit status.

    `terminal`: somebody watches, so a panel is drawn unless the log format says otherwise.
    """
    # A socket found dead after a long sleep is our own to tell, once, and not for every frame.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    identity = IdentityFile(config.state_path)
    try:
        if not config.servers:
            expected = f"--server URL, or {variable_of('servers')}"
            raise CannotRunError(texts.setting("servers", expected, "none", locale), Exit.USAGE)
        _lock(identity, locale)
        running = _Running(replace(config, locale=locale), locale, identity)
        return asyncio.run(running.run(panel=terminal and config.log_format == "auto"))
    except CannotRunError as error:
        sys.stderr.write(f"{error.advice}\n")
        return error.status
    finally:
        identity.unlock()


def _lock(identity: IdentityFile, locale: Locale) -> None:
    try:
        identity.lock()
    except StateInUse:
        advice = texts.state_in_use(str(identity.directory), locale)
        raise CannotRunError(advice, Exit.USAGE) from None
    except OSError as error:  # the session says so too, once there is something to keep
        logger.debug("the state directory can't be locked: %s", error)


class _Running:
    """One run of the program, from looking at the hardware to the exit status."""

    def __init__(self, config: AgentConfig, locale: Locale, identity: IdentityFile) -> None:
        self._config = config
        self._locale: Locale = locale
        self._identity = identity
        self._status = AgentStatus(program_version(), simulated=config.simulate is not None)

    async def run(self, *, panel: bool) -> int:
        if panel:
            return await self._run(panel=True)
        lines = Lines(
            sys.stdout, self._locale, "json" if self._config.log_format == "json" else "text"
        )
        self._status.listen(lines)
        try:
            return await self._run(panel=False)
        finally:
            lines.close()

    async def _run(self, *, panel: bool) -> int:
        stopping = Stopping(panel=panel)
        with stopping.installed():
            try:
                hardware = await self._hardware()
            except asyncio.CancelledError:
                return Exit.LEFT  # asked to stop while still looking for the hardware
            agent = Agent(self._config, hardware, self._status, self._identity)
            stopping.session = agent.session
            async with AsyncExitStack() as stack:
                if self._config.status_port is not None:
                    await self._serve(agent, stack)
                if panel:
                    stack.push_async_callback(_cancel, asyncio.create_task(self._draw()))
                reason = await agent.run()
        return Exit.LEFT if reason is ExitReason.LEFT else Exit.REFUSED

    async def _hardware(self) -> Hardware:
        status = self._status
        try:
            found = await find_hardware(self._config)
        except SimulateError as error:
            advice = texts.setting("simulate", error.expected, error.entry, self._locale)
            raise CannotRunError(advice, Exit.USAGE) from None
        except NoGpuError as error:
            status.tell(Action.NO_GPU, cause=error.cause, detail=error.detail)
            advice = texts.no_gpu(error.cause, error.detail, self._locale)
            raise CannotRunError(advice, Exit.NO_GPU) from None
        names = [gpu.name for gpu in found.gpus]
        status.tell(Action.PROBED, gpus=names, simulated=status.simulated)
        if status.simulated:
            status.note(Note.SIMULATED)
        return found

    async def _serve(self, agent: Agent, stack: AsyncExitStack) -> None:
        from muster.agent.local_api import LocalApi  # a web server, only for those who ask for it

        port = self._config.status_port
        assert port is not None
        directory = self._identity.directory
        api = LocalApi(port, directory, self._status, agent.session, self._locale)
        try:
            await stack.enter_async_context(api)
        except OSError as error:
            got = f"{port}: {error.strerror or error}"
            advice = texts.setting("status_port", "a free port on 127.0.0.1", got, self._locale)
            raise CannotRunError(advice, Exit.USAGE) from None

    async def _draw(self) -> None:
        from muster.agent import panel

        try:
            await panel.show(self._status, self._locale)
        except Exception:  # a terminal that went away must not take the node with it
            logger.exception("the panel ended")


class Stopping:
    """What signals ask for: to leave, and then to end at once.

    Python's own handlers, as every platform has them; the loop is woken from there.
    """

    def __init__(self, *, panel: bool) -> None:
        self._panel = panel
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self._asked = False
        self._leaving: asyncio.Task[None] | None = None
        self.session: NodeSession | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handles signals while entered."""
        former = {
            number: signal.signal(number, self._on_signal)
            for number in _stop_signals()
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._asked:
            if self._panel:
                _leave_screen()
            os._exit(Exit.LEFT)
        self._asked = True
        self._loop.call_soon_threadsafe(self._leave, signal.Signals(number).name)

    def _leave(self, why: str) -> None:
        if self.session is not None:
            self._leaving = self._loop.create_task(self.session.drain(why))
        elif self._main is not None:
            self._main.cancel()


def _stop_signals() -> tuple[signal.Signals, ...]:
    """SIGHUP: the terminal was closed. SIGBREAK: how Windows tells to stop."""
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")
    return tuple(signal.Signals[name] for name in names if hasattr(signal, name))


def _leave_screen() -> None:
    """Gives the terminal back, unless it was stopped and would make us wait."""
    descriptor = sys.stdout.fileno()
    if sys.platform == "win32" or select.select([], [descriptor], [], 0)[1]:
        os.write(descriptor, _LEAVE_SCREEN)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
