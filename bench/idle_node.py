"""The agent's floor: one socket, one registration, and the same heartbeat again and again."""

from __future__ import annotations

import asyncio
import sys

from websockets.asyncio.client import connect

from bench.nodes import heartbeat_text, node_name, register_text

_EVERY_S = 13.5


async def main(port: str) -> None:
    node_id = node_name(0)
    async with connect(f"ws://127.0.0.1:{port}/ws/node", compression=None, proxy=None) as ws:
        await ws.send(register_text(node_id))
        await ws.recv()
        while True:
            await ws.send(heartbeat_text(node_id))
            await asyncio.sleep(_EVERY_S)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
