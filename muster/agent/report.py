"""What a node says of itself, as the protocol's `node_register` and `node_heartbeat`."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from muster.wire.messages import Model, Usage


class Report(Struct, frozen=True, kw_only=True):
    """A machine at one moment. `hardware` is the protocol's own object."""

    version: str
    platform: str
    hardware: dict[str, Any]
    models: tuple[Model, ...] = ()
    features: dict[str, bool | None] = {}
    advanced_features: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    accept_public_jobs: bool = True
    max_concurrent_jobs: int | None = None
    usage: Usage = Usage()
    health_ok: bool = True
    health_reason: str | None = None


class Claim(Struct, frozen=True, kw_only=True):
    """Whose registration it is. `attempt` grows with each one a process sends."""

    node_id: str | None
    node_token: str | None
    boot_id: str
    attempt: int


def registration(report: Report, claim: Claim) -> dict[str, Any]:
    """A `node_register`."""
    message: dict[str, Any] = {
        "type": "node_register",
        "node_id": claim.node_id,
        "version": report.version,
        "platform": report.platform,
        "hardware": report.hardware,
        "installed_models": _models(report),
        "features_supported": report.features,
        "accept_public_jobs": report.accept_public_jobs,
        "capability_schema_version": "1.0",
        "boot_id": claim.boot_id,
        "attempt": claim.attempt,
        "heartbeat_ack": True,
    }
    optional = {
        "advanced_features": list(report.advanced_features),
        "labels": report.labels,
        "max_concurrent_jobs": report.max_concurrent_jobs,
        "node_token": claim.node_token,
    }
    return message | {key: value for key, value in optional.items() if value}


def heartbeat(report: Report, node_id: str, *, timestamp: int, models: bool) -> dict[str, Any]:
    """A `node_heartbeat`; with `models`, the list of them, which replaces the registered one.

    `timestamp` is for people: milliseconds of a clock nobody trusts.
    """
    message: dict[str, Any] = {
        "type": "node_heartbeat",
        "node_id": node_id,
        "timestamp": timestamp,
        "resource_usage": msgspec.to_builtins(report.usage),
    }
    if not report.health_ok:
        message["health"] = {"ok": False, "reason": report.health_reason}
    if models:
        message["installed_models"] = _models(report)
    return message


def _models(report: Report) -> list[Any]:
    built: list[Any] = msgspec.to_builtins(list(report.models))
    return built
