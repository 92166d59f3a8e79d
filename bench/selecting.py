"""How long `POST /v1/select` takes, and what it costs, in fleets of different size.

One gateway, one embedded store, one client that asks one thing after the other over one connection.
Latency is what that client sees; the floor is the same gateway asked for `/healthz`, which asks
nobody. Which nodes match is decided by capabilities: a tenth can do one thing, one in ten thousand
another.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import statistics
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.figures import Processor, Row, step
from bench.gateway import served
from bench.nodes import node_name, registration
from bench.store import make_ready
from registry.embedded import EmbeddedStore
from registry.model import Registered
from registry.ports import free_ports
from registry.registry import Registry
from registry.settings import RegistrySettings
from registry.store import Store

_PATIENCE_S = 36_000.0  # filling the store takes longer than a TTL key lives
_TENTH = {"kind": "asr", "src_lang": "tenth"}
_RARE = {"kind": "tts", "tgt_lang": "rare"}
_AT_ONCE = 100


@dataclass
class Asked:
    """What asking one thing many times took: p99 of each repeat, ms; the rest over all of them."""

    p99_ms: list[float] = field(default_factory=list)
    p50_ms: float = 0.0
    gateway_us: float = 0.0
    store_us: float = 0.0


async def _fill(registry: Registry, count: int) -> None:
    """Ready nodes: every tenth can do one thing, every ten-thousandth another."""
    plain = registration(node_name(0))
    for low in range(0, count, _AT_ONCE):
        new = []
        for n in range(low, min(low + _AT_ONCE, count)):
            more = (("asr:tenth",) if n % 10 == 0 else ()) + (
                ("tts:rare",) if n % 10_000 == 5 else ()
            )
            names = tuple(sorted({*plain.capabilities, *more}))
            name = node_name(n)
            new.append(replace(plain, node_id=name, sid=f"sid-{n}", capabilities=names))
        answers = await asyncio.gather(*(registry.register(n, None) for n in new))
        assert all(isinstance(answer, Registered) for answer in answers)
        await make_ready(registry, [n.node_id for n in new])


def _ask(connection: http.client.HTTPConnection, wanted: dict[str, str] | None) -> float:
    """One question; milliseconds until its answer was read."""
    begun = time.perf_counter()
    if wanted is None:
        connection.request("GET", "/healthz")
    else:
        body = json.dumps(wanted)
        connection.request("POST", "/v1/select", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    spent = (time.perf_counter() - begun) * 1000
    assert answer.status == 200, answer.status
    return spent


def _asked(
    port: int, wanted: dict[str, str] | None, repeats: int, times: int, processors: list[Processor]
) -> Asked:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    found, all_ms = Asked(), []
    for _ in range(50):
        _ask(connection, wanted)
    before = [p.used_us() for p in processors]
    for _ in range(repeats):
        spent = [_ask(connection, wanted) for _ in range(times)]
        all_ms += spent
        found.p99_ms.append(statistics.quantiles(spent, n=100)[98])
    used = [p.used_us() - b for p, b in zip(processors, before, strict=True)]
    found.p50_ms = statistics.median(all_ms)
    found.gateway_us, found.store_us = (u / len(all_ms) for u in used)
    connection.close()
    return found


async def select_rows(directory: Path, *, quick: bool) -> list[Row]:
    """Two rows for each size of the fleet."""
    repeats, times = (3, 200) if quick else (5, 600)
    rows: list[Row] = []
    at_ten_thousand = 0.0
    for size in (1000, 10_000) if quick else (1000, 10_000, 100_000):
        server = EmbeddedStore.start(directory / f"store-select-{size}")
        try:
            settings = replace(
                RegistrySettings(), redis_prefix="bench", heartbeat_timeout_s=_PATIENCE_S
            )
            registry = Registry(await Store.connect(server.url), settings)
            with step(f"select: {size} nodes become ready"):
                await _fill(registry, size)
            await registry.store.close()
            (port,) = free_ports(1)
            more = {
                "MUSTER_HEARTBEAT_TIMEOUT_S": str(_PATIENCE_S),
                "MUSTER_API_RATE_PER_S": "1000000",
                "MUSTER_API_BURST": "1000000",
            }
            log = directory / f"select-{size}.log"
            with served("gateway", ["gateway"], port, log, server.url, more) as child:
                processors = [Processor(child.process.pid), Processor(server.pid)]
                for what, wanted, target in (
                    ("10 %", _TENTH, 3.0 if size <= 10_000 else 1.5 * at_ten_thousand),
                    ("0.01 %" if size >= 10_000 else "1 node", _RARE, 10.0),
                ):
                    with step(f"select: {size} nodes, {what} match, {repeats} times {times}"):
                        floor = _asked(port, None, repeats, times, processors)
                        found = _asked(port, wanted, repeats, times, processors)
                    row = Row(
                        f"select p99, {size} nodes, {what} match", "ms", found.p99_ms, floor.p99_ms,
                        "GET /healthz of the same gateway, same client", target,
                        f"{repeats} x {times} requests one after the other; p50 "
                        f"{found.p50_ms:.2f} ms; CPU of the gateway {found.gateway_us:.0f} µs, of "
                        f"the store {found.store_us:.0f} µs each",
                    )  # fmt: skip
                    rows.append(row)
                    if size == 10_000 and wanted is _TENTH:
                        at_ten_thousand = row.measured
        finally:
            server.kill()
    return rows
