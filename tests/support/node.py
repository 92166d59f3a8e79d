"""A node as the document describes it, over a real socket, keeping what it was told."""

from __future__ import annotations

import asyncio
import copy
import json
from types import TracebackType
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

EXAMPLE: dict[str, Any] = {
    "type": "node_register",
    "node_id": None,
    "version": "1.0.0",
    "platform": "windows",
    "hardware": {
        "cpu_cores": 16,
        "memory_gb": 32,
        "gpus": [{"name": "RTX 3070", "memory_gb": 8}],
    },
    "installed_models": [
        {
            "model_id": "mdl-nmt-zh-en-base-v1",
            "kind": "nmt",
            "src_lang": "zh",
            "tgt_lang": "en",
            "dialect": None,
            "version": "1.0.0",
            "enabled": True,
        }
    ],
    "features_supported": {
        "emotion_detection": True,
        "voice_style_detection": False,
        "speech_rate_detection": True,
    },
    "accept_public_jobs": True,
}


class Node:
    """One socket. `told` is every frame received, oldest first."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.options = options
        self.told: list[dict[str, Any]] = []
        self.node_id: str | None = None
        self.token: str | None = None
        self.version = 0
        self.ws: ClientConnection

    async def __aenter__(self) -> Node:
        self.ws = await connect(self.url, compression=None, proxy=None, **self.options)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.ws.close()

    async def say(self, message: dict[str, Any] | str | bytes) -> None:
        await self.ws.send(json.dumps(message) if isinstance(message, dict) else message)

    async def hear(self, timeout_s: float = 20.0) -> dict[str, Any]:
        """The next frame."""
        frame: dict[str, Any] = json.loads(await asyncio.wait_for(self.ws.recv(), timeout_s))
        self.told.append(frame)
        return frame

    async def hear_type(self, type_: str, timeout_s: float = 20.0) -> dict[str, Any]:
        """The next frame of a type; others are kept in `told`."""
        async with asyncio.timeout(timeout_s):
            while True:
                frame = await self.hear(timeout_s)
                if frame["type"] == type_:
                    return frame

    async def hear_status(self, status: str, timeout_s: float = 20.0) -> dict[str, Any]:
        """The next `node_status` with this status."""
        async with asyncio.timeout(timeout_s):
            while True:
                frame = await self.hear_type("node_status", timeout_s)
                if frame["status"] == status:
                    return frame

    async def close_code(self, timeout_s: float = 20.0) -> int:
        """The code the server closes this socket with; frames before it are kept."""
        async with asyncio.timeout(timeout_s):
            try:
                while True:
                    await self.hear(timeout_s)
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 1006

    async def register(self, **changes: Any) -> dict[str, Any]:
        """Registers with the document's own example and returns the answer, ack or error."""
        await self.say({**copy.deepcopy(EXAMPLE), **changes})
        while True:
            answer = await self.hear()
            if answer["type"] in ("node_register_ack", "node_error"):
                break
        if answer["type"] == "node_register_ack":
            self.node_id = answer["node_id"]
            self.token = answer.get("node_token", self.token)
        return answer

    async def beat(self, **fields: Any) -> None:
        await self.say({"type": "node_heartbeat", "node_id": self.node_id, **fields})

    async def become_ready(self, **changes: Any) -> dict[str, Any]:
        """Registers, beats three times, and waits to be told that it is ready."""
        answer = await self.register(**changes)
        assert answer["type"] == "node_register_ack", answer
        for _ in range(3):
            await self.beat()
        return await self.hear_status("ready")


async def node_row(http_url: str, node_id: str) -> dict[str, Any]:
    """A node as the HTTP API shows it."""
    async with httpx.AsyncClient(base_url=http_url, trust_env=False, timeout=60) as client:
        answer = await client.get(f"/v1/nodes/{node_id}")
        answer.raise_for_status()
        row: dict[str, Any] = answer.json()
        return row


async def selected(http_url: str, **wanted: Any) -> list[str]:
    """Ids that `POST /v1/select` answers; empty for NO_AVAILABLE_NODE."""
    body = wanted or {"kind": "nmt", "src_lang": "zh", "tgt_lang": "en"}
    async with httpx.AsyncClient(base_url=http_url, trust_env=False, timeout=60) as client:
        answer = await client.post("/v1/select", json=body)
        if answer.status_code == 404:
            assert answer.json()["code"] == "NO_AVAILABLE_NODE"
            return []
        answer.raise_for_status()
        return [node["node_id"] for node in answer.json()["nodes"]]


async def metrics(http_url: str) -> str:
    """The text of `/metrics`."""
    async with httpx.AsyncClient(base_url=http_url, trust_env=False, timeout=60) as client:
        return (await client.get("/metrics")).text
