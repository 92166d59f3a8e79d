"""What is fuzzed: each takes any bytes, and raises only where the program is wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

from gateway.api.problems import CODES
from muster.wire.beating import heartbeat_of, short_heartbeat
from muster.wire.codec import JSON, MSGPACK, Codec, Malformed
from muster.wire.invalid import WireError
from muster.wire.messages import Heartbeat, Register
from muster.wire.reading import read
from registry.registry import Registry
from registry.settings import RegistrySettings
from registry.store import Store
from tests.support.api import Api, token
from tests.support.fleet import Fleet
from tests.support.socket import able

Run = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True)
class Target:
    """One of them. `reads`: the modules whose lines are worth reaching."""

    name: str
    run: Run
    reads: tuple[str, ...]


@asynccontextmanager
async def targets(store: Store) -> AsyncIterator[list[Target]]:
    """All of them, over a store of their own, which they fill."""
    registry = Registry(store, RegistrySettings())
    wire = ("muster/wire/",)
    yield [
        Target("json", _frames(JSON), wire),
        Target("msgpack", _frames(MSGPACK), wire),
        Target("short", _short, wire),
        Target("http", _Asked(Api(registry, api_burst=1_000_000_000)), ("gateway/",)),
        Target("scripts", _Written(registry), ("registry/", "gateway/")),
    ]


def _frames(codec: Codec) -> Run:
    async def run(data: bytes) -> None:
        """A frame is a message, or is refused in words that can be sent."""
        try:
            value = codec.decode(data)
        except Malformed:
            pass
        else:
            # What was read can be said again, and is the same then.
            assert _same(codec.decode(codec.encode(value)), value)
        try:
            message = read(data, codec)
        except WireError as error:
            for spoken in (JSON, MSGPACK):
                spoken.encode(error.details)
        else:
            assert msgspec.json.encode(message)

    return run


def _same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)


async def _short(data: bytes) -> None:
    """The short way takes nothing that the long way refuses, and understands it in the same way."""
    message = short_heartbeat(data)
    if message is None:
        return
    long = read(data.decode(), JSON)
    assert isinstance(long, Heartbeat)
    at_once = ("node_id", "usage", "health_ok")
    assert all(_same(getattr(long, name), getattr(message, name)) for name in at_once)
    later = ("timestamp", "health_reason", "raw")
    whole = heartbeat_of(message.frame)
    assert all(_same(getattr(long, name), getattr(whole, name)) for name in later)


class _Asked:
    """A request to the API: a line with method and target, then the body. No answer is 5xx, and
    every refusal is a problem that the document knows."""

    def __init__(self, api: Api) -> None:
        self._app = api.app
        self._known = set(CODES)

    async def __call__(self, data: bytes) -> None:
        line, _, body = data.partition(b"\n")
        method, _, target = line.decode("latin-1").partition(" ")
        path, _, query = target.partition("?")
        if not method.isalpha() or not path.startswith("/v1/") or path.startswith("/v1/events"):
            return
        sent: list[Any] = []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method.upper(),
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": [
                (b"host", b"localhost"),
                (b"authorization", f"Bearer {token('admin')}".encode()),
                (b"content-type", b"application/json"),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8080),
            "app": self._app,
        }

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        status = sent[0]["status"]
        assert status < 500, sent
        if status >= 400:
            text = b"".join(message.get("body", b"") for message in sent[1:])
            if method.upper() != "HEAD":
                assert json.loads(text)["code"] in self._known


class _Written:
    """A frame that is a registration is written by the scripts, read again, and beats."""

    def __init__(self, registry: Registry) -> None:
        self._fleet = Fleet(registry)
        self._registry = registry
        self._api = Api(registry, api_burst=1_000_000_000)

    async def __call__(self, data: bytes) -> None:
        try:
            message = read(data, JSON)
        except WireError:
            return
        if not isinstance(message, Register):
            return
        node_id = message.node_id or "node-FUZZED00"
        await self._fleet.register(node_id, **able(message))
        await self._fleet.beat(node_id)
        assert (await self._registry.node(node_id)) is not None
        shown = await self._api.ask("GET", f"/v1/nodes/{node_id}")
        assert shown.status_code == 200, shown.text
        for name, value in list(message.labels.items())[:2]:
            wanted = {"labels": {name: value}, "limit": 1}
            found = await self._api.ask("POST", "/v1/select", wanted)
            assert found.status_code in (200, 400, 404), found.text
        await self._registry.store.client.flushall()
