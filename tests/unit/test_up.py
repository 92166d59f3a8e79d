"""`muster up` starts, reports and ends all of it. Gateways and sweepers are stand-ins here."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from registry.ports import free_ports
from tests.unit.test_embedded_store import eventually, is_gone

ROOT = Path(__file__).resolve().parents[2]
GATEWAY = """
import http.server, os, signal, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ready")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
assert os.environ["MUSTER_SECRET"]
print("a stand-in listens")
where = (os.environ["MUSTER_HOST"], int(os.environ["MUSTER_PORT"]))
http.server.HTTPServer(where, Ready).serve_forever()
"""
SWEEPER = "import time\nprint('a stand-in sweeps')\ntime.sleep(600)\n"


@pytest.fixture
def stand_ins(tmp_path: Path) -> Path:
    for name, source in (("gateway", GATEWAY), ("sweeper", SWEEPER)):
        package = tmp_path / "stand-ins" / name
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(source)
    return tmp_path / "stand-ins"


def start(stand_ins: Path, *arguments: str) -> subprocess.Popen[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    environ["PYTHONPATH"] = os.pathsep.join((str(stand_ins), str(ROOT)))
    data_dir = stand_ins.parent / "data"
    return subprocess.Popen(
        [sys.executable, "-m", "muster", "up", "--data-dir", str(data_dir), "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        cwd=stand_ins,
    )


def ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    made: dict[str, Any] = json.loads(line)
    return made


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_starts_everything_and_ends_everything(stand_ins: Path, number: signal.Signals) -> None:
    process = start(stand_ins, "--port", "0")
    system = ready(process)
    assert sorted(system["pids"]) == ["gateway-0", "gateway-1", "store", "sweeper-0", "sweeper-1"]
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert all(is_gone(pid) for pid in system["pids"].values())


def test_open_api_reaches_the_gateways(stand_ins: Path) -> None:
    process = start(stand_ins, "--port", "0", "--gateways", "1", "--open-api")
    pids = ready(process)["pids"]
    try:
        environs = {name: psutil.Process(pid).environ() for name, pid in pids.items()}
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert [name for name, environ in environs.items() if "MUSTER_OPEN_API" in environ] == [
        "gateway-0"
    ]
    assert environs["gateway-0"]["MUSTER_OPEN_API"] == "true"


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_killed_hard_it_leaves_no_orphan(stand_ins: Path) -> None:
    process = start(stand_ins, "--port", "0")
    system = ready(process)
    pids = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    assert set(system["pids"].values()) < set(pids)  # the store's own server is one more
    process.kill()
    process.communicate()
    assert eventually(lambda: all(is_gone(pid) for pid in pids))


@pytest.mark.parametrize("name", ["sweeper-1", "gateway-0", "store"])
def test_a_part_that_dies_is_named_and_ends_the_rest(stand_ins: Path, name: str) -> None:
    process = start(stand_ins, "--port", "0")
    system = ready(process)
    psutil.Process(system["pids"][name]).kill()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"{name} ended unexpectedly with signal 9" in errors
    if name != "store":
        assert "a stand-in" in errors
    assert all(is_gone(pid) for pid in system["pids"].values())


def test_a_port_in_use_is_said_before_anything_is_started(stand_ins: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(stand_ins, "--port", str(port), "--gateways", "1")
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert str(port) in errors
    assert "--port" in errors
    assert not (stand_ins.parent / "data").exists()


def test_a_store_of_ones_own_replaces_the_embedded_one(stand_ins: Path) -> None:
    (port,) = free_ports(1)
    process = start(
        stand_ins, "--port", str(port), "--gateways", "1", "--redis-url", "redis://:pw@db.example/0"
    )
    # The stand-in asks for a secret, which only the embedded store brings along.
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "gateway-0 ended unexpectedly" in errors
    assert "pw" not in errors
