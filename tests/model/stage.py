"""Where the model plays: a store whose clock is the machine's, and with the users of `deploy/store`
where it knows users."""

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
from tests.support.users import GATEWAY, SWEEPER, as_user, with_users


@contextmanager
def on_valkey(directory: Path, library: Path) -> Iterator[Stage]:
    """The embedded Valkey, which reads its time in a file; `library` is libfaketime."""
    clock = Clock(directory / "clock")
    said = faketime(directory / "clock", library)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in said.items()]
    launcher = directory / "valkey"
    launcher.write_text("\n".join(["#!/bin/sh", *lines, f'exec {find_server()} "$@"', ""]))
    launcher.chmod(0o700)
    extra = ("--appendonly", "no", *with_users(directory / "data"))
    server = EmbeddedStore.start(directory / "data", extra=extra, server=launcher)
    loop = asyncio.new_event_loop()

    urls = (server.url, as_user(server.url, GATEWAY), as_user(server.url, SWEEPER))
    by_hand, of_gateways, of_sweepers = (
        loop.run_until_complete(Store.connect(url)) for url in urls
    )
    try:
        yield Stage(loop, by_hand, of_gateways, of_sweepers, clock)
    finally:
        for store in (by_hand, of_gateways, of_sweepers):
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
            yield Stage(loop, store, store, store, clock)
        finally:
            loop.run_until_complete(store.close())
            loop.close()
