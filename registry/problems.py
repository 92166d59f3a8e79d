"""What is wrong with a store's set-up, from its INFO alone (CONFIG is often forbidden)."""

from __future__ import annotations

from typing import Any

from registry.model import Problem

_FLOOR = (7, 0)
_FULL = 0.85


def problems_of(infos: list[dict[str, Any]], *, single: bool) -> list[Problem]:
    """Problems of the primaries whose INFO is given, fatal ones first."""
    found: list[Problem] = []
    for info in infos:
        found += _of_one(info)
    unique = list(dict.fromkeys(found))
    return sorted(unique, key=lambda p: p.severity != "fatal")


def _of_one(info: dict[str, Any]) -> list[Problem]:
    found = []
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        found.append(
            Problem(
                "eviction",
                "fatal",
                f"the store's maxmemory-policy is {policy}: it would drop live nodes",
                "set maxmemory-policy noeviction (CONFIG SET maxmemory-policy noeviction)",
            )
        )
    name = "valkey_version" if "valkey_version" in info else "redis_version"
    version = str(info.get(name, "0"))
    parts = tuple(int(p) for p in version.split(".")[:2] if p.isdigit())
    if parts < _FLOOR:
        found.append(
            Problem(
                "version",
                "fatal",
                f"the store is {name.split('_')[0]} {version}; sharded pub/sub needs 7.0",
                "run Valkey, or Redis 7.0 or newer",
            )
        )
    if not int(info.get("aof_enabled", 0)):
        found.append(
            Problem(
                "persistence",
                "warning",
                "the store keeps no append-only file: a restart may lose what it knew",
                "set appendonly yes; nodes on live sockets are restored by their beats anyway",
            )
        )
    if str(info.get("role", "master")) != "master":
        found.append(
            Problem(
                "role",
                "fatal",
                "the store is a replica and refuses writes",
                "point MUSTER_REDIS_URL at the primary, or use redis+sentinel://",
            )
        )
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if used > most * _FULL > 0:
        found.append(
            Problem(
                "memory",
                "warning",
                f"{used / most:.0%} of the store's maxmemory is in use; when it is full it refuses "
                "writes",
                "raise maxmemory, or look for what else lives there (about 3 KiB a node and the "
                "events are needed)",
            )
        )
    if most == 0:
        found.append(
            Problem(
                "memory",
                "warning",
                "the store has no maxmemory: it may take the whole machine's memory",
                "set maxmemory; about 3 KiB a node and the events are needed",
            )
        )
    return found
