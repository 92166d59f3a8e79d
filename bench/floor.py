"""The gateway's floor: uvicorn's own websockets-sansio, frames decoded, counted and dropped."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import uvicorn

_ACK = '{"type":"node_register_ack"}'


class Floor:
    """The least an ASGI application can do with heartbeats."""

    def __init__(self) -> None:
        self.frames = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._socket(receive, send)
        elif scope["type"] == "http":
            body = f"frames {self.frames}\n".encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})

    async def _socket(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] != "websocket.disconnect":
            message = msgspec.json.decode(event["text"])
            if message["type"] == "node_register":
                await send({"type": "websocket.send", "text": _ACK})
            else:
                self.frames += 1


if __name__ == "__main__":
    uvicorn.run(
        Floor(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        ws="websockets-sansio",
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        lifespan="off",
        log_level="warning",
        access_log=False,
        backlog=4096,
    )
