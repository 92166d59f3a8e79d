"""Real gateways and sweepers for a test: started on free ports, ended by process id, never by name.

The end of each one's log is shown with a test that failed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from muster.cli.children import Child, end_all
from muster.cli.up import ask_ready
from registry.ports import free_ports
from tests.support.users import as_process

_ROOT = Path(__file__).resolve().parents[2]
_HOST = "127.0.0.1"

Setting = str | int | float | bool | list[str]


class Process:
    """One gateway or sweeper."""

    def __init__(self, child: Child, port: int, *, tls: bool = False) -> None:
        self.child = child
        self.name = child.name
        self.port = port
        self.tls = tls
        self.url = f"http{'s' if tls else ''}://{_HOST}:{port}"
        self.ws_url = f"ws{'s' if tls else ''}://{_HOST}:{port}/ws/node"

    @property
    def pid(self) -> int:
        """The process id."""
        return self.child.process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return not self.child.ended

    def log(self) -> str:
        """Everything the process wrote."""
        return self.child.log_path.read_text(errors="replace")

    def terminate(self) -> None:
        """Ask the process to end, without waiting."""
        self.child.terminate()

    def stop(self, timeout_s: float = 20.0) -> None:
        """Ask the process to end and wait; one that does not is killed."""
        if self.running:
            self.resume()
        end_all([self.child], timeout_s)

    def kill(self) -> None:
        """End the process as a power cut would."""
        self.child.kill()

    def pause(self) -> None:
        """Freeze the process."""
        self.child.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on."""
        self.child.process.send_signal(signal.SIGCONT)

    async def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Return once /readyz says 200; fail with the log if it never does."""
        deadline = time.monotonic() + timeout_s
        answer = ""
        while time.monotonic() < deadline:
            if not self.running:
                break
            ready, answer = await asyncio.to_thread(ask_ready, _HOST, self.port, tls=self.tls)
            if ready and self.running:  # otherwise another one answered there
                return
            await asyncio.sleep(0.02)
        tail = self.child.log_tail(30)
        pytest.fail(f"{self.name} did not become ready ({answer})\n{tail}", pytrace=False)


class Processes:
    """The processes of one test, with the settings all of them share."""

    def __init__(self, directory: Path, redis_url: str, **settings: Setting) -> None:
        self.redis_url = redis_url
        self.settings: dict[str, Setting] = settings
        self.started: list[Process] = []
        self._directory = directory

    async def gateway(self, **settings: Setting) -> Process:
        """A gateway that is ready."""
        return await self._ready("gateway", "MUSTER_PORT", settings)

    async def sweeper(self, **settings: Setting) -> Process:
        """A sweeper that is ready."""
        return await self._ready("sweeper", "MUSTER_SWEEPER_PORT", settings)

    def start(
        self,
        module: str,
        port_variable: str,
        settings: dict[str, Setting],
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """A process of `python -m module`, not waited for; `environment` is added to ours."""
        (port,) = free_ports(1)
        environ = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
        environ |= {
            "MUSTER_REDIS_URL": as_process(self.redis_url, module),
            "MUSTER_HOST": _HOST,
            "PYTHONPATH": str(_ROOT),
            "PYTHONUNBUFFERED": "1",
            **(environment or {}),
        }
        environ |= as_environment(self.settings | {port_variable[7:].lower(): port} | settings)
        name = f"{module}-{len(self.started)}"
        child = Child(name, [module], environ, self._directory / f"{name}.log")
        tls = module == "gateway" and "MUSTER_TLS_CERT_FILE" in environ
        process = Process(child, int(environ[port_variable]), tls=tls)
        self.started.append(process)
        return process

    def stop(self) -> None:
        """End everything that was started, by process id."""
        for process in self.started:
            if process.running:
                process.kill()

    async def _ready(
        self, module: str, port_variable: str, settings: dict[str, Setting]
    ) -> Process:
        process = self.start(module, port_variable, settings)
        await process.wait_ready()
        return process


def as_environment(settings: dict[str, Setting]) -> dict[str, str]:
    """Settings by field name as the variables that set them."""
    return {f"MUSTER_{name.upper()}": _text(value) for name, value in settings.items()}


def _text(value: Setting) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, list) else str(value)


RUNNING = pytest.StashKey[list[Processes]]()


class ProcessesFactory:
    """Makes `Processes` for a test and ends them after it."""

    def __init__(self, directory: Path) -> None:
        self.made: list[Processes] = []
        self._directory = directory

    def __call__(self, redis_url: str, **settings: Setting) -> Processes:
        directory = self._directory / f"processes-{len(self.made)}"
        directory.mkdir()
        made = Processes(directory, redis_url, **settings)
        self.made.append(made)
        return made


@pytest.fixture
def processes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ProcessesFactory]:
    """`processes(redis_url, heartbeat_interval_s=0.2, …)` → processes that share these settings."""
    factory = ProcessesFactory(tmp_path)
    request.node.stash[RUNNING] = factory.made
    yield factory
    for made in factory.made:
        made.stop()


def log_tails(item: pytest.Item) -> list[tuple[str, str]]:
    """What the processes of this test wrote last, to be shown with its failure."""
    running: list[Any] = item.stash.get(RUNNING, [])
    return [
        (f"log of {process.name}", process.child.log_tail(40))
        for made in running
        for process in made.started
    ]
