"""A composition started for real, without a container engine: each service as a process.

The same command with the same environment, the same files and the same ports; only what an engine
would do is done here instead. A service's name becomes an address of its own on loopback
(127.a.b.c), so that two may listen on one port as containers do; what is mounted lies under a
folder of its own; health checks are run as they are written. Grafana is left out: Debian has none.

Not seen this way: the images, the read-only root, the users, the networks' walls.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from muster.cli.children import port_is_free
from registry.embedded import find_server
from tests.deploy.composition import ROOT, Document, command, environment, mounts, part, seconds
from tests.deploy.fitting import listens
from tests.support.prometheus import program
from tests.support.stores import in_ci

WITHOUT = {"grafana", "doctor"}
"""Parts that are not started: one can't be had, the other is only a command."""
_BIN = Path(sys.executable).parent
_HEALTH = "/opt/muster/health.py"


class Standing:
    """The services of a composition as processes."""

    def __init__(self, document: Document, directory: Path) -> None:
        self.document = document
        self.services: dict[str, Document] = {
            n: s for n, s in document["services"].items() if part(s) not in WITHOUT
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._directory = directory
        # Where others test at the same time, each has addresses of its own.
        draw = random.SystemRandom()
        net = f"127.{draw.randint(64, 254)}.{draw.randint(0, 254)}"
        self.address = {name: f"{net}.{n}" for n, name in enumerate(document["services"], 1)}
        for name, service in self.services.items():
            if part(service) != "agent" and not port_is_free(self.address[name], listens(service)):
                why = f"port {listens(service)} is taken on every address of this machine"
                if in_ci():
                    pytest.fail(why)
                pytest.skip(why)
            self._lay_out(name)

    def url(self, name: str) -> str:
        """Where a service is asked."""
        return f"http://{self.address[name]}:{listens(self.services[name])}"

    def log(self, name: str) -> str:
        """What a service wrote."""
        return (self._directory / f"{name}.log").read_text("utf-8", errors="replace")

    def order(self) -> list[str]:
        """Services, each after those it waits for."""
        found: list[str] = []

        def add(name: str) -> None:
            for other in self.services[name].get("depends_on") or {}:
                if other not in found:
                    add(other)
            if name not in found:
                found.append(name)

        for name in self.services:
            add(name)
        return found

    async def up(self) -> None:
        """Starts all, each when those are well that it waits for, as Compose does."""
        for name in self.order():
            needs = self.services[name].get("depends_on") or {}
            await self.healthy([n for n, d in needs.items() if d["condition"] == "service_healthy"])
            self.start(name)
        await self.healthy(self.services)

    async def healthy(self, names: Iterable[str], timeout_s: float = 60.0) -> None:
        """Returns once the health checks of these services say so."""
        deadline = time.monotonic() + timeout_s
        for name in names:
            while (said := await asyncio.to_thread(self._check, name)) is not None:
                ended = self.running[name].poll()
                if ended is not None or time.monotonic() > deadline:
                    tail = self.log(name)[-3000:]
                    pytest.fail(f"{name} is not healthy (ended: {ended}): {said}\n{tail}")
                await asyncio.sleep(0.2)

    def start(self, name: str) -> None:
        """Starts one service."""
        with (self._directory / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                self._command(name),
                env=self._environ(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def stop(self, name: str) -> int:
        """Ends one service as Compose does; its exit status. One that takes too long is killed."""
        process = self.running[name]
        service = self.services[name]
        process.send_signal(signal.Signals[service.get("stop_signal", "SIGTERM")])
        grace = seconds(service.get("stop_grace_period", "10s"))
        try:
            return await asyncio.to_thread(process.wait, grace)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    async def down(self) -> dict[str, int]:
        """Ends all as Compose does, at once those whom nobody left waits for; exit statuses."""
        ended: dict[str, int] = {}
        while left := [name for name in self.services if name not in ended]:
            needed = {n for name in left for n in self.services[name].get("depends_on") or {}}
            now = [name for name in left if name not in needed]
            ended |= zip(now, await asyncio.gather(*map(self.stop, now)), strict=True)
        return ended

    def kill(self) -> None:
        """Ends whatever is left."""
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of a service that only runs commands, as `docker compose run` does."""
        service = self.document["services"][name]
        words = [*command({**service, "command": None})[:1], *arguments]
        return subprocess.run(
            self._here(name, words),
            env=self._environ(name),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def placed(self, text: str) -> str:
        """A text with addresses for names, and the networks that are here."""
        names = "|".join(re.escape(name) for name in self.address)
        text = re.sub(rf"(?<![\w.-])({names})(?=:\d)", lambda m: self.address[m[1]], text)
        for network in self.document["networks"].values():
            for config in network.get("ipam", {}).get("config", []):
                text = text.replace(config["subnet"], "127.0.0.0/8")
        return text

    def _root(self, name: str) -> Path:
        return self._directory / name

    def _lay_out(self, name: str) -> None:
        """What is mounted, under the service's own folder."""
        service = self.services[name]
        for target, source in mounts(service, self.document).items():
            path = self._root(name) / target.lstrip("/")
            if source in self.document["volumes"]:
                path.mkdir(parents=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._own(name, self.placed(Path(source).read_text("utf-8"))))
        if part(service) in ("gateway", "sweeper"):
            path = self._root(name) / _HEALTH.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            text = (ROOT / "deploy" / "health.py").read_text("utf-8")
            path.write_text(text.replace("127.0.0.1", self.address[name]))

    def _own(self, name: str, text: str) -> str:
        if part(self.services[name]) == "haproxy":
            return text.replace("bind :", f"bind {self.address[name]}:")
        # What is looked at every 15 s there is looked at every second here.
        return re.sub(r"(_interval:) 15s", r"\1 1s", text)

    def _here(self, name: str, words: list[str]) -> list[str]:
        """A command with this machine's programs, and the paths of the service's folder."""
        root = self._root(name)
        programs = {
            "muster": str(_BIN / "muster"),
            "python": sys.executable,
            "valkey-server": str(find_server()),
        }
        made = [programs.get(words[0], words[0])]
        lent = sorted([*mounts(self.document["services"][name], self.document), _HEALTH])
        for word in words[1:]:
            for target in lent:
                word = re.sub(rf"(?<![\w/]){re.escape(target)}(?![\w-])", str(root) + target, word)
            made.append(self.placed(word).replace("127.0.0.1", self.address[name]))
        return made

    def _command(self, name: str) -> list[str]:
        service, address = self.services[name], self.address[name]
        words = command(service)
        if part(service) == "haproxy":
            config = self._root(name) / "usr/local/etc/haproxy/haproxy.cfg"
            return [program("haproxy", "haproxy"), "-db", "-f", str(config)]
        if part(service) == "prometheus":
            listen = f"--web.listen-address={address}:{listens(service)}"
            words = [program("prometheus", "prometheus"), *words, listen]
        elif part(service) == "valkey":
            words = [*words, "--bind", address]
        return self._here(name, words)

    def _environ(self, name: str) -> dict[str, str]:
        service = self.document["services"][name]
        given = {"PATH": os.environ["PATH"], "HOME": str(self._directory)}
        root = self._root(name)
        for variable, value in environment(service).items():
            if variable in ("PATH", "HOME"):
                continue
            for target in mounts(service, self.document):
                value = value.replace(target, str(root) + target)
            given[variable] = self.placed(value)
        if given.get("MUSTER_HOST") == "0.0.0.0":
            given["MUSTER_HOST"] = self.address[name]
        if "MUSTER_AGENT_STATUS_PORT" in given:
            # All of them are on one loopback address here: each takes a free port and says which.
            given["MUSTER_AGENT_STATUS_PORT"] = "0"
        return given

    def _check(self, name: str) -> str | None:
        """Runs a service's health check; what it said if it failed."""
        kind, *words = self.services[name]["healthcheck"]["test"]
        if kind == "CMD-SHELL":
            cli = shutil.which("redis-cli") or shutil.which("valkey-cli") or "redis-cli"
            words = ["sh", "-c", words[0].replace("valkey-cli", f"{cli} -h {self.address[name]}")]
        done = subprocess.run(
            self._here(name, words),
            env=self._environ(name),
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        return None if done.returncode == 0 else f"{done.returncode} {done.stdout}{done.stderr}"
