"""What a simulated node says, and what it understands."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from muster.wire.errors import ErrorCode
from muster.wire.messages import HeartbeatAck, NodeError, NodeStatus, Reconnect, RegisterAck

RETRIED = frozenset(
    {
        ErrorCode.RATE_LIMITED,
        ErrorCode.UNAVAILABLE,
        ErrorCode.INTERNAL_ERROR,
        ErrorCode.NOT_REGISTERED,
        ErrorCode.NODE_ID_CONFLICT,
    }
)
"""Refusals after which a node registers again by itself."""

hear = msgspec.json.Decoder(RegisterAck | NodeError | NodeStatus | HeartbeatAck | Reconnect).decode
_encode = msgspec.json.encode

_CARDS = (("RTX 3070", 8), ("RTX 4090", 24), ("A100", 80), ("L4", 24))
_MODELS: tuple[dict[str, Any], ...] = (
    {"model_id": "sim-nmt-zh-en", "kind": "nmt", "src_lang": "zh", "tgt_lang": "en"},
    {"model_id": "sim-asr-zh", "kind": "asr", "src_lang": "zh"},
    {"model_id": "sim-tts-en", "kind": "tts", "tgt_lang": "en"},
    {"model_id": "sim-nmt-en-de", "kind": "nmt", "src_lang": "en", "tgt_lang": "de"},
)
_WELL = (
    '{"cpu_percent":12.5,"gpu_percent":40.0,"gpu_mem_percent":35.0,"mem_percent":50.1,'
    '"running_jobs":0}'
)
_UNWELL = (
    '{"cpu_percent":12.5,"mem_percent":50.1,"running_jobs":0,'
    '"gpus":[{"index":0,"healthy":false,"reason":"simulated_loss"}]}'
)


def register(
    number: int,
    labels: dict[str, str],
    *,
    node_id: str | None,
    token: str | None,
    boot_id: str,
    acks: bool,
) -> bytes:
    """A `node_register`. Every node says that its GPU is simulated: where real ones work, gateways
    refuse such nodes unless they were told otherwise."""
    card, memory = _CARDS[number % len(_CARDS)]
    return _encode(
        {
            "type": "node_register",
            "node_id": node_id,
            "node_token": token,
            "version": "simulate",
            "platform": "linux",
            "hardware": {
                "cpu_cores": 16,
                "memory_gb": 64,
                "gpus": [{"name": card, "memory_gb": memory}],
            },
            "installed_models": [_MODELS[number // 4 % len(_MODELS)] | {"version": "1"}],
            "labels": labels | {"simulated": "true"},
            "boot_id": boot_id,
            "attempt": 1,
            "heartbeat_ack": acks,
        }
    )


def heartbeat(node_id: str, *, well: bool) -> bytes:
    """A `node_heartbeat`."""
    now = int(time.time() * 1000)
    usage = _WELL if well else _UNWELL
    return (
        f'{{"type":"node_heartbeat","node_id":"{node_id}","timestamp":{now},'
        f'"resource_usage":{usage}}}'
    ).encode()


UNREGISTER = b'{"type":"node_unregister","reason":"the simulation is over","drain":false}'
