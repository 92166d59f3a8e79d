"""What a deployment spent meanwhile, as its own /metrics and its store tell it.

`taken` asks; the rest is pure. Who does not answer is missing from the result, never guessed.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_EDGE = re.compile(r'le="([^"]+)"')
_PATIENCE_S = 5.0
_MOST_BYTES = 4_000_000

Kind = str
"""`gateway`, `sweeper` or `store`."""


@dataclass(frozen=True)
class Reading:
    """One process at one instant. CPU in seconds since it started, memory in bytes."""

    kind: Kind
    at: float
    started: float
    cpu_s: float
    memory: float
    descriptors_most: float = 0.0
    beats: float = 0.0
    registrations: float = 0.0
    sockets: float = 0.0
    waits: Mapping[float, float] = field(default_factory=dict)
    """Beats that waited at most so many seconds for the store, cumulative."""


@dataclass(frozen=True)
class Spent:
    """What one process spent between two readings."""

    kind: Kind
    cores: float
    memory: float
    descriptors_most: float
    beats: float
    registrations: float
    sockets: float
    waits: Mapping[float, float]


def taken(pages: Sequence[str], stores: Sequence[str]) -> dict[str, Reading]:
    """Readings by URL, of those who answer."""
    found: dict[str, Reading] = {}
    for url in pages:
        with suppress(OSError, http.client.HTTPException, ValueError):
            reading = read_page(_page(url), time.monotonic())
            if reading is not None:
                found[url] = reading
    for url in stores:
        with suppress(OSError, ValueError, KeyError):
            found[url] = read_info(_info(url), time.monotonic())
    return found


def read_page(text: str, at: float) -> Reading | None:
    """A process by its /metrics; None for a page that is not one of ours."""
    sums: dict[str, float] = {}
    waits: dict[float, float] = {}
    for name, labels, value in _SAMPLE.findall(text):
        sums[name] = sums.get(name, 0.0) + float(value)
        if name == "muster_beat_wait_seconds_bucket" and (edge := _EDGE.search(labels)):
            waits[float(edge[1])] = waits.get(float(edge[1]), 0.0) + float(value)
    if "process_cpu_seconds_total" not in sums:
        return None
    if "muster_gateway_sockets" in sums:
        kind = "gateway"
    elif "muster_partitions_held" in sums:
        kind = "sweeper"
    else:
        return None
    return Reading(
        kind=kind,
        at=at,
        started=sums.get("process_start_time_seconds", 0.0),
        cpu_s=sums["process_cpu_seconds_total"],
        memory=sums.get("process_resident_memory_bytes", 0.0),
        descriptors_most=sums.get("process_max_fds", 0.0),
        beats=sums.get("muster_heartbeats_total", 0.0),
        registrations=sums.get("muster_registrations_total", 0.0),
        sockets=sums.get("muster_gateway_sockets", 0.0),
        waits=waits,
    )


def read_info(text: str, at: float) -> Reading:
    """A store by its INFO."""
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return Reading(
        kind="store",
        at=at,
        started=float(lines["process_id"]),  # it changes with the process, as a start does
        cpu_s=float(lines["used_cpu_sys"]) + float(lines["used_cpu_user"]),
        memory=float(lines["used_memory"]),
    )


def spent(before: Mapping[str, Reading], after: Mapping[str, Reading]) -> list[Spent]:
    """Between two readings of each process. One that was started anew meanwhile counts from its
    start, for the time between the readings: its part before that is not known."""
    found = []
    for url, late in after.items():
        early = before.get(url)
        if early is None or late.at <= early.at:
            continue
        if early.started != late.started:
            early = Reading(late.kind, early.at, late.started, 0.0, 0.0)
        found.append(
            Spent(
                kind=late.kind,
                cores=(late.cpu_s - early.cpu_s) / (late.at - early.at),
                memory=late.memory,
                descriptors_most=late.descriptors_most,
                beats=late.beats - early.beats,
                registrations=late.registrations - early.registrations,
                sockets=late.sockets,
                waits={e: n - early.waits.get(e, 0.0) for e, n in late.waits.items()},
            )
        )
    return found


def quantile_s(waits: Mapping[float, float], part: float) -> float | None:
    """The upper edge of the bucket in which this part of all waits ends; None without waits."""
    edges = sorted(waits)
    if not edges or waits[edges[-1]] <= 0:
        return None
    wanted = part * waits[edges[-1]]
    return next(edge for edge in edges if waits[edge] >= wanted)


def _page(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https":
        # It is asked by the address nodes use, which its certificate may not name; nothing secret
        # is said or believed.
        unchecked = ssl.create_default_context()
        unchecked.check_hostname = False
        unchecked.verify_mode = ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.netloc, timeout=_PATIENCE_S, context=unchecked
        )
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=_PATIENCE_S)
    try:
        path = parts.path if parts.path not in ("", "/") else "/metrics"
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read(_MOST_BYTES).decode(errors="replace")
        return text if answer.status == 200 else ""
    finally:
        connection.close()


def _info(url: str) -> str:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port or 6379), _PATIENCE_S) as link:
        lines = link.makefile("rb")
        if parts.password:
            words = ["AUTH", *([unquote(parts.username)] if parts.username else [])]
            link.sendall(_command(*words, unquote(parts.password)))
            if not lines.readline().startswith(b"+OK"):
                return ""
        found = []
        for section in ("server", "cpu", "memory"):
            link.sendall(_command("INFO", section))
            head = lines.readline()
            if not head.startswith(b"$"):
                return ""
            found.append(lines.read(int(head[1:]) + 2).decode())
        return "\n".join(found)


def _command(*words: str) -> bytes:
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        data = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)
