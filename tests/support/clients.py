"""WebSocket clients of five makers behind one face: what they hear, and how their socket ends.

Each offers compression where it can, and answers pings as it does by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import picows
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

from tests.support.foreign import missing

Said = dict[str, Any]
PONG: Said = {"type": "(pong)"}
"""What `hear` gives for the answer to a ping."""
_SCRIPT = Path(__file__).with_name("client.mjs")


class Client(ABC):
    """One open socket. What comes is kept in order until it is heard."""

    pieces = True
    """Whether it can send one message in several frames."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[Said] = asyncio.Queue()
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @classmethod
    @abstractmethod
    def opened(cls, url: str) -> contextlib.AbstractAsyncContextManager[Client]:
        """A client whose socket is open."""

    @abstractmethod
    async def say(self, *parts: str) -> None:
        """Sends one text message, in as many frames as there are parts."""

    @abstractmethod
    async def say_bytes(self, data: bytes) -> None: ...

    @abstractmethod
    async def ping(self) -> None: ...

    @abstractmethod
    async def close(self, code: int) -> None: ...

    async def hear(self, type_: str) -> Said:
        """The next frame of a type."""
        async with asyncio.timeout(20):
            while (frame := await self.came.get())["type"] != type_:
                pass
            return frame

    async def code(self) -> int:
        """The code that the gateway closed the socket with."""
        async with asyncio.timeout(20):
            return await self.closed

    def _came(self, text: str) -> None:
        self.came.put_nowait(json.loads(text))

    def _ended(self, code: int | None) -> None:
        if not self.closed.done():
            self.closed.set_result(1006 if code is None else code)


@asynccontextmanager
async def _reading(task: asyncio.Task[None]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Websockets(Client):
    """Python's `websockets`."""

    _ws: ClientConnection

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str) -> AsyncIterator[Client]:
        self = cls()
        async with (
            connect(url, proxy=None) as self._ws,
            _reading(asyncio.create_task(self._read())),
        ):
            yield self

    async def _read(self) -> None:
        try:
            async for text in self._ws:
                self._came(str(text))
        except ConnectionClosed:
            pass
        self._ended(self._ws.close_code)

    async def say(self, *parts: str) -> None:
        await self._ws.send(parts[0] if len(parts) == 1 else iter(parts))

    async def say_bytes(self, data: bytes) -> None:
        await self._ws.send(data)

    async def ping(self) -> None:
        await (await self._ws.ping())
        self.came.put_nowait(PONG)

    async def close(self, code: int) -> None:
        await self._ws.close(code)


class Aiohttp(Client):
    """aiohttp's client."""

    pieces = False
    _ws: aiohttp.ClientWebSocketResponse

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str) -> AsyncIterator[Client]:
        self = cls()
        async with (
            aiohttp.ClientSession(trust_env=False) as session,
            session.ws_connect(url, autoping=False, compress=15) as self._ws,
            _reading(asyncio.create_task(self._read())),
        ):
            yield self

    async def _read(self) -> None:
        while True:
            message = await self._ws.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                self._came(message.data)
            elif message.type is aiohttp.WSMsgType.PING:
                await self._ws.pong(message.data)
            elif message.type is aiohttp.WSMsgType.PONG:
                self.came.put_nowait(PONG)
            else:
                if message.type is not aiohttp.WSMsgType.CLOSING:  # that is our own doing
                    self._ended(self._ws.close_code)
                return

    async def say(self, *parts: str) -> None:
        await self._ws.send_str("".join(parts))

    async def say_bytes(self, data: bytes) -> None:
        await self._ws.send_bytes(data)

    async def ping(self) -> None:
        await self._ws.ping(b"x")

    async def close(self, code: int) -> None:
        await self._ws.close(code=code)
        self._ended(self._ws.close_code)


class _Listener(picows.WSListener):
    def __init__(self, client: Picows) -> None:
        super().__init__()
        self._client = client

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        self._client.on_frame(transport, frame)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self._client._ended(None)


class Picows(Client):
    """picows."""

    _transport: picows.WSTransport

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str) -> AsyncIterator[Client]:
        self = cls()
        self._transport, _ = await picows.ws_connect(lambda: _Listener(self), url)
        try:
            yield self
        finally:
            self._transport.disconnect()

    def on_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type is picows.WSMsgType.TEXT:
            self._came(frame.get_payload_as_utf8_text())
        elif frame.msg_type is picows.WSMsgType.PONG:
            self.came.put_nowait(PONG)
        elif frame.msg_type is picows.WSMsgType.CLOSE:
            self._ended(int.from_bytes(frame.get_payload_as_bytes()[:2], "big"))
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    async def say(self, *parts: str) -> None:
        for place, part in enumerate(parts):
            kind = picows.WSMsgType.CONTINUATION if place else picows.WSMsgType.TEXT
            self._transport.send(kind, part.encode(), fin=place == len(parts) - 1)

    async def say_bytes(self, data: bytes) -> None:
        self._transport.send(picows.WSMsgType.BINARY, data)

    async def ping(self) -> None:
        self._transport.send_ping(b"x")

    async def close(self, code: int) -> None:
        self._transport.send_close(picows.WSCloseCode(code))


class Wsproto(Client):
    """wsproto, which knows no sockets."""

    _writer: asyncio.StreamWriter

    def __init__(self) -> None:
        super().__init__()
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._open = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str) -> AsyncIterator[Client]:
        self = cls()
        where = urlsplit(url)
        reader, self._writer = await asyncio.open_connection(where.hostname, where.port)
        extensions: list[Any] = [PerMessageDeflate()]
        self._send(Request(host=where.netloc, target=where.path, extensions=extensions))
        try:
            async with _reading(asyncio.create_task(self._read(reader))):
                async with asyncio.timeout(20):
                    await self._open.wait()
                yield self
        finally:
            self._writer.transport.abort()

    def _send(self, event: Any) -> None:
        self._writer.write(self._ws.send(event))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        text = ""
        while data := await reader.read(65_536):
            self._ws.receive_data(data)
            for event in self._ws.events():
                match event:
                    case AcceptConnection():
                        self._open.set()
                    case TextMessage():
                        text += event.data
                        if event.message_finished:
                            self._came(text)
                            text = ""
                    case Ping():
                        self._send(event.response())
                    case Pong():
                        self.came.put_nowait(PONG)
                    case CloseConnection():
                        if self._ws.state is ConnectionState.REMOTE_CLOSING:
                            self._send(event.response())
                        self._ended(int(event.code))
        self._ended(None)

    async def say(self, *parts: str) -> None:
        for place, part in enumerate(parts):
            self._send(TextMessage(part, message_finished=place == len(parts) - 1))

    async def say_bytes(self, data: bytes) -> None:
        self._send(BytesMessage(data))

    async def ping(self) -> None:
        self._send(Ping(b"x"))

    async def close(self, code: int) -> None:
        self._send(CloseConnection(code=code))


class NodeWs(Client):
    """Node.js's `ws`, in a process of its own that is told what to do line by line."""

    packages: Path
    """Where `ws` is installed."""
    _process: asyncio.subprocess.Process

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str) -> AsyncIterator[Client]:
        self = cls()
        pipe = subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            "node", str(_SCRIPT), url, str(cls.packages), stdin=pipe, stdout=pipe
        )
        opened = asyncio.Event()
        try:
            async with _reading(asyncio.create_task(self._read(opened))):
                async with asyncio.timeout(20):
                    await opened.wait()
                yield self
        finally:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def _read(self, opened: asyncio.Event) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            kind, value = json.loads(line)
            if kind == "open":
                opened.set()
            elif kind == "message":
                self._came(value)
            elif kind == "pong":
                self.came.put_nowait(PONG)
            else:
                self._ended(value)

    async def _tell(self, *what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        await self._process.stdin.drain()

    async def say(self, *parts: str) -> None:
        for place, part in enumerate(parts):
            await self._tell("send", part, place == len(parts) - 1)

    async def say_bytes(self, data: bytes) -> None:
        await self._tell("bytes", list(data))

    async def ping(self) -> None:
        await self._tell("ping")

    async def close(self, code: int) -> None:
        await self._tell("close", code)


CLIENTS: Sequence[type[Client]] = (Websockets, Wsproto, Picows, Aiohttp, NodeWs)


@pytest.fixture(scope="session")
def npm_ws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package `ws` for Node.js, fetched with npm. Where that can't be done its test is skipped;
    in CI it fails."""
    place = tmp_path_factory.mktemp("npm")
    try:
        command = ["npm", "install", "--no-save", "--no-package-lock", "--no-audit", "ws@8"]
        subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=100)
    except (OSError, subprocess.SubprocessError):
        missing("Node.js with npm and a registry of packages")
    NodeWs.packages = place / "node_modules"
    return NodeWs.packages
