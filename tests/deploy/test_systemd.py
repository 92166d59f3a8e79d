"""deploy/systemd: read by systemd itself, held to what the programs are, and run as it says."""

from __future__ import annotations

import asyncio
import copy
import ctypes
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from registry.embedded import find_server
from registry.ports import free_ports
from registry.settings import variables
from tests.deploy import units
from tests.deploy.units import CLASSES, PORTS, PROGRAM, ROOT, SYSTEMD, Problems, Unit, unit
from tests.support.fleet import until
from tests.support.prometheus import program

HERE = str(Path(sys.executable).parent / "muster")
EXPOSURE_MOST = 15
"""Tenths of what `systemd-analyze security` counts: what it was when the units were written, and a
little, as later versions ask for more."""
AGENT = ROOT / "deploy" / "agent" / "muster-agent.service"
CHECKS: tuple[Callable[[Unit], Problems], ...] = (
    units.settings,
    units.command,
    units.stopping,
    units.lasting,
    units.limits,
)
_PR_SET_MDWE = 65


def analysed(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One run of systemd-analyze."""
    return subprocess.run(
        [program("systemd-analyze", "systemd"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def placed(path: Path, directory: Path, old: str = "", new: str = "") -> str:
    """A copy of a unit that names this environment's program; its path."""
    text = path.read_text("utf-8").replace(PROGRAM, HERE)
    assert old in text
    copied = directory / path.name
    copied.write_text(text.replace(old, new) if old else text)
    return str(copied)


UNITS = [*sorted(SYSTEMD.glob("*.service")), AGENT]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_finds_no_fault_with_a_unit(path: Path, tmp_path: Path) -> None:
    done = analysed("verify", placed(path, tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    misspelt = analysed("verify", placed(path, tmp_path, "TimeoutStopSec", "TimeoutStopSecs"))
    assert "TimeoutStopSecs" in misspelt.stderr


@pytest.mark.parametrize("kind", CLASSES)
def test_a_unit_exposes_no_more_than_it_did(kind: str, tmp_path: Path) -> None:
    path = SYSTEMD / f"muster-{kind}@.service"
    ask = ("security", "--offline=yes", f"--threshold={EXPOSURE_MOST}")
    done = analysed(*ask, placed(path, tmp_path))
    assert done.returncode == 0, done.stdout
    for line in ("CapabilityBoundingSet=\n", "SystemCallFilter=@system-service\n"):
        done = analysed(*ask, placed(path, tmp_path, line))
        assert done.returncode != 0, f"without {line}"


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_unit_fits_the_program(kind: str, check: Callable[[Unit], Problems]) -> None:
    assert list(check(unit(kind))) == []


def _set(name: str, *values: str) -> Callable[[Unit], None]:
    return lambda found: found.values.update({name: list(values)})


def _file(name: str, line: str) -> Callable[[Unit], None]:
    def broken(found: Unit) -> None:
        found.files[f"/etc/muster/{name}"] += f"\n{line}\n"

    return broken


BROKEN: list[tuple[Callable[[Unit], Problems], str, Callable[[Unit], None]]] = [
    (units.settings, "MUSTER_SECRETS", _file("gateway.env", "MUSTER_SECRETS=x")),
    (units.settings, "MUSTER_HEARTBEET", _file("muster.env", "#MUSTER_HEARTBEET_S=1")),
    (units.settings, "one port", _file("muster.env", "MUSTER_PORT=8080")),
    (units.settings, "does not start", _file("gateway.env", "MUSTER_DRAIN_WINDOW_S=x")),
    (units.settings, "not its port", _set("Environment", "MUSTER_SWEEPER_PORT=%i")),
    (units.settings, "no example", _set("EnvironmentFile", "/etc/muster/other.env")),
    (units.command, "it starts", _set("ExecStart", f"{PROGRAM} sweeper")),
    (units.stopping, "of draining", _set("TimeoutStopSec", "25")),
    (units.stopping, "of draining", _file("gateway.env", "MUSTER_DRAIN_WINDOW_S=60")),
    (units.stopping, "stopped by", _set("KillSignal", "SIGKILL")),
    (units.lasting, "gives up", _set("StartLimitIntervalSec", "10")),
    (units.lasting, "again and again", _set("RestartPreventExitStatus")),
    (units.lasting, "learns", _set("Type", "simple")),
    (units.lasting, "killed", _set("TimeoutStartSec", "30")),
    (units.lasting, "with the machine", _set("WantedBy", "default.target")),
    (units.limits, "few sockets", _set("LimitNOFILE", "1024")),
    (units.limits, "no user", _set("DynamicUser", "no")),
    (units.limits, "can't say", _set("RestrictAddressFamilies", "AF_INET AF_INET6")),
]


@pytest.mark.parametrize(
    ("check", "says", "breaks"), BROKEN, ids=[f"{c.__name__}: {s}" for c, s, _ in BROKEN]
)
def test_a_check_finds_what_it_is_for(
    check: Callable[[Unit], Problems], says: str, breaks: Callable[[Unit], None]
) -> None:
    found = copy.deepcopy(unit("gateway"))
    breaks(found)
    if not found.values["RestartPreventExitStatus"]:
        found.values["RestartPreventExitStatus"] = [""]
    sentences = list(check(found))
    assert any(says in sentence for sentence in sentences), sentences


def test_the_document_names_the_instances_that_others_look_for_and_settings_that_exist() -> None:
    text = (ROOT / "docs" / "systemd.md").read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert (ROOT / "docs" / target).exists(), target
    known = {name for cls in CLASSES.values() for name in variables(cls)}
    assert set(re.findall(r"MUSTER_[A-Z_]+", text)) <= known | {"MUSTER_SERVER", "MUSTER_TOKEN"}
    instances = set(re.findall(r"muster-(\w+@\d+)", text))
    assert (
        set(" ".join(re.findall(r"^for one in (.*); do", text, re.MULTILINE)).split()) == instances
    )
    haproxy = (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text("utf-8")
    prometheus = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8")
    gateways = set(re.findall(r"-127\.0\.0\.1:(\d+)", haproxy))
    scraped = set(re.findall(r"127\.0\.0\.1:(\d+)", prometheus))
    ports = {name.split("@")[1] for name in instances}
    assert {name.split("@")[1] for name in instances if "gateway" in name} == gateways
    assert ports == scraped


def test_haproxy_reads_its_file_as_the_document_has_it_changed(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "systemd.md").read_text("utf-8")
    (change,) = re.findall(r"^sed '(.*?)' deploy/haproxy", text, re.MULTILINE)
    file = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
    changed = subprocess.run(["sed", change, str(file)], capture_output=True, check=True).stdout
    assert b"\n    user haproxy\n    group haproxy\n" in changed
    (tmp_path / "haproxy.cfg").write_bytes(changed)
    command = [program("haproxy", "haproxy"), "-c", "-f", str(tmp_path / "haproxy.cfg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _no_executable_memory() -> None:
    """What MemoryDenyWriteExecute= forbids, forbidden by the kernel, where it can (6.3)."""
    ctypes.CDLL(None).prctl(_PR_SET_MDWE, 1, 0, 0, 0)


@pytest.mark.parametrize("kind", CLASSES)
async def test_a_service_says_that_it_is_ready_once_its_store_is_there_and_ends_in_time(
    kind: str, tmp_path: Path
) -> None:
    found = unit(kind)
    port, store_port = free_ports(2)
    tokens = tmp_path / "api-tokens"
    tokens.write_text("")
    own = found.environment(str(port)) | {"PATH": os.environ["PATH"]}
    if kind == "gateway":
        own["MUSTER_API_TOKENS_FILE"] = str(tokens)
    assert own[PORTS[kind]] == str(port)
    words = shlex.split(found.one("ExecStart").replace(PROGRAM, HERE))
    socket_path = str(tmp_path / "notify")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

        async def says(path: str) -> int:
            try:
                return (await client.get(path)).status_code
            except httpx.TransportError:
                return 0

        async def lives() -> bool:
            return await says("/healthz") == 200

        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(socket_path)
            manager.setblocking(False)
            own["MUSTER_REDIS_URL"] = f"redis://127.0.0.1:{store_port}/0"
            own["NOTIFY_SOCKET"] = socket_path
            with (tmp_path / "log").open("wb") as log:
                process = await asyncio.create_subprocess_exec(
                    *words, env=own, stdout=log, stderr=log, preexec_fn=_no_executable_memory
                )
            started = [process]
            try:
                await until(lives, "it lives")
                assert await says("/readyz") == 503
                with pytest.raises(BlockingIOError):
                    manager.recv(100)
                store = [str(find_server()), "--port", str(store_port), "--bind", "127.0.0.1"]
                quiet = [*store, "--save", "", "--loglevel", "nothing", "--dir", str(tmp_path)]
                started.append(await asyncio.create_subprocess_exec(*quiet))
                told = await asyncio.wait_for(
                    asyncio.get_running_loop().sock_recv(manager, 100), timeout=60
                )
                assert told == b"READY=1"
                assert await says("/readyz") == 200
                process.send_signal(signal.SIGTERM)
                grace = float(found.one("TimeoutStopSec"))
                assert await asyncio.wait_for(process.wait(), grace) == 0
            finally:
                for each in started:
                    if each.returncode is None:
                        each.kill()
                        await each.wait()


def test_a_wrong_setting_ends_it_with_the_status_that_is_not_tried_again() -> None:
    for kind in CLASSES:
        own = {"PATH": os.environ["PATH"], PORTS[kind]: "no-port"}
        words = shlex.split(unit(kind).one("ExecStart").replace(PROGRAM, HERE))
        done = subprocess.run(words, env=own, capture_output=True, check=False, timeout=30)
        assert str(done.returncode) in unit(kind).one("RestartPreventExitStatus").split()
