"""Agents as their owners run them: processes of `muster agent run`, read by their lines."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from muster.agent.config import variable_of
from muster.agent.identity import FILE_NAME, SIMULATED_NAME

ROOT = Path(__file__).resolve().parents[2]
MODEL = {"model_id": "m", "kind": "nmt", "version": "1", "src_lang": "zh", "tgt_lang": "en"}
QUICK = {
    "backoff_first_s": "0.2",
    "backoff_most_s": "1",
    "gpu_interval_s": "0.3",
    "gpu_deadline_s": "1.5",  # a card that is well answers at once, a worker is started anew
    "models_debounce_s": "0.2",
    "reprobe_interval_s": "0.2",
    "connect_timeout_s": "3",
}


class AgentProcess:
    """One agent. `folder` holds its models and its state."""

    def __init__(
        self, folder: Path, environ: dict[str, str], number: int, output: int | None
    ) -> None:
        self.simulated = variable_of("simulate") in environ
        self.folder = folder
        self.state = folder / "state"
        self.name = f"agent-{number}"
        self.log_path = folder / f"{self.name}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "muster", "agent", "run"],
                stdin=subprocess.DEVNULL,
                stdout=log if output is None else output,
                stderr=log,
                env=environ,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def node_id(self) -> str:
        """The id it remembers."""
        saved: dict[str, Any] = json.loads(self.identity.read_text())
        return str(saved["node_id"])

    @property
    def identity(self) -> Path:
        """Where it remembers that."""
        return self.state / (SIMULATED_NAME if self.simulated else FILE_NAME)

    def log(self) -> str:
        """Everything the process wrote, in whole lines."""
        return self.log_path.read_text(errors="replace").rpartition("\n")[0]

    def lines(self) -> list[dict[str, Any]]:
        """The events it told so far; whatever else it wrote is passed over."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    @property
    def status(self) -> str:
        """What it was told last, '' before that."""
        told = [line for line in self.lines() if line["action"] in ("registered", "status")]
        return str(told[-1]["status"]) if told else ""

    def told(self, action: str, **values: Any) -> list[dict[str, Any]]:
        """Its events of an action with these values."""
        return [
            line
            for line in self.lines()
            if line["action"] == action
            and all(line.get(name) == value for name, value in values.items())
        ]

    async def tells(
        self, action: str, *, times: int = 1, timeout_s: float = 25.0, **values: Any
    ) -> dict[str, Any]:
        """Waits until it told so `times` times; the last of these."""
        deadline = time.monotonic() + timeout_s
        while len(found := self.told(action, **values)) < times:
            if time.monotonic() > deadline or not self.running:
                found = self.told(action, **values)
                if len(found) >= times:
                    break
                pytest.fail(f"never told {action} {values}\n{self.log()}", pytrace=False)
            await asyncio.sleep(0.02)
        return found[times - 1]

    async def is_ready(self, timeout_s: float = 25.0) -> None:
        """Waits until it was told that it is ready: by a change of its status, or as it came back
        to a gateway that a busy machine kept from answering."""
        deadline = time.monotonic() + timeout_s
        while self.status != "ready":
            if time.monotonic() > deadline or not self.running:
                pytest.fail(f"never told that it is ready\n{self.log()}", pytrace=False)
            await asyncio.sleep(0.02)

    async def ends(self, timeout_s: float = 60.0) -> int:
        """Waits for the process to end; its exit status."""
        deadline = time.monotonic() + timeout_s
        while self.running:
            if time.monotonic() > deadline:
                pytest.fail(f"did not end\n{self.log()}", pytrace=False)
            await asyncio.sleep(0.02)
        return self.process.wait()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


class Agents:
    """Starts the agents of one test."""

    def __init__(self, directory: Path) -> None:
        self.started: list[AgentProcess] = []
        self._directory = directory

    def start(
        self,
        *servers: str,
        simulate: str | None = "RTX 4090:24",
        models: bool = True,
        of: AgentProcess | None = None,
        environ: dict[str, str] | None = None,
        output: int | None = None,
        **settings: str,
    ) -> AgentProcess:
        """An agent on these servers; `of`: with models and state of an earlier one; `output`: a
        descriptor its lines go to, instead of the log."""
        folder = of.folder if of is not None else self._directory / f"{len(self.started)}"
        (folder / "models" / "m").mkdir(parents=True, exist_ok=True)
        if models:
            (folder / "models" / "m" / "model.json").write_text(json.dumps(MODEL))
        settings = {
            "servers": ",".join(servers),
            "models_dir": str(folder / "models"),
            "state_dir": str(folder / "state"),
            "log_format": "json",
            "locale": "en",
            **settings,
        }
        if simulate is not None:
            settings["simulate"] = simulate
        environ = self.environ(**settings) | (environ or {})
        agent = AgentProcess(folder, environ, len(self.started), output)
        self.started.append(agent)
        return agent

    def environ(self, **settings: str) -> dict[str, str]:
        """An environment with these settings, with every wait shortened, and nothing of ours."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
        clean |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        return clean | {variable_of(name): text for name, text in (QUICK | settings).items()}

    def stop(self) -> None:
        """Ends all of them, by process id."""
        for agent in self.started:
            agent.kill()


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    """`agents.start(url)` → a process of `muster agent run`; its lines are shown on failure."""
    made = Agents(tmp_path / "agents")
    yield made
    made.stop()
    for agent in made.started:
        tail = "\n".join(agent.log().splitlines()[-40:])
        sys.stdout.write(f"--- {agent.name}\n{tail}\n")
