"""A server whose every word a test writes itself: for what a real gateway says only rarely."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

ACK: dict[str, Any] = {
    "type": "node_register_ack",
    "node_id": "node-SCRIPT",
    "message": "registered",
    "status": "registering",
    "node_token": "token-1",
    "session": 1,
    "version": 1,
    "heartbeat_interval_ms": 400,
    "heartbeat_timeout_ms": 1200,
    "warnings": [],
}


class Peer:
    """One socket a node opened."""

    def __init__(self, ws: ServerConnection) -> None:
        self.ws = ws

    @property
    def headers(self) -> Any:
        """Those of the upgrade request."""
        assert self.ws.request is not None
        return self.ws.request.headers

    async def hear(self, timeout_s: float = 20.0) -> dict[str, Any]:
        """The next frame of the node."""
        frame: dict[str, Any] = json.loads(await asyncio.wait_for(self.ws.recv(), timeout_s))
        return frame

    async def hear_type(self, type_: str, timeout_s: float = 20.0) -> dict[str, Any]:
        """The next frame of a type; others are passed over."""
        async with asyncio.timeout(timeout_s):
            while True:
                frame = await self.hear(timeout_s)
                if frame["type"] == type_:
                    return frame

    async def say(self, type_: str, **fields: Any) -> None:
        await self.ws.send(json.dumps({"type": type_, **fields}))

    async def accept(self, **changes: Any) -> dict[str, Any]:
        """Hears a registration, acknowledges it, and returns it."""
        said = await self.hear_type("node_register")
        await self.ws.send(json.dumps(ACK | changes))
        return said

    async def refuse(self, code: str, **details: Any) -> dict[str, Any]:
        """Hears a registration, refuses it, and returns it."""
        said = await self.hear_type("node_register")
        await self.error(code, **details)
        return said

    async def error(self, code: str, **details: Any) -> None:
        await self.say(
            "node_error", node_id=None, code=code, message=f"{code}!", details=details or None
        )

    async def status(self, status: str, reason: str, version: int) -> None:
        await self.say(
            "node_status",
            node_id="node-SCRIPT",
            status=status,
            previous=None,
            reason=reason,
            message=f"{status}: {reason}",
            timestamp=1,
            version=version,
        )

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes the socket; returns once the node has closed it too."""
        await self.ws.close(code, reason)

    def cut(self) -> None:
        """The connection is gone, without a word."""
        self.ws.transport.abort()

    async def closed(self, timeout_s: float = 20.0) -> None:
        """Returns once the node has closed the socket; what it says until then is passed over."""
        async with asyncio.timeout(timeout_s):
            try:
                while True:
                    await self.ws.recv()
            except ConnectionClosed:
                return


class ScriptedServer:
    """Listens on a free port; `await server.peer()` is the next socket."""

    def __init__(self) -> None:
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._server: Server
        self.url = ""

    async def __aenter__(self) -> ScriptedServer:
        self._server = await serve(self._on_socket, "127.0.0.1", 0, ping_interval=None)
        port = next(iter(self._server.sockets)).getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def peer(self, timeout_s: float = 20.0) -> Peer:
        """The next socket a node opens."""
        return await asyncio.wait_for(self._peers.get(), timeout_s)

    def waiting(self) -> int:
        """How many sockets were opened that no test looked at yet."""
        return self._peers.qsize()

    async def _on_socket(self, ws: ServerConnection) -> None:
        peer = Peer(ws)
        self._peers.put_nowait(peer)
        await ws.wait_closed()
