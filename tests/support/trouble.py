"""Brings a real store into states in which it answers with errors, and counts those it gave.

Every one is a context manager that ends the state again; none of them makes an error up.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from registry.embedded import EmbeddedStore, StoreReplyError
from registry.ports import free_port
from tests.support.launching import said, wait_until

ENDLESS = "while true do end"


def met(servers: Sequence[EmbeddedStore], error: str) -> int:
    """How often the servers answered with this error since `forget_met`."""
    found = 0
    for server in servers:
        count = said(server, "errorstats").get(f"errorstat_{error}", "count=0")
        found += int(count.removeprefix("count="))
    return found


def forget_met(servers: Sequence[EmbeddedStore]) -> None:
    """Begins counting anew."""
    for server in servers:
        server.command("CONFIG", "RESETSTAT")


@contextlib.contextmanager
def configured(servers: Sequence[EmbeddedStore], name: str, value: str) -> Iterator[None]:
    """One directive of the servers' configuration is another while this lasts."""
    former = [server.command("CONFIG", "GET", name)[1] for server in servers]
    for server in servers:
        server.command("CONFIG", "SET", name, value)
    try:
        yield
    finally:
        for server, value_ in zip(servers, former, strict=True):
            server.command("CONFIG", "SET", name, value_)


@contextlib.contextmanager
def out_of_memory(servers: Sequence[EmbeddedStore]) -> Iterator[None]:
    """OOM: more memory is in use than there may be."""
    with configured(servers, "maxmemory", "1"):
        yield


@contextlib.contextmanager
def too_few_replicas(servers: Sequence[EmbeddedStore]) -> Iterator[None]:
    """NOREPLICAS: writes are wanted on a replica, and there is none."""
    with configured(servers, "min-replicas-to-write", "1"):
        yield


@contextlib.contextmanager
def read_only(servers: Sequence[EmbeddedStore]) -> Iterator[None]:
    """READONLY: the server has become a replica, here of nobody who answers."""
    nobody = str(free_port())
    for server in servers:
        server.command("REPLICAOF", "127.0.0.1", nobody)
    try:
        yield
    finally:
        for server in servers:
            server.command("REPLICAOF", "NO", "ONE")


@contextlib.contextmanager
def busy(servers: Sequence[EmbeddedStore]) -> Iterator[None]:
    """BUSY: somebody's script does not come to an end."""
    with configured(servers, "busy-reply-threshold", "20"):
        threads = [threading.Thread(target=_run_endless, args=[server]) for server in servers]
        for thread in threads:
            thread.start()
        try:
            for server in servers:
                wait_until(partial(_refuses, server, "BUSY"), "the store is busy")
            yield
        finally:
            for server in servers:
                with contextlib.suppress(StoreReplyError):  # it may have ended by itself
                    server.command("SCRIPT", "KILL")
            for thread in threads:
                thread.join()
            for server in servers:
                wait_until(partial(_is_free, server), "the store is free")


def _run_endless(server: EmbeddedStore) -> None:
    with contextlib.suppress(OSError, StoreReplyError):  # nobody waits for it, it is killed
        server.command("EVAL", ENDLESS, "0")


class Loading:
    """LOADING: a server is killed, starts again, and takes its time to read its data: so long for
    each key, until all are read or this ends.

    `store` is the server, after it was killed the one that took its place. It should hold some
    hundreds of bytes for every key that is to be waited for."""

    def __init__(
        self,
        store: EmbeddedStore,
        key_delay_us: int = 10_000,
        *,
        extra: Sequence[str] = (),
        server: Path | str | None = None,
    ) -> None:
        self.store = store
        self._server = server
        self._extra = [
            *extra,
            *("--key-load-delay", str(key_delay_us)),
            *("--loading-process-events-interval-bytes", "1024"),
        ]

    def __enter__(self) -> Loading:
        # Only a snapshot is loaded with a pause between keys in which questions are answered.
        self.store.command("BGREWRITEAOF")
        wait_until(self._is_rewritten, "the snapshot is written")
        self.store.kill()
        self._thread = threading.Thread(target=self._start)
        self._thread.start()
        wait_until(lambda: _refuses(self.store, "LOADING"), "the store is loading")
        return self

    def __exit__(self, *_: object) -> None:
        self.store.command("CONFIG", "SET", "key-load-delay", "0")
        self._thread.join()

    @property
    def lasts(self) -> bool:
        """Whether the server is still loading."""
        return self._thread.is_alive()

    def _is_rewritten(self) -> bool:
        info = said(self.store, "persistence")
        return (
            info["aof_rewrite_in_progress"] == "0"
            and info["aof_rewrite_scheduled"] == "0"
            and info["aof_last_bgrewrite_status"] == "ok"
        )

    def _start(self) -> None:
        former = self.store
        self.store = EmbeddedStore.start(
            former.data_dir, former.port, self._extra, server=self._server
        )


def _is_free(server: EmbeddedStore) -> bool:
    try:
        return bool(server.command("PING") == "PONG")
    except StoreReplyError:
        return False


def _refuses(server: EmbeddedStore, error: str) -> bool:
    try:
        server.command("PING")
    except StoreReplyError as reply:
        return str(reply).startswith(error)
    except OSError:  # not listening yet
        pass
    return False
