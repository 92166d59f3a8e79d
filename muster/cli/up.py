"""`muster up`: the whole system on one machine, in the foreground.

A store (unless one is named), gateways and sweepers are started as processes of their own; when all
answer, what to try next is printed. They end in the order gateways, sweepers, store, so that
nobody loses what it stands on. If one dies by itself everything ends: a system that runs with a
part missing would only look healthy.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from muster.cli.children import Child, end_all, port_is_free
from registry.ports import free_ports

_READY_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 20.0
_DRAIN_WINDOW_S = "2"


class CannotStartError(Exception):
    """The system could not be started; the text says why and what to do."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Plan:
    """What `muster up` was asked for."""

    host: str
    port: int
    gateways: int
    sweepers: int
    redis_url: str | None
    data_dir: Path
    as_json: bool = False
    open_api: bool = False


@dataclass
class System:
    """What was started so far."""

    plan: Plan
    gateway_ports: list[int]
    sweeper_ports: list[int]
    redis_url: str = ""
    gateways: list[Child] = field(default_factory=list)
    sweepers: list[Child] = field(default_factory=list)
    store: list[Child] = field(default_factory=list)

    @property
    def children(self) -> list[Child]:
        """All processes, in the order in which they end."""
        return [*self.gateways, *self.sweepers, *self.store]

    @property
    def reachable_host(self) -> str:
        """The host by which this machine reaches the gateways."""
        host = self.plan.host
        if host in ("0.0.0.0", "::", ""):
            return "127.0.0.1"
        return f"[{host}]" if ":" in host else host

    @property
    def gateway_urls(self) -> list[str]:
        """Where each gateway is reached."""
        scheme = "https" if self.tls else "http"
        return [f"{scheme}://{self.reachable_host}:{port}" for port in self.gateway_ports]

    @property
    def tls(self) -> bool:
        """Whether the environment gives the gateways a certificate."""
        return _is_set("MUSTER_TLS_CERT_FILE")

    @property
    def sweeper_urls(self) -> list[str]:
        """Where each sweeper's health and metrics are."""
        return [f"http://127.0.0.1:{port}" for port in self.sweeper_ports]


def default_data_dir() -> Path:
    """Where the embedded store keeps its data unless told otherwise."""
    base = os.environ.get("XDG_DATA_HOME", "").strip()
    return (Path(base) if base else Path.home() / ".local" / "share") / "muster"


def up(plan: Plan) -> int:
    """Run the system until it is told to end or a part of it dies. Returns an exit status."""
    console = Console(stderr=plan.as_json, highlight=False, soft_wrap=True)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    with _stop_signals() as stopping:
        system: System | None = None
        try:
            system = _prepare(plan)
            _start(system, console, stopping)
            if not stopping.is_set():
                _say_ready(system, console)
                _watch(system, stopping)
        except CannotStartError as error:
            errors.print(str(error), markup=False)
            return error.exit_code
        else:
            return 0
        finally:
            if system:
                _end(system, console)


def _prepare(plan: Plan) -> System:
    if plan.port:
        gateway_ports = [plan.port + number for number in range(plan.gateways)]
    else:
        gateway_ports = free_ports(plan.gateways)
    for number, port in enumerate(gateway_ports):
        if port > 65535 or not port_is_free(plan.host, port):
            raise CannotStartError(
                f"Port {port} on {plan.host} cannot be used (gateway {number} of {plan.gateways} "
                f"listens there). Stop what uses it, or choose others with --port; "
                f"{plan.gateways} in a row are needed.",
                exit_code=2,
            )
    try:
        (plan.data_dir / "logs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStartError(
            f"The data directory {plan.data_dir} cannot be used: {error.strerror}. "
            "Choose another with --data-dir.",
            exit_code=2,
        ) from error
    return System(plan, gateway_ports, free_ports(plan.sweepers))


def _start(system: System, console: Console, stopping: threading.Event) -> None:
    plan = system.plan
    logs = plan.data_dir / "logs"
    environ = dict(os.environ)
    environ.setdefault("MUSTER_DRAIN_WINDOW_S", _DRAIN_WINDOW_S)
    environ.setdefault("PYTHONUNBUFFERED", "1")
    with console.status("Starting the store …"):
        if plan.redis_url:
            environ["MUSTER_REDIS_URL"] = plan.redis_url
        else:
            where = _start_store(system, environ, stopping)
            if where is None:
                return
            environ["MUSTER_REDIS_URL"] = where["url"]
            if not environ.get("MUSTER_SECRET", "").strip():
                environ["MUSTER_SECRET"] = Path(where["secret_file"]).read_text().strip()
    system.redis_url = environ["MUSTER_REDIS_URL"]
    for number, port in enumerate(system.sweeper_ports):
        own = {"MUSTER_HOST": "127.0.0.1", "MUSTER_SWEEPER_PORT": str(port)}
        name = f"sweeper-{number}"
        system.sweepers.append(Child(name, ["sweeper"], environ | own, logs / f"{name}.log"))
    for number, port in enumerate(system.gateway_ports):
        own = {"MUSTER_HOST": plan.host, "MUSTER_PORT": str(port)}
        if plan.open_api:
            own["MUSTER_OPEN_API"] = "true"
        name = f"gateway-{number}"
        system.gateways.append(Child(name, ["gateway"], environ | own, logs / f"{name}.log"))
    with console.status("Waiting for the gateways …") as status:
        for number, port in enumerate(system.gateway_ports):
            status.update(f"Waiting for gateway {number + 1} of {plan.gateways} …")
            _wait_until_ready(system, port, stopping)


def _start_store(
    system: System, environ: dict[str, str], stopping: threading.Event
) -> dict[str, Any] | None:
    plan = system.plan
    arguments = ["registry", "--json", "--data-dir", str(plan.data_dir)]
    log_path = plan.data_dir / "logs" / "store.log"
    store = Child("store", arguments, environ, log_path, reads_output=True)
    system.store.append(store)
    output = store.process.stdout
    assert output is not None
    while not stopping.is_set():
        if select.select([output], [], [], 0.1)[0]:
            line = output.readline()
            if line:
                where: dict[str, Any] = json.loads(line)
                return where
            store.process.wait()
            raise CannotStartError(f"The store could not be started.\n{store.log_tail()}")
    return None


def _wait_until_ready(system: System, port: int, stopping: threading.Event) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    answer = "no answer"
    while not stopping.is_set():
        _refuse_the_dead(system)
        ready, answer = ask_ready(system.reachable_host, port, tls=system.tls)
        if ready:
            return
        if time.monotonic() > deadline:
            raise CannotStartError(
                f"The gateway on port {port} was not ready within {_READY_TIMEOUT_S:g} s: {answer}"
            )
        stopping.wait(0.05)


def ask_ready(host: str, port: int, *, tls: bool = False) -> tuple[bool, str]:
    """Whether the process there calls itself ready, and what it said.

    Its certificate is not checked: it names the host others use, and nothing secret is said.
    """
    connection = _connection(host.strip("[]"), port, tls=tls)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        text = response.read(2000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return False, str(error) or type(error).__name__
    finally:
        connection.close()
    return response.status == 200, f"{response.status} {text}"


def _connection(host: str, port: int, *, tls: bool) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection(host, port, timeout=2)
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=2, context=unchecked)


def _watch(system: System, stopping: threading.Event) -> None:
    while not stopping.wait(0.2):
        _refuse_the_dead(system)


def _refuse_the_dead(system: System) -> None:
    for child in system.children:
        if child.ended:
            status = child.process.returncode
            how = f"signal {-status}" if status < 0 else f"status {status}"
            raise CannotStartError(
                f"{child.name} ended unexpectedly with {how}; the rest is stopped too. "
                f"Its last lines ({child.log_path}):\n{child.log_tail()}"
            )


def _end(system: System, console: Console) -> None:
    with console.status("Stopping …") as status:
        groups: Sequence[tuple[str, list[Child]]] = (
            ("gateways", system.gateways),
            ("sweepers", system.sweepers),
            ("store", system.store),
        )
        for name, children in groups:
            status.update(f"Stopping the {name} …")
            end_all(children, _END_TIMEOUT_S)
            for child in children:
                if child.process.stdout:
                    child.process.stdout.close()


def _say_ready(system: System, console: Console) -> None:
    plan = system.plan
    embedded = bool(system.store)
    if plan.as_json:
        line = {
            "gateways": system.gateway_urls,
            "sweepers": system.sweeper_urls,
            "store": without_password(system.redis_url),
            "data_dir": str(plan.data_dir),
            "pids": {child.name: child.process.pid for child in system.children},
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        return
    first = system.gateway_urls[0]
    curl = "curl --cacert CA.pem" if system.tls else "curl"
    lines = [f"Gateway    {url}" for url in system.gateway_urls]
    lines.append(f"API        {first}/docs")
    lines += [f"Sweeper    {url}   health and metrics" for url in system.sweeper_urls]
    lines.append(f"Store      {without_password(system.redis_url)}")
    if embedded:
        lines.append(f"Data       {plan.data_dir}")
    else:
        lines.append(f"Logs       {plan.data_dir / 'logs'}")
        if not _is_set("MUSTER_SECRET"):
            lines.append("No fleet secret: nodes get no tokens. Set MUSTER_SECRET to change that.")
    if _is_set("MUSTER_API_TOKENS") or _is_set("MUSTER_API_TOKENS_FILE"):
        lines.append("/v1 asks for a token: add  -H 'Authorization: Bearer TOKEN'")
    elif not plan.open_api and not _is_set("MUSTER_OPEN_API"):
        lines.append("No API tokens: /v1 is open on loopback only. See `muster token --help`.")
    lines += [
        "",
        "Try:",
        f"  {curl} {first}/readyz",
        f"  {curl} {first}/v1/nodes",
        "",
        "A first conversation:",
        f"  {sys.executable} -m websockets ws{first.removeprefix('http')}/ws/node",
        "and paste, each as one line:",
        f"  {_REGISTER}",
        f"  {_BEAT}   (three times: it becomes ready)",
        "",
        f"  {curl} -X POST {first}/v1/select -H 'content-type: application/json' \\",
        """       -d '{"kind":"nmt","src_lang":"zh","tgt_lang":"en"}'""",
        "",
        "Ctrl-C ends it all.",
    ]
    console.print("\n".join(lines), markup=False)


_REGISTER = json.dumps(
    {
        "type": "node_register",
        "version": "1.0.0",
        "platform": "linux",
        "hardware": {
            "cpu_cores": 16,
            "memory_gb": 32,
            "gpus": [{"name": "RTX 4090", "memory_gb": 24}],
        },
        "installed_models": [
            {
                "model_id": "nmt-zh-en",
                "kind": "nmt",
                "version": "1",
                "src_lang": "zh",
                "tgt_lang": "en",
            }
        ],
    },
    separators=(",", ":"),
)
_BEAT = '{"type":"node_heartbeat"}'


def _is_set(variable: str) -> bool:
    return bool(os.environ.get(variable, "").strip())


def without_password(url: str) -> str:
    """The URL with its password masked, to be shown."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    credentials, at, host = authority.rpartition("@")
    if not separator or not at:
        return url
    user, colon, _ = credentials.partition(":")
    return f"{scheme}://{user}{colon}{'********' if colon else ''}@{host}{slash}{path}"


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set. More of them change nothing: ending takes seconds."""
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
