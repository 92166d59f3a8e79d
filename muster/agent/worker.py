"""The agent's end of the worker process (`worker_main`), which is killed when it hangs.

A worker whose answer is late, or that ends by itself, is killed with all its children, and a new
one is started for the next question. A process that waits inside the kernel can't be killed: as
long as one is left, no further one is started, or they would pile up.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from muster.agent.facts import Answer, Request

_DYING_S = 1.0
_LINE_MOST_BYTES = 1024 * 1024

_ANSWER = msgspec.json.Decoder(Answer)


class WorkerError(Exception):
    """There is no answer, and no worker any more. `code` is what a card's reason says."""

    code = "probe_failed"


class WorkerHung(WorkerError):  # noqa: N818 (named for what it says)
    """The answer did not come in time."""

    code = "probe_timeout"


class Worker:
    """One worker at a time, started when it is needed. Belongs to one event loop."""

    def __init__(self, root: Path = Path("/")) -> None:
        """`root` is where sysfs and procfs are read."""
        self._root = root
        self._one_at_a_time = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._dying: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process that will be asked next, if it is there already."""
        return None if self._process is None else self._process.pid

    async def ask(
        self,
        request: Request,
        deadline_s: float,
        told: Callable[[Answer], None],
        *,
        each_s: float | None = None,
    ) -> None:
        """Asks, and hands each line of the answer to `told` as it comes.

        The answer must be complete in `deadline_s`, the start of a worker included; with `each_s`
        only its first line must, and each further one in that time after the one before.
        Raises WorkerError; what was told until then holds.
        """
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(deadline_s) as limit:

                    def hear(answer: Answer) -> None:
                        if each_s is not None:
                            limit.reschedule(asyncio.get_running_loop().time() + each_s)
                        told(answer)

                    await self._ask(request, hear)
            except TimeoutError:
                await self._kill()
                raise WorkerHung("no answer in time") from None
            except BaseException:
                await self._kill()
                raise

    async def close(self) -> None:
        """Ends the worker, if there is one; a question that waits for it fails."""
        if self._process is not None:
            _kill_with_children(self._process)
        async with self._one_at_a_time:
            await self._kill()

    async def _ask(self, request: Request, told: Callable[[Answer], None]) -> None:
        try:
            process = self._process or await self._start()
            lines = await _sent(process, request)
            while line := await lines.readline():
                answer = _ANSWER.decode(line)
                told(answer)
                if answer.get("done"):
                    return
        except (OSError, msgspec.DecodeError) as error:
            raise WorkerError(f"the worker can't be asked: {error}") from error
        raise WorkerError("the worker ended")

    async def _start(self) -> asyncio.subprocess.Process:
        if self._dying is not None:
            await self._dying.wait()
            self._dying = None
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "muster.agent.worker_main", str(self._root)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            limit=_LINE_MOST_BYTES,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            **_APART,
        )
        return self._process

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _kill_with_children(process)
        self._dying = process
        try:
            async with asyncio.timeout(_DYING_S):
                await process.communicate()
        except TimeoutError:
            return
        self._dying = None


async def _sent(process: asyncio.subprocess.Process, request: Request) -> asyncio.StreamReader:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")
    await process.stdin.drain()
    return process.stdout


if sys.platform == "win32":
    _APART: dict[str, Any] = {
        "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    }

    def _kill_with_children(process: asyncio.subprocess.Process) -> None:
        """Children end by their own limit: Windows has no groups to kill."""
        if process.returncode is None:
            process.kill()
else:
    _APART: dict[str, Any] = {"start_new_session": True}

    def _kill_with_children(process: asyncio.subprocess.Process) -> None:
        """What the worker started is what may hang."""
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
