"""What schedulers and people ask over HTTP: nodes, one node, a node for a job."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.problem import BadParameterError, ProblemError
from registry import capabilities as can
from registry.model import NodeRow, Status
from registry.registry import Registry

LIMIT_DEFAULT = 100
LIMIT_MOST = 1000
SELECT_MOST = 100
BODY_MOST = 65_536
_LANGUAGES = {"asr": ("src_lang",), "nmt": ("src_lang", "tgt_lang"), "tts": ("tgt_lang",)}


def routes() -> list[Route]:
    """The API's routes; the application's state must hold `registry`."""
    return [
        Route("/v1/nodes", list_nodes, methods=["GET"]),
        Route("/v1/nodes/{node_id}", show_node, methods=["GET"]),
        Route("/v1/select", select, methods=["POST"]),
    ]


async def list_nodes(request: Request) -> Response:
    """`GET /v1/nodes?status=&limit=&cursor=`"""
    query = request.query_params
    status = query.get("status") or None
    if status is not None and status not in list(Status):
        raise BadParameterError("status", "one of " + ", ".join(Status))
    limit = _limit(query.get("limit"), LIMIT_DEFAULT, LIMIT_MOST)
    try:
        rows, cursor = await _registry(request).nodes(status, limit, query.get("cursor") or None)
    except ValueError as error:
        raise BadParameterError("cursor", "one that an earlier answer gave") from error
    return _json({"nodes": [_row(row) for row in rows], "cursor": cursor})


async def show_node(request: Request) -> Response:
    """`GET /v1/nodes/{id}`: the record, its last verdicts and transitions with their evidence."""
    node_id = request.path_params["node_id"]
    detail = await _registry(request).node(node_id)
    if detail is None:
        raise ProblemError(404, "NODE_NOT_FOUND", f"no node has the id {node_id}")
    registration = can.unpack(detail.row.registration) if detail.row.registration else {}
    return _json(
        _row(detail.row)
        | {
            "session": detail.session,
            "ever_ready": detail.ever_ready,
            "window": detail.window,
            "capabilities": list(detail.capabilities),
            "registration": registration,
            "report": msgspec.msgpack.decode(detail.report) if detail.report else None,
            "verdicts": [{"at": at, "verdict": verdict} for at, verdict in detail.verdicts],
            "events": [_event(event) for event in detail.events],
            "warnings": registration.get("warnings") or [],
            "now": detail.now,
        }
    )


async def select(request: Request) -> Response:
    """`POST /v1/select`: ready, live nodes that can do it, the least loaded first."""
    body = await _body(request)
    wanted = _requirements(body)
    limit = body.get("limit", 1)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= SELECT_MOST:
        raise BadParameterError("limit", f"a whole number from 1 to {SELECT_MOST}")
    public = body.get("public", True)
    if not isinstance(public, bool):
        raise BadParameterError("public", "true or false")
    found = await _registry(request).select(wanted, limit, public)
    if not found:
        raise ProblemError(404, "NO_AVAILABLE_NODE", "no ready, live node can do this now")
    return _json(
        {
            "nodes": [
                {
                    "node_id": s.node_id,
                    "load": s.load,
                    "capacity": s.capacity,
                    "age_ms": s.age_ms,
                    "gateway": s.gateway,
                }
                for s in found
            ]
        }
    )


def _requirements(body: dict[str, Any]) -> list[str]:
    kind = body.get("kind")
    if kind is None:
        return ["any"]
    if kind not in _LANGUAGES:
        raise BadParameterError("kind", "one of " + ", ".join(_LANGUAGES))
    for name in _LANGUAGES[kind]:
        if not isinstance(body.get(name), str) or not body[name]:
            raise BadParameterError(name, f"a language, which {kind} needs")
    return [can.requirement(kind, body.get("src_lang"), body.get("tgt_lang"))]


async def _body(request: Request) -> dict[str, Any]:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_MOST:
            raise ProblemError(413, "TOO_LARGE", f"a request has at most {BODY_MOST} bytes")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadParameterError("body", "a JSON object") from error
    if not isinstance(body, dict):
        raise BadParameterError("body", "a JSON object")
    return body


def _limit(text: str | None, default: int, most: int) -> int:
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most or len(text) > 9:
        raise BadParameterError("limit", f"a whole number from 1 to {most}")
    return int(text)


def _row(row: NodeRow) -> dict[str, Any]:
    registration = can.unpack(row.registration) if row.registration else {}
    return {
        "node_id": row.node_id,
        "status": row.status,
        "live": row.live,
        "reason": row.reason,
        "since": row.since,
        "last_heartbeat": row.last_beat,
        "gateway": row.gateway,
        "version": row.version,
        "program_version": registration.get("version"),
        "platform": registration.get("platform"),
        "labels": registration.get("labels") or {},
        "public": row.public,
        "capacity": row.capacity,
        "running_jobs": row.jobs,
        "operator_intent": bool(row.intent),
    }


def _event(event: dict[str, Any]) -> dict[str, Any]:
    shown = dict(event)
    for name in ("evidence", "detail"):
        if shown.get(name):
            try:
                shown[name] = json.loads(shown[name])
            except ValueError:
                continue
    return shown


def _registry(request: Request) -> Registry:
    registry: Registry = request.app.state.registry
    return registry


def _json(body: Any) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
