"""The node all benchmarks speak of: the protocol's own example, and its heartbeat."""

from __future__ import annotations

import json
from typing import Any

from muster.wire.codec import JSON
from muster.wire.messages import Heartbeat, Register
from muster.wire.reading import read
from registry import capabilities as can
from registry.model import NewRegistration

_LARGEST = 262_144
_REGISTER: dict[str, Any] = {
    "type": "node_register",
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
_USAGE = {
    "cpu_percent": 12.5,
    "gpu_percent": 40.0,
    "gpu_mem_percent": 35.0,
    "mem_percent": 50.1,
    "running_jobs": 0,
}


def node_name(number: int) -> str:
    return f"bench-{number:06d}"


def register_text(node_id: str) -> str:
    """A `node_register` frame."""
    return json.dumps(_REGISTER | {"node_id": node_id}, separators=(",", ":"))


def heartbeat_text(node_id: str) -> str:
    """A `node_heartbeat` frame."""
    message = {
        "type": "node_heartbeat",
        "node_id": node_id,
        "timestamp": 1735689600000,
        "resource_usage": _USAGE,
    }
    return json.dumps(message, separators=(",", ":"))


def registration(node_id: str) -> NewRegistration:
    """The same registration as a gateway writes it."""
    message = read(register_text(node_id), JSON, max_report_bytes=_LARGEST)
    assert isinstance(message, Register)
    return NewRegistration(
        node_id=node_id,
        sid=f"{abs(hash(node_id)):032x}"[:32],
        gateway="gw-bench",
        kind="register",
        registration=can.pack(message, message.warnings),
        digest=can.digest(message),
        capabilities=can.capabilities(message),
        hardware_digest=can.hardware_digest(message),
        public=True,
        capacity=can.capacity(message, None),
        address="127.0.0.1",
    )


def report(node_id: str) -> bytes:
    """The heartbeat's report as it is stored."""
    message = read(heartbeat_text(node_id), JSON, max_report_bytes=_LARGEST)
    assert isinstance(message, Heartbeat)
    return can.pack_report(message)
