"""Builds both images and runs what they hold: `python -m tests.deploy.images`, as root.

There is no container engine here: buildah builds in a chroot, and what it made is run in mount
namespaces of our own, its root remounted read-only and by the user the image names. The base is a
stand-in, a Debian with its own Python, because the real one comes from a registry. It prints a line
for each thing seen, and how long all of it took; the first that fails ends it. All of it went well:
then deploy/images.txt says so.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from registry.embedded import EmbeddedStore
from registry.ports import free_ports
from tests.deploy.chart import environment, rendered, workloads

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "muster-deploy"
SEEN = ROOT / "deploy" / "images.txt"
BASE = "localhost/muster-base:bookworm"
PACKAGES = "python3,python3-venv,python-is-python3,ca-certificates"
LISTED = "/opt/muster/muster.cdx.json"
IMAGES = {"muster": "deploy/Dockerfile", "muster-agent": "deploy/agent/Dockerfile"}


def main() -> int:
    """The exit status."""
    began = time.monotonic()
    for name in ("buildah", "mmdebstrap", "unshare"):
        if shutil.which(name) is None:
            sys.exit(
                f"{name} is not here: apt-get install --no-install-recommends buildah mmdebstrap"
            )
    if os.geteuid() != 0:
        sys.exit("only root may enter the images")
    _print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.machine()}, {os.cpu_count()} CPUs")
    _base()
    for name, dockerfile in IMAGES.items():
        at = time.monotonic()
        _build(name, dockerfile)
        _say(f"{dockerfile} builds, in {time.monotonic() - at:.0f} s")
        _described(name)
    with _mounted("muster") as server, _mounted("muster-agent") as agent:
        for name, image in (("muster", server), ("muster-agent", agent)):
            _nothing_to_write(name, image)
            _sized(name, image)
            _listed(name, image)
        _runs(server, agent)
    _print(f"all of it, without the stand-in base: {time.monotonic() - began:.0f} s")
    SEEN.write_text("".join(f"{line}\n" for line in _PRINTED), "utf-8")
    return 0


_PRINTED: list[str] = []


def _print(line: str) -> None:
    _PRINTED.append(line)
    print(line, flush=True)


def _say(text: str) -> None:
    _print(f"ok  {text}")


def _buildah(*arguments: str) -> str:
    done = subprocess.run(
        ["buildah", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"buildah {shlex.join(arguments)}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout.strip()


def _base() -> None:
    """The stand-in for the image that the real build begins with; made once, and kept."""
    archive = CACHE / "base-bookworm.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = archive.with_suffix(".draft.tar")
        command = ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm"]
        subprocess.run([*command, str(draft)], check=True, capture_output=True)
        draft.rename(archive)
    if BASE not in _buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines():
        container = _buildah("from", "scratch")
        _buildah("add", "--quiet", container, str(archive), "/")
        _buildah("commit", "--quiet", container, BASE)
        _buildah("rm", container)


def _build(name: str, dockerfile: str) -> None:
    certificates = "/etc/ssl/certs"
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as pip:
        pip.write(f"[global]\ncert = {certificates}/ca-certificates.crt\n")
        pip.flush()
        _buildah(
            *("build", "--isolation", "chroot", "--format", "docker", "--pull-never"),
            *("--network", "host", "--no-cache", "--secret", f"id=pip,src={pip.name}"),
            *("--volume", f"{certificates}:{certificates}:ro", "--build-arg", f"BASE={BASE}"),
            *("-f", dockerfile, "-t", f"localhost/{name}:test", "."),
        )


def _config(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_buildah("inspect", "--type", "image", _tag(name)))
    config: dict[str, Any] = found["Docker"]["config"]
    return config


def _tag(name: str) -> str:
    return f"localhost/{name}:test"


def _described(name: str) -> None:
    config = _config(name)
    assert config["User"] == "65532:65532", config["User"]
    assert config["StopSignal"] == "SIGTERM", config
    assert config["Entrypoint"][0] == "muster", config["Entrypoint"]
    if name == "muster":
        assert config["Healthcheck"]["Test"][0] == "CMD", config
        assert set(config["ExposedPorts"]) == {"8080/tcp", "9090/tcp"}, config
    _say(f"{name}: user 65532, SIGTERM, entry point and ports are in its description")


class Image:
    """An image's files, mounted, and how a process is started in them."""

    def __init__(self, root: Path, config: dict[str, Any]) -> None:
        self.root = root
        self.config = config
        # Where a folder that may be written to is mounted.
        self.writable = "/var/lib/muster" if (root / "var/lib/muster").is_dir() else "/mnt"

    def command(self, *arguments: str, environ: dict[str, str], state: str = "") -> list[str]:
        """What runs `arguments` in the image: read-only root, its user, its environment."""
        given = dict(pair.split("=", 1) for pair in self.config["Env"]) | environ
        user = self.config["User"]
        steps = [
            "mount --make-rprivate /",
            f"mount --rbind {self.root} {self.root}",
            f"mount -o remount,bind,ro {self.root}",
            f"mount -t proc proc {self.root}/proc",
            f"mount --rbind /dev {self.root}/dev",
        ]
        if state:
            steps.append(f"mount --bind {state} {self.root}{self.writable}")
        words = [f"{k}={v}" for k, v in given.items()]
        entered = ["chroot", f"--userspec={user}", str(self.root), "env", "-i", *words, *arguments]
        steps.append("exec " + shlex.join(entered))
        return ["unshare", "--mount", "sh", "-ec", "\n".join(steps)]

    def run(self, *arguments: str, environ: dict[str, str] | None = None, state: str = "") -> str:
        """What a short command prints; ends everything if it fails."""
        command = self.command(*arguments, environ=environ or {}, state=state)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            sys.exit(f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self, *arguments: str, environ: dict[str, str], state: str = "") -> Running:
        """A process that goes on."""
        log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115 - lives with it
        process = subprocess.Popen(
            self.command(*arguments, environ=environ, state=state),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        return Running(process, log.name, log)


class Running:
    """A process in an image."""

    def __init__(self, process: subprocess.Popen[bytes], log: str, file: object) -> None:
        self.process = process
        self.log = log
        self._file = file

    def stop(self) -> int:
        """Its exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def _mounted(name: str) -> Iterator[Image]:
    container = _buildah("from", "--pull-never", _tag(name))
    try:
        yield Image(Path(_buildah("mount", container)), _config(name))
    finally:
        _buildah("umount", container)
        _buildah("rm", container)


def _nothing_to_write(name: str, image: Image) -> None:
    """With a read-only root there is nothing; without it, nothing of ours."""
    user = image.config["User"].split(":")[0]
    command = [
        "chroot",
        f"--userspec={user}:{user}",
        str(image.root),
        "find",
        "/opt",
        "/usr",
        "/etc",
    ]
    done = subprocess.run(
        [*command, "-writable", "-not", "-type", "l"], capture_output=True, text=True
    )
    assert done.stdout == "", done.stdout[:500]
    _say(f"{name}: its user may change nothing under /opt, /usr and /etc")


def _sized(name: str, image: Image) -> None:
    done = subprocess.run(
        ["du", "--summarize", "--block-size=1M", str(image.root / "opt")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    _say(f"{name}: {done.stdout.split()[0]} MiB of its own, beside what the base has")


def _listed(name: str, image: Image) -> None:
    """Its list of what it is made of names what is installed, and nothing else."""
    made = json.loads(image.run("cat", LISTED))
    named = {(c["name"], c["version"]) for c in made["components"]}
    asked = "from importlib.metadata import *; [print(d.name, d.version) for d in distributions()]"
    pairs = [line.split() for line in image.run("python", "-c", asked).splitlines()]
    there = {(re.sub("[-_.]+", "-", n).lower(), version) for n, version in pairs if n != "muster"}
    assert named == there, named ^ there
    assert {c["scope"] for c in made["components"]} == {"required"}
    assert ("nvidia-ml-py" in dict(named)) == (name == "muster-agent")
    _say(f"{name}: {LISTED} names the {len(named)} packages that are installed, and no other")


def _until(true: Callable[[], Any], what: str, running: Running) -> Any:
    deadline = time.monotonic() + 30
    while True:
        with suppress(httpx.TransportError):
            if found := true():
                return found
        if time.monotonic() > deadline or running.process.poll() is not None:
            sys.exit(f"not seen: {what}\n{Path(running.log).read_text()[-3000:]}")
        time.sleep(0.1)


def _runs(server: Image, agent: Image) -> None:
    version = server.run("muster", "version").strip()
    _say(f"muster version says {version}")
    # What the chart runs in them besides: a pause before the end, the folder's owner, a test.
    server.run("sh", "-c", "sleep 0 && date +%s | grep -q '[0-9]' && printf ''")
    agent.run("chown", "--version")
    _say("what the chart runs in them is there")
    gateway_port, sweeper_port = free_ports(2)
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryDirectory() as state:
        os.chown(state, 65532, 65532)
        store = EmbeddedStore.start(Path(data))
        environ = {
            "MUSTER_REDIS_URL": store.url,
            "MUSTER_PORT": str(gateway_port),
            "MUSTER_SWEEPER_PORT": str(sweeper_port),
            "MUSTER_ALLOW_SIMULATED": "true",
            "MUSTER_OPEN_API": "true",
            "MUSTER_HEARTBEAT_INTERVAL_S": "1",
        }
        url = f"http://127.0.0.1:{gateway_port}"
        ask = httpx.Client(trust_env=False)
        started: list[Running] = []
        try:
            _parts(server, agent, environ, url, sweeper_port, state, ask, started)
        finally:
            for running in started:
                if running.process.poll() is None:
                    running.process.kill()
                    running.process.wait()
            ask.close()
            store.stop()


def _parts(
    server: Image,
    agent: Image,
    environ: dict[str, str],
    url: str,
    sweeper_port: int,
    state: str,
    ask: httpx.Client,
    started: list[Running],
) -> None:
    entry = [str(word) for word in server.config["Entrypoint"]]
    check = [str(word) for word in server.config.get("Healthcheck", {})["Test"][1:]]
    at = time.monotonic()
    gateway = server.start(*entry, "gateway", environ=environ)
    started.append(gateway)
    _until(lambda: ask.get(f"{url}/healthz").status_code == 200, "/healthz", gateway)
    _say(f"the gateway answers /healthz after {time.monotonic() - at:.1f} s, its root read-only")
    server.run(*check, environ=environ)
    _say("the image's health check says 0 for it")
    sweeper = server.start(*entry, "sweeper", environ=environ)
    started.append(sweeper)
    ready = f"http://127.0.0.1:{sweeper_port}/readyz"
    _until(lambda: ask.get(ready).status_code == 200, "the sweeper's /readyz", sweeper)
    _say("the sweeper answers /readyz")

    words = [str(word) for word in agent.config["Entrypoint"]]
    node_environ = {
        "MUSTER_AGENT_SERVERS": url.replace("http", "ws"),
        "MUSTER_AGENT_SIMULATE": "RTX 4090:24",
        "MUSTER_AGENT_STATUS_PORT": str(free_ports(1)[0]),
        "MUSTER_AGENT_LOCALE": "en",
    }
    node = agent.start(*words, "run", environ=node_environ, state=state)
    started.append(node)

    def is_there() -> bool:
        """Whether the gateway has the machine, and its beats are judged."""
        nodes = ask.get(f"{url}/v1/nodes").json()["nodes"]
        return bool(nodes) and nodes[0]["status"] in ("registering", "ready", "degraded")

    _until(is_there, "the machine in the list", node)
    _say("a simulated machine of the agent's image is in the fleet")
    agent.run(*words, "status", environ=node_environ, state=state)
    _say("`muster agent status` in it, the health check of Compose, says 0")
    assert any(Path(state).iterdir()), "no identity was kept"
    _test_of_the_chart(server, url, state)
    assert node.stop() == 0, Path(node.log).read_text()[-2000:]
    assert gateway.stop() == 0, Path(gateway.log).read_text()[-2000:]
    assert sweeper.stop() == 0, Path(sweeper.log).read_text()[-2000:]
    _say("agent, gateway and sweeper end with 0 after SIGTERM")
    command = server.command(*check, environ=environ)
    assert subprocess.run(command, check=False).returncode == 1
    _say("and then the health check says 1")


def _test_of_the_chart(server: Image, url: str, state: str) -> None:
    """What `helm test` runs, in the image in which it does."""
    objects = rendered("dev")
    (hook,) = [workload for workload in workloads(objects) if workload.part == "test"]
    container = hook.spec["containers"][0]
    own = environment(hook, objects) | {
        "MUSTER_SERVER": url,
        "MUSTER_AGENT_SERVERS": url.replace("http", "ws"),
        "MUSTER_AGENT_STATE_DIR": f"{server.writable}/test",
        "MUSTER_AGENT_MODELS_FILE": f"{server.writable}/models.toml",
    }
    del own["MUSTER_TOKEN"]
    words = [*container["command"], *container["args"]]
    tester = server.start(*words, environ=own, state=state)
    status = tester.process.wait(60)
    assert status == 0, Path(tester.log).read_text()[-3000:]
    _say("the chart's own test sees a machine become ready, in the server's image")


if __name__ == "__main__":
    sys.exit(main())
