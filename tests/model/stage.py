"""Where the model plays: a store whose clock is the machine's."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fakeredis

from registry.embedded import EmbeddedStore, find_server
from registry.store import Store
from tests.model.clock import Clock, faketime
from tests.model.machine import Stage


@contextmanager
def on_valkey(directory: Path, library: Path) -> Iterator[Stage]:
    """The embedded Valkey, which reads its time in a file; `library` is libfaketime."""
    clock = Clock(directory / "clock")
    said = faketime(directory / "clock", library)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in said.items()]
    launcher = directory / "valkey"
    launcher.write_text("\n".join(["#!/bin/sh", *lines, f'exec {find_server()} "$@"', ""]))
    launcher.chmod(0o700)
    server = EmbeddedStore.start(directory / "data", extra=("--appendonly", "no"), server=launcher)
    loop = asyncio.new_event_loop()
    store = loop.run_until_complete(Store.connect(server.url))
    try:
        yield Stage(loop, store, clock)
    finally:
        loop.run_until_complete(store.close())
        loop.close()
        server.kill()


@contextmanager
def on_fakeredis() -> Iterator[Stage]:
    """fakeredis, which is told the time."""
    clock = Clock()
    loop = asyncio.new_event_loop()
    with clock.of_fakeredis():
        client = fakeredis.FakeAsyncRedis(server_type="valkey")
        store = Store(client, single=True, genuine=False)
        try:
            yield Stage(loop, store, clock)
        finally:
            loop.run_until_complete(store.close())
            loop.close()
