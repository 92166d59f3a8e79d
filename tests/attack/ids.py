"""`python -m tests.attack.ids --ids 1000000`: so many distinct ids, and what grows in whom.

Each comes over a socket of its own, registers, is acknowledged and cut off, as fast as one gateway
takes them. Time-outs and the retention of the dead are seconds, so that within a minute as many
records end as begin: neither a gateway, nor its page of metrics, nor a sweeper, nor the store may
grow from then on, and in the end nothing of them may be left. A few machines that beat meanwhile
must not be called offline.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import socket
import struct
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
from redis.asyncio import Redis

from bench.scale.machine import System, header, system
from registry.keys import PARTITIONS, Keys
from tests.faults.pace import QUICK
from tests.soak.verdict import slope
from tests.support.node import EXAMPLE, Node
from tests.support.raw import UPGRADE, frame

ROOT = Path(__file__).resolve().parents[2]
LAST = ROOT / "docs" / "ids.txt"
RISES_MOST_MIB = {"gateway": 8.0, "sweeper": 8.0, "store": 8.0}
"""By the line through the samples of the last four fifths."""

_RETENTION_S = 5.0
_AT_ONCE = 50
_LIVING = 20
_EVERY_S = 2.0
_GONE_WITHIN_S = 120.0
_TRIES = 10


def settings() -> Mapping[str, str]:
    """Times of seconds; few events are kept, so that their bound is reached."""
    quick = {
        f"MUSTER_{name.upper()}": str(value)
        for name, value in QUICK.settings.items()
        if isinstance(value, float) and name.endswith("_s") and name != "messages_per_s"
    }
    return quick | {
        "MUSTER_RETENTION_S": str(_RETENTION_S),
        "MUSTER_EVENTS_PER_PARTITION": "256",
        "MUSTER_SECRET": "ids",
    }


@dataclass(frozen=True)
class Sizes:
    """MiB of each, records of nodes in the store, lines of the gateway's metrics."""

    at_s: float
    gateway: float
    sweeper: float
    store: float
    records: int
    lines: int


class Strangers:
    """Ids that nobody had before, over sockets of their own."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._numbers = iter(range(count))
        self._run = f"{random.getrandbits(32):08x}"
        self.acknowledged = 0
        self.others: Counter[str] = Counter()

    async def come(self) -> None:
        """All of them."""
        await asyncio.gather(*(self._some() for _ in range(_AT_ONCE)))

    async def _some(self) -> None:
        for number in self._numbers:
            for _ in range(_TRIES):
                answer = await self._one(f"id-{self._run}-{number}", number)
                if b"node_register_ack" in answer:
                    self.acknowledged += 1
                    break
                code = re.search(rb'"code":"(\w+)"', answer)
                self.others[code[1].decode() if code else "no answer"] += 1
                await asyncio.sleep(0.5)

    async def _one(self, node_id: str, number: int) -> bytes:
        came = asyncio.get_running_loop().create_future()

        hello = frame(json.dumps({**EXAMPLE, "node_id": node_id}).encode())

        class Line(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self._transport = cast("asyncio.Transport", transport)
                self._got = b""
                self._transport.write(f"{UPGRADE}\r\n".encode())

            def data_received(self, data: bytes) -> None:
                opens = b"\r\n\r\n" not in self._got
                self._got += data
                if opens and b"\r\n\r\n" in self._got:
                    self._transport.write(hello)
                said = b"node_register_ack" in self._got or b"node_error" in self._got
                if said and not came.done():
                    came.set_result(self._got)

            def connection_lost(self, exc: Exception | None) -> None:
                if not came.done():
                    came.set_result(self._got)

        # A port lasts for 28 000 connections of one address.
        place = (f"127.0.0.{number % 100 + 1}", 0)
        try:
            transport, _ = await asyncio.get_running_loop().create_connection(
                Line, "127.0.0.1", self._port, local_addr=place
            )
        except OSError:
            return b""
        try:
            # Cut off, so that no port waits for what will never come.
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            async with asyncio.timeout(30):
                return bytes(await came)
        except TimeoutError:
            return b""
        finally:
            transport.abort()


async def attacked(
    made: System, count: int, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Lets so many come; what was found."""
    port = made.gateway_ports[0]
    client = Redis.from_url(made.store.url)
    living = [Node(f"ws://127.0.0.1:{port}/ws/node", ping_interval=None) for _ in range(_LIVING)]
    try:
        await asyncio.gather(*(node.__aenter__() for node in living))
        await asyncio.gather(*(node.become_ready() for node in living))
        beating = asyncio.create_task(_beat(living))
        before = await _sizes(made, client, 0.0)
        strangers = Strangers(port, count)
        begun = time.monotonic()
        coming = asyncio.create_task(strangers.come())
        sizes: list[Sizes] = []
        while not coming.done():
            await asyncio.wait([coming], timeout=_EVERY_S)
            sizes.append(await _sizes(made, client, time.monotonic() - begun))
            tell(f"{strangers.acknowledged} of {count} ids, {sizes[-1]}")
        await coming
        took_s = time.monotonic() - begun
        after = await _gone(made, client, begun)
        beating.cancel()
        told = await _told(living)
    finally:
        await asyncio.gather(*(node.__aexit__(None, None, None) for node in living))
        await client.aclose()
    settled = [each for each in sizes if each.at_s >= took_s / 5]
    rises = {
        name: slope([(each.at_s, getattr(each, name)) for each in settled]) * took_s * 0.8
        for name in RISES_MOST_MIB
    }
    found: dict[str, Any] = {
        "ids": count,
        "acknowledged": strangers.acknowledged,
        "answered otherwise first": dict(strangers.others),
        "ids_per_s": round(count / took_s),
        "took_s": round(took_s, 1),
    }
    for name, most in RISES_MOST_MIB.items():
        highest = max(getattr(each, name) for each in sizes)
        found[f"{name}_mib"] = (
            f"{getattr(before, name):.1f} before, {highest:.1f} at most, {rises[name]:+.1f} by the "
            f"line (at most +{most:g}), {getattr(after, name):.1f} after"
        )
    found |= {
        "records": f"{max(each.records for each in sizes)} at most, {after.records} after",
        "left": after.records - _LIVING,
        "lines_of_metrics_more": after.lines - sizes[0].lines,
        "living_called_offline": told,
    }
    flat = all(rises[name] <= most for name, most in RISES_MOST_MIB.items())
    calm = not (found["left"] or found["lines_of_metrics_more"] or told)
    return found | {"kept": flat and calm and strangers.acknowledged == count}


async def _beat(living: list[Node]) -> None:
    while True:
        for node in living:
            await node.beat()
        await asyncio.sleep(QUICK.interval_s)


async def _told(living: list[Node]) -> int:
    """How many of those who beat were told that they are offline."""
    for node in living:
        try:
            while True:
                await node.hear(0.1)
        except TimeoutError:
            pass
    return sum(f.get("status") == "offline" for node in living for f in node.told)


async def _gone(made: System, client: Redis, begun: float) -> Sizes:
    """What there is once nothing is left of them, or the patience for it is over."""
    deadline = time.monotonic() + _GONE_WITHIN_S
    while True:
        after = await _sizes(made, client, time.monotonic() - begun)
        if after.records <= _LIVING or time.monotonic() > deadline:
            return after
        await asyncio.sleep(0.5)


async def _sizes(made: System, client: Redis, at_s: float) -> Sizes:
    memory = await client.info("memory")
    rolls = client.pipeline(transaction=False)
    for partition in range(PARTITIONS):
        rolls.zcard(Keys().roll(partition))
    resident, lines = await asyncio.to_thread(_of_processes, made)
    return Sizes(
        at_s=round(at_s, 1), gateway=resident["gateway"], sweeper=resident["sweeper"],
        store=round(memory["used_memory"] / 2**20, 1), records=sum(await rolls.execute()),
        lines=lines,
    )  # fmt: skip


def _of_processes(made: System) -> tuple[dict[str, float], int]:
    """Resident MiB of each kind of process, and how many lines a gateway says of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{made.gateway_ports[0]}/metrics") as page:
        lines = page.read().count(b"\n")
    sizes = {
        kind: round(sum(psutil.Process(pid).memory_info().rss for pid in pids) / 2**20, 1)
        for kind, pids in made.processes().items()
    }
    return sizes, lines


def main(arguments: list[str] | None = None) -> int:
    """0: nothing grew, and nothing was left."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.ids", description=__doc__)
    parser.add_argument("--ids", type=int, default=1_000_000, help="how many (1 000 000)")
    parser.add_argument("--out", type=Path, default=LAST, metavar="FILE")
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="muster-ids-") as name,
        system(Path(name), gateways=1, sweepers=1, more=settings()) as made,
    ):
        found = asyncio.run(attacked(made, options.ids, _tell))
    about = header(begun) | found
    text = "\n".join(f"{name:<24} {value}" for name, value in about.items())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if found["kept"] else 1


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
