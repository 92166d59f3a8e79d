"""The AsyncAPI 3 document of the node socket, made from the messages.

It describes the gateway: what it receives from nodes, what it sends them, and what it answers with
what.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from muster.wire.closing import CloseCode
from muster.wire.codec import MSGPACK
from muster.wire.errors import TEXTS
from muster.wire.schema import FROM_NODES, FROM_SERVERS, components

VERSION = "1.0.0"
"""Of the protocol, not of the program."""

ADDRESS = "/ws/node"

ABOUT = f"""\
How a GPU machine joins a fleet. It opens a WebSocket to `{ADDRESS}`, registers, beats about every \
15 seconds, and is told whenever its status changes. After three good heartbeats in a row it is \
`ready` for work; after 45 seconds of silence it is `offline`.

Text frames carry one JSON object each, with a `type`. A client that offers the subprotocol \
`{MSGPACK.subprotocol}` sends and gets the same objects as MessagePack in binary frames. Fields \
that are not known are ignored, on both sides. null in an optional field counts as missing. There \
is no compression."""


class Operation(NamedTuple):
    """What happens on the socket: frames of one kind, and what they are answered with."""

    name: str
    kind: str
    summary: str
    replies: tuple[str, ...] = ()


RECEIVED = (
    Operation(
        "register",
        "node_register",
        "A node introduces itself, at first and after every reconnect",
        ("node_register_ack", "node_error"),
    ),
    Operation(
        "beat",
        "node_heartbeat",
        "A node shows that it lives, and how it is; answered only if it asked for that",
        ("node_heartbeat_ack", "node_error"),
    ),
    Operation("finishJob", "job_result", "A node tells that a task is done"),
    Operation("unregister", "node_unregister", "A node leaves"),
)
SENT = (
    Operation("tellStatus", "node_status", "A node's status changed"),
    Operation("refuse", "node_error", "A message could not be taken"),
    Operation("sendElsewhere", "reconnect", "The gateway stops; the node comes back elsewhere"),
)

EXAMPLES: dict[str, dict[str, Any]] = {
    "node_register": {
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
                "version": "1.0.0",
            }
        ],
    },
    "node_heartbeat": {
        "type": "node_heartbeat",
        "resource_usage": {"cpu_percent": 12.5, "gpu_percent": 40.0, "running_jobs": 1},
    },
    "job_result": {"type": "job_result", "job_id": "job-17", "success": True, "running_jobs": 0},
    "node_unregister": {"type": "node_unregister", "reason": "shutdown"},
    "node_register_ack": {
        "type": "node_register_ack",
        "node_id": "node-ABC12345",
        "message": "registered",
        "status": "registering",
        "node_token": "2b7e151628aed2a6",
        "session": 1735689600000,
        "version": 1735689600000,
        "heartbeat_interval_ms": 15000,
        "heartbeat_timeout_ms": 45000,
        "warnings": [],
    },
    "node_error": {
        "type": "node_error",
        "node_id": None,
        "code": "NO_GPU_AVAILABLE",
        "message": "Registration failed: GPU information is required",
        "details": None,
    },
    "node_status": {
        "type": "node_status",
        "node_id": "node-ABC12345",
        "status": "ready",
        "previous": "registering",
        "reason": "healthy",
        "message": "ready: the health checks pass; the node may be given work",
        "timestamp": 1735689645000,
        "version": 1735689645000,
    },
    "node_heartbeat_ack": {
        "type": "node_heartbeat_ack",
        "node_id": "node-ABC12345",
        "next_ms": 13500,
        "store": "ok",
    },
    "reconnect": {"type": "reconnect", "after_ms": 2500, "reason": "restarting"},
}


def document() -> dict[str, Any]:
    """The document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Muster's node socket",
            "version": VERSION,
            "description": ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "gateway": _server("ws", "Any gateway."),
            "secureGateway": _server("wss", "Any gateway that has a certificate."),
        },
        "channels": {"node": _channel()},
        "operations": {
            **{operation.name: _operation("receive", operation) for operation in RECEIVED},
            **{operation.name: _operation("send", operation) for operation in SENT},
        },
        "components": {
            "messages": {kind: _message(kind) for kind in (*FROM_NODES, *FROM_SERVERS)},
            "schemas": components("#/components/schemas/{name}"),
            "securitySchemes": {
                "joinToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Only where the operator demands it; or `?token=` in the "
                    "address.",
                }
            },
        },
        "x-error-codes": [
            {"code": code.value, "message": text} for code, text in TEXTS["en"].items()
        ],
        "x-close-codes": [
            {"code": close.code, "reason": close.reason, "reconnect": close.retry}
            for close in CloseCode
        ],
    }


def _server(protocol: str, about: str) -> dict[str, Any]:
    return {
        "host": "{host}",
        "protocol": protocol,
        "description": about,
        "variables": {"host": {"default": "127.0.0.1:8080", "description": "Host and port."}},
        "security": [{"$ref": "#/components/securitySchemes/joinToken"}],
    }


def _channel() -> dict[str, Any]:
    texts = {"type": "string"}
    return {
        "address": ADDRESS,
        "title": "One node's socket",
        "messages": {
            kind: {"$ref": f"#/components/messages/{kind}"} for kind in (*FROM_NODES, *FROM_SERVERS)
        },
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {"type": "object", "properties": {"token": texts}},
                "headers": {
                    "type": "object",
                    "properties": {
                        "Accept-Language": texts,
                        "Sec-WebSocket-Protocol": {"enum": [MSGPACK.subprotocol]},
                    },
                },
                "bindingVersion": "0.1.0",
            }
        },
    }


def _operation(action: str, operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": "#/channels/node"},
        "summary": operation.summary,
        "messages": [_on_channel(operation.kind)],
    }
    if operation.replies:
        made["reply"] = {
            "channel": {"$ref": "#/channels/node"},
            "messages": [_on_channel(kind) for kind in operation.replies],
        }
    return made


def _on_channel(kind: str) -> dict[str, str]:
    return {"$ref": f"#/channels/node/messages/{kind}"}


def _message(kind: str) -> dict[str, Any]:
    frame = FROM_NODES.get(kind) or FROM_SERVERS[kind]
    return {
        "name": kind,
        "title": kind,
        "payload": {"$ref": f"#/components/schemas/{frame.__name__}"},
        "examples": [{"payload": EXAMPLES[kind]}],
    }
