"""The plain peer: FastAPI, pydantic and redis-py, one pipeline a heartbeat. `plain.py PORT`

It takes the same frames, validates them, and keeps what a first version keeps: a hash, a set of all
nodes, the last twenty heartbeats, a key that expires. It does not judge, count, fence, batch, check
who sent it, or tell anybody anything. Runs on its own packages; imports nothing of this project.
"""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, TypeAdapter, ValidationError
from redis.asyncio import BlockingConnectionPool, Redis

TIMEOUT_MS = 45_000
KEPT = 20


class Gpu(BaseModel):
    name: str
    memory_gb: float


class Hardware(BaseModel):
    cpu_cores: int
    memory_gb: float
    gpus: list[Gpu]


class Model(BaseModel):
    model_id: str
    kind: str
    version: str
    src_lang: str | None = None
    tgt_lang: str | None = None
    dialect: str | None = None
    enabled: bool = True


class Register(BaseModel):
    type: Literal["node_register"]
    node_id: str
    version: str
    platform: str
    hardware: Hardware
    installed_models: list[Model]
    features_supported: dict[str, bool] = {}
    accept_public_jobs: bool = False


class Usage(BaseModel):
    cpu_percent: float
    gpu_percent: float
    gpu_mem_percent: float
    mem_percent: float
    running_jobs: int


class Heartbeat(BaseModel):
    type: Literal["node_heartbeat"]
    node_id: str
    timestamp: int
    resource_usage: Usage


MESSAGE: TypeAdapter[Register | Heartbeat] = TypeAdapter(Register | Heartbeat)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    url = os.environ["PEER_REDIS_URL"]
    pool = BlockingConnectionPool.from_url(url, max_connections=50, timeout=None)
    app.state.redis = Redis.from_pool(pool)
    app.state.beats = 0
    yield
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def count() -> dict[str, int]:
    return {"beats": app.state.beats}


async def register(redis: "Redis", message: Register) -> None:
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hset(f"node:{message.node_id}", mapping={"registration": message.model_dump_json()})
        pipe.sadd("nodes", message.node_id)
        pipe.set(f"alive:{message.node_id}", 1, px=TIMEOUT_MS)
        await pipe.execute()


async def beat(redis: "Redis", message: Heartbeat) -> None:
    usage = message.resource_usage.model_dump_json()
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hset(f"node:{message.node_id}", mapping={"at": message.timestamp, "usage": usage})
        pipe.lpush(f"beats:{message.node_id}", usage)
        pipe.ltrim(f"beats:{message.node_id}", 0, KEPT - 1)
        pipe.set(f"alive:{message.node_id}", 1, px=TIMEOUT_MS)
        await pipe.execute()
    app.state.beats += 1


@app.websocket("/ws/node")
async def node(socket: WebSocket) -> None:
    await socket.accept()
    redis: Redis = socket.app.state.redis
    try:
        while True:
            text = await socket.receive_text()
            answer: dict[str, Any] | None = None
            try:
                message = MESSAGE.validate_json(text)
            except ValidationError as error:
                answer = {"type": "node_error", "message": str(error)}
            else:
                if isinstance(message, Register):
                    await register(redis, message)
                    answer = {"type": "node_register_ack", "node_id": message.node_id}
                else:
                    await beat(redis, message)
            if answer is not None:
                await socket.send_text(json.dumps(answer))
    except WebSocketDisconnect:
        pass


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", log_level="warning",
        access_log=False, ws_ping_interval=None, backlog=4096,
    )  # fmt: skip
