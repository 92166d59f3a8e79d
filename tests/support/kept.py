"""Kept stores: all that a store held at one instant, as a file that people can read.

Values stand there as the store's own commands gave them, bytes as characters of the same number
(Latin-1), so that any server can be filled with them, and nothing of the registry's code is needed
to write or to read one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

FOLDER = Path(__file__).resolve().parents[1] / "kept"


@dataclass(frozen=True)
class Kept:
    """`written_at` is the store's instant, ms; `cast` says who is who, and what they were told;
    `keys` are lists of key, type, ms left (-1 = for ever) and value."""

    written_at: int
    written_by: str
    cast: dict[str, Any]
    keys: list[list[Any]]

    def save(self, path: Path) -> None:
        """One key a line."""
        head = {k: getattr(self, k) for k in ("written_at", "written_by", "cast")}
        lines = ",\n".join(json.dumps(key) for key in self.keys)
        opened = json.dumps(head, indent=1).removesuffix("\n}")
        path.write_text(f'{opened},\n "keys": [\n{lines}\n ]\n}}\n', encoding="utf-8")


def all_kept() -> list[Path]:
    """Every kept store, the oldest format first."""
    return sorted(FOLDER.glob("*.json"))


def load(path: Path) -> Kept:
    """A kept store."""
    return Kept(**json.loads(path.read_text("utf-8")))


def dump(url: str, written_by: str, cast: dict[str, Any]) -> Kept:
    """Everything a store holds."""
    with redis.Redis.from_url(url, protocol=2) as server:
        seconds, micros = server.execute_command("TIME")
        keys = [_read(server, name) for name in sorted(server.scan_iter(count=1000))]
    now = int(seconds) * 1000 + int(micros) // 1000
    return Kept(now, written_by, cast, [key for key in keys if key])


def fill(url: str, kept: Kept) -> None:
    """Puts everything into an empty store; what had so long to live has as long again."""
    with (
        redis.Redis.from_url(url, protocol=2) as server,
        server.pipeline(transaction=False) as all_,
    ):
        for name, kind, left, value in kept.keys:
            _write(all_, name.encode("latin-1"), kind, value)
            if left >= 0:
                all_.execute_command("PEXPIRE", name.encode("latin-1"), left)
        all_.execute()


def _read(server: Any, name: bytes) -> list[Any] | None:
    kind, left = server.type(name).decode(), server.pttl(name)
    match kind:
        case "string":
            value = server.execute_command("GET", name)
        case "list":
            value = server.execute_command("LRANGE", name, 0, -1)
        case "set":
            value = sorted(server.execute_command("SMEMBERS", name))
        case "hash" | "zset":
            whole = server.hgetall(name) if kind == "hash" else dict(server.zscan_iter(name))
            value = {k: whole[k] for k in sorted(whole)}
        case "stream":
            info = server.xinfo_stream(name)
            value = {
                "last": info["last-generated-id"],
                "added": info["entries-added"],
                "deleted": info["max-deleted-entry-id"],
                "entries": [[i, list(fields.items())] for i, fields in server.xrange(name)],
            }
        case _:  # it went meanwhile
            return None
    return [name.decode("latin-1"), kind, left, _plain(value)]


def _write(server: Any, name: bytes, kind: str, value: Any) -> None:
    match kind:
        case "string":
            server.execute_command("SET", name, _raw(value))
        case "list":
            server.execute_command("RPUSH", name, *_raws(value))
        case "set":
            server.execute_command("SADD", name, *_raws(value))
        case "hash":
            server.execute_command("HSET", name, *_raws(x for pair in value.items() for x in pair))
        case "zset":
            pairs = (x for member, score in value.items() for x in (repr(score), member))
            server.execute_command("ZADD", name, *_raws(pairs))
        case "stream":
            for entry, fields in value["entries"]:
                server.execute_command("XADD", name, entry, *_raws(x for f in fields for x in f))
            counts = ("ENTRIESADDED", value["added"], "MAXDELETEDID", value["deleted"])
            server.execute_command("XSETID", name, value["last"], *counts)
        case _:
            raise ValueError(f"{kind} is no type that is kept")


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode("latin-1")
        case dict():
            return {_plain(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case _:
            return value


def _raw(value: str) -> bytes:
    return value.encode("latin-1")


def _raws(values: Iterable[str]) -> list[bytes]:
    return [_raw(v) for v in values]


def shape(kept: Kept) -> dict[str, list[str]]:
    """The format by itself: for each kind of key its type and the fields seen in it; for streams,
    the fields of each kind of event. Names of nodes, tags and capabilities are left out."""
    found: dict[str, set[str]] = {}
    for name, kind, left, value in kept.keys:
        sort = _sort(name) + f" ({kind}{', PX' if left >= 0 else ''})"
        fields = found.setdefault(sort, set())
        if kind == "hash" and not sort.startswith("counts"):
            fields |= set(value)
        elif kind == "stream":
            for _, pairs in value["entries"]:
                event = dict(pairs)
                found.setdefault(f"event {event['type']}", set()).update(event)
    return {sort: sorted(fields) for sort, fields in sorted(found.items())}


def _sort(name: str) -> str:
    """What kind of key a name is of: `n`, `ready`, `gw`…"""
    _, tag, rest = name.split(":", 2) if name.count(":") > 1 else (*name.split(":", 1), "")
    own = {"{gw}": "gw:", "{sw}": "sw:", "{ev}": "store:"}.get(tag)
    if own is not None:
        return own + rest
    return "gw" if tag.startswith("{gw.") else rest.split(":", 1)[0]
