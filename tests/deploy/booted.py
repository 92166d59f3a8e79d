"""Does what docs/systemd.md says on a machine that systemd runs: `python -m tests.deploy.booted`.

As root: the machine is a Debian made by mmdebstrap and booted by systemd-nspawn, with a network of
its own. The commands are the document's, in its order; only what needs the outside (packages,
wheels) is brought from here, and what a person would do in an editor is done by sed. It prints a
line for each thing seen, and the first that fails ends it; all of them are kept in
deploy/systemd.txt.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEEN = ROOT / "deploy" / "systemd.txt"
_PRINTED: list[str] = []
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "muster-deploy"
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,redis-server,haproxy,openssl,procps,curl"
SOURCE = "/root/muster"
SERVICES = ("gateway@8080", "gateway@8081", "sweeper@9090", "sweeper@9091")
NODE = (
    '/opt/muster/bin/muster agent run --server ws://127.0.0.1:8088 --simulate "RTX 4090:24"'
    " --models-file /root/muster/deploy/compose/models.toml"
)


def main() -> int:
    """The exit status."""
    for name in ("mmdebstrap", "systemd-nspawn", "nsenter"):
        if shutil.which(name) is None:
            sys.exit(f"{name} is not here: apt-get install mmdebstrap systemd-container")
    if os.geteuid() != 0:
        sys.exit("only root may boot a machine")
    _print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.machine()}, {os.cpu_count()} CPUs")
    began = time.monotonic()
    wheels = _wheels()
    with tempfile.TemporaryDirectory(prefix="muster-booted-") as directory:
        root = Path(directory) / "root"
        _laid_out(root, wheels)
        with _booted(root) as machine:
            _installed(machine)
            _contained(machine)
            _serves(machine)
            _updated(machine)
            _comes_back(machine)
            _taken_away(machine)
    _print(f"all of it: {time.monotonic() - began:.0f} s")
    SEEN.write_text("".join(f"{line}\n" for line in _PRINTED), "utf-8")
    return 0


def _print(line: str) -> None:
    print(line, flush=True)
    _PRINTED.append(line)


def _say(text: str) -> None:
    _print(f"ok  {text}")


def blocks(path: str) -> list[str]:
    """The shell commands of a document, block by block."""
    text = (ROOT / path).read_text("utf-8")
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def block(part: str, path: str = "docs/systemd.md") -> str:
    """The one block with these words."""
    (found,) = [found for found in blocks(path) if part in found]
    return found


def without(text: str, *parts: str) -> str:
    """The commands but those that hold one of these words; continued lines go together."""
    commands = re.split(r"(?<!\\)\n", text)
    for part in parts:
        assert any(part in command for command in commands), part
    return "\n".join(c for c in commands if not any(part in c for part in parts))


def _wheels() -> Path:
    """What the lock names, fetched as the document says; kept."""
    wheels = CACHE / "lock-wheels"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    fetch = [*pip, "--require-hashes", "--no-deps", "--only-binary=:all:", "--dest", str(wheels)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as lock:
        # All of it: what only another patch release of Python needs may be needed there.
        lock.write(re.sub(r" ; python_.*(?= \\)", "", (ROOT / "requirements.lock").read_text()))
        lock.flush()
        subprocess.run([*fetch, "-r", lock.name], check=True)
    return wheels


def _laid_out(root: Path, wheels: Path) -> None:
    archive = CACHE / "systemd-bookworm.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = archive.with_suffix(".draft.tar")
        made = ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm"]
        subprocess.run([*made, str(draft)], check=True, capture_output=True)
        draft.rename(archive)
    root.mkdir()
    subprocess.run(["tar", "-xf", str(archive), "-C", str(root)], check=True)
    source = root / SOURCE.lstrip("/")
    source.mkdir()
    tree = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    with tarfile.open(root / "source.tar", "w") as packed:
        for name in filter(None, tree):
            packed.add(ROOT / name, arcname=name)
        packed.add(wheels, arcname="wheels")
    with tarfile.open(root / "source.tar") as packed:
        packed.extractall(source, filter="data")


class Machine:
    """A machine that systemd runs."""

    def __init__(self, leader: int) -> None:
        self._leader = leader

    def tried(self, commands: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Some commands, as root, in the source's folder; the first that fails ends them."""
        text = f'sudo() {{ "$@"; }}\nset -euo pipefail\ncd {SOURCE}\n{commands}'
        enter = ["nsenter", "-t", str(self._leader), "-a", "env", "-i"]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return subprocess.run(
            [*enter, path, "HOME=/root", "LANG=C.UTF-8", "bash", "-c", text],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    def run(self, commands: str, timeout_s: float = 120) -> str:
        """What they print; ends everything if they fail."""
        done = self.tried(commands, timeout_s)
        if done.returncode:
            log = self.tried("journalctl --no-pager -n 15 | cut -c1-240").stdout
            sys.exit(f"{commands}\n{done.returncode}\n{done.stdout}{done.stderr}\n{log}")
        return done.stdout.strip()

    def shows(self, service: str, name: str) -> str:
        """A property of a service."""
        return self.run(f"systemctl show --value -p {name} muster-{service}")

    def until(self, commands: str, what: str, timeout_s: float = 60) -> None:
        """Waits until these commands succeed."""
        deadline = time.monotonic() + timeout_s
        while self.tried(commands).returncode:
            if time.monotonic() > deadline:
                self.run(f"echo not seen: {shlex.quote(what)}; {commands}")
                return
            time.sleep(0.3)


def _leader(nspawn: int) -> int | None:
    """The systemd that nspawn started; it has other children before."""
    for child in Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split():
        with suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                return int(child)
    return None


@contextmanager
def _booted(root: Path) -> Iterator[Machine]:
    command = ["systemd-nspawn", "--quiet", "--directory", str(root), "--boot"]
    alone = ["--private-network", "--register=no", "--keep-unit", "--console=pipe"]
    with (root.parent / "console").open("wb") as console:
        nspawn = subprocess.Popen(
            [*command, *alone], stdin=subprocess.DEVNULL, stdout=console, stderr=console
        )
    try:
        deadline = time.monotonic() + 30
        while (leader := _leader(nspawn.pid)) is None:
            if time.monotonic() > deadline or nspawn.poll() is not None:
                sys.exit("nothing was booted")
            time.sleep(0.1)
        machine = Machine(leader)
        machine.until("systemctl is-active multi-user.target", "the machine is up", 30)
        _say(machine.run("systemctl --version | head -1") + " has booted the machine")
        yield machine
    finally:
        nspawn.terminate()  # it shuts the machine down
        with suppress(subprocess.TimeoutExpired):
            nspawn.wait(60)
        nspawn.kill()
        nspawn.wait()


def _installed(machine: Machine) -> None:
    machine.run(without(block("version=0.1.0"), "apt-get", "pip download"))
    _say(f"the program is installed: {machine.run('/opt/muster/bin/muster version')}")
    machine.run("cp deploy/store/*.acl .\n" + block("umask 077", "deploy/store/README.md"))
    # Replicas and sentinels are not here; their users may stay.
    machine.run(block("redis.conf"))
    machine.until("systemctl is-active redis-server", "the store is up")
    _say("the store has its users")
    edits = r"""
password() { sed -n "s/^$1=//p" passwords; }
sed -i "s/PASSWORD/$(password GATEWAY)/;s/SECRET$/$(openssl rand -hex 32)/" /etc/muster/gateway.env
sed -i "s/PASSWORD/$(password SWEEPER)/" /etc/muster/sweeper.env
/opt/muster/bin/muster token new --name admin --role admin > made
grep -o 'mst_.*' made > token
grep -o 'admin:admin:.*' made > /etc/muster/api-tokens
"""
    commands = block("enable --now muster-gateway")
    assert "\nsudoedit" in commands
    machine.run(re.sub(r"\nsudoedit.*", lambda _: "\n" + edits, commands))
    for service in SERVICES:
        assert machine.shows(service, "ActiveState") == "active", service
    _say("two gateways and two sweepers are enabled, and were ready when `enable --now` came back")
    machine.run(block("haproxy.service.d"))
    machine.until("curl -fsS http://127.0.0.1:8088/readyz", "HAProxy finds the gateways")
    _say("HAProxy passes on to them")


def _contained(machine: Machine) -> None:
    for service in SERVICES:
        pid = machine.shows(service, "MainPID")
        status = dict(
            line.split(":\t", 1)
            for line in machine.run(f"cat /proc/{pid}/status").splitlines()
            if ":\t" in line
        )
        assert status["CapEff"] == status["CapBnd"] == "0000000000000000", status
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status
        user = int(status["Uid"].split()[0])
        assert 61184 <= user <= 65519, f"{service} is {user}, no dynamic user"
        inside = f"nsenter -t {pid} -m -S {user} -G {user} sh -c"
        wrote = machine.tried(f"{inside} 'echo x > /etc/x || echo x > /opt/x || echo x > /var/x'")
        assert wrote.returncode, f"{service} may write"
        assert "Read-only" in wrote.stderr or "Permission" in wrote.stderr, wrote.stderr
        read = machine.tried(f"{inside} 'cat /etc/muster/gateway.env /root/muster/passwords'")
        assert read.returncode, f"{service} may read secrets"
        given, most = (
            int(machine.run(f"grep 'open files' /proc/{each}/limits").split()[4])
            for each in (pid, 1)
        )
        assert "gateway" not in service or given == min(131072, most), (given, most)
    _say("each has a user of its own, no capabilities, a filter of system calls, nothing to write")


def _serves(machine: Machine) -> None:
    ask = "export MUSTER_SERVER=http://127.0.0.1:8088 MUSTER_TOKEN=$(cat token)\n"
    machine.run(ask + "/opt/muster/bin/muster doctor")
    _say("muster doctor finds nothing fatal")
    allow = "MUSTER_ALLOW_SIMULATED=true"
    machine.run(f"echo {allow} >> /etc/muster/gateway.env\n" + _loop(), 240)
    machine.run(
        f"systemd-run --quiet --unit node --setenv=MUSTER_AGENT_STATE_DIR=/root/state {NODE}"
    )
    ready = ask + '/opt/muster/bin/muster nodes --json | grep -q \'"status": *"ready"\''
    machine.until(ready, "a simulated machine is ready", 120)
    _say("a simulated machine is ready through HAProxy")


def _loop() -> str:
    """The document's own way to restart one after the other."""
    found = re.search(r"^for one in .*?^done$", block("for one in"), re.MULTILINE | re.DOTALL)
    assert found
    return found[0]


def _updated(machine: Machine) -> None:
    before = [machine.shows(service, "MainPID") for service in SERVICES]
    machine.run("version=0.1.0\n" + block("for one in"), 240)
    after = [machine.shows(service, "MainPID") for service in SERVICES]
    assert not set(before) & set(after)
    events = machine.run(
        'curl -fsS -H "Authorization: Bearer $(cat token)"'
        " 'http://127.0.0.1:8088/v1/events?since=0&until=now'"
    )
    assert '"to":"ready"' in events and '"to":"offline"' not in events, events[-2000:]
    _say("the update restarted all four, and nobody was called offline")


def _comes_back(machine: Machine) -> None:
    machine.run("systemctl kill --kill-whom=main -s KILL muster-gateway@8080")
    machine.until("curl -fsS http://127.0.0.1:8080/readyz", "a killed gateway is back")
    _say("a killed gateway comes back")
    machine.run("systemctl stop redis-server; systemctl --no-block restart muster-gateway@8081")
    state = "$(systemctl show --value -p ActiveState muster-gateway@8081)"
    lives = f'[ "{state}" = activating ] && curl -fsS http://127.0.0.1:8081/healthz'
    machine.until(lives, "it lives without a store, and is not called ready")
    machine.run("systemctl start redis-server")
    machine.until("systemctl is-active muster-gateway@8081", "it is ready with its store")
    _say("started without a store it is `activating`, and `active` once the store is there")
    machine.run("echo MUSTER_LOG_LEVEL=loud >> /etc/muster/sweeper.env")
    assert machine.tried("systemctl restart muster-sweeper@9091").returncode
    machine.until("systemctl is-failed muster-sweeper@9091", "a wrong setting is told")
    assert machine.shows("sweeper@9091", "ExecMainStatus") == "2"
    said = machine.run("journalctl --no-pager -u muster-sweeper@9091 -n 20")
    assert "MUSTER_LOG_LEVEL" in said, said
    _say("a wrong setting ends it with 2, and it is not started again")


def _taken_away(machine: Machine) -> None:
    machine.run("systemctl stop node")
    machine.run(block("systemctl disable --now"))
    assert machine.run("ls /opt /etc/muster").split() == ["/etc/muster:", "/opt:"]
    assert "0 unit files" in machine.run("systemctl list-unit-files 'muster-*' | cat")
    assert machine.tried("pgrep -f '/opt/[m]uster'").returncode, "something goes on"
    _say("taken away, nothing is left")


if __name__ == "__main__":
    sys.exit(main())
