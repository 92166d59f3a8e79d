"""`python -m tests.attack.ids --ids 1000000`: so many distinct ids, and what grows in whom.

Two crowds say them at once, each from a process of its own, as fast as one gateway takes them.
Some register, each over a socket of its own, and are cut off once they are acknowledged: the
dearest that a stranger can ask for who is let in. The others claim theirs with a token that is not
theirs, as many over a socket as it may send: the cheapest way to bring an id before a gateway.

Time-outs and the retention of the dead are seconds, so that within a minute as many records end as
begin: neither a gateway, nor its page of metrics, nor its log, nor a sweeper, nor the store may
grow from then on, and in the end nothing of them may be left. A few machines that beat meanwhile
must not be called offline, nor wait for their answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil
from redis.asyncio import Redis

from bench.scale.machine import System, header, system
from registry.keys import PARTITIONS, Keys
from tests.faults.pace import QUICK
from tests.soak.verdict import slope
from tests.support.node import Node

ROOT = Path(__file__).resolve().parents[2]
LAST = ROOT / "docs" / "ids.txt"
RISES_MOST_MIB = {"gateway": 8.0, "sweeper": 8.0, "store": 8.0}
"""By the line through the samples of the last four fifths, of the time in which both crowds came
and of that in which one still did: alone it comes faster, and more of its records stand."""

LOG_MOST_KIB_PER_MIN = 256.0
"""Of each process, as in a soak."""
FLAT_FROM_S = 120.0
"""A gateway looks for what closed sockets leave in circles seldom: until then it grows."""
LINES_MORE_MOST = 48
"""Of metrics: a script that runs for the first time has a histogram of 16."""
WAITS_MOST_MS = 2000.0
"""A heartbeat for its answer, 99 of a hundred. It says as much of the machine: a run of its own is
judged by it, a test beside others is not."""

_RETENTION_S = 5.0
_LIVING = 20
_SAMPLES_LEAST = 5
_CALM_S = 8.0
_PUT_OFF = "registration_put_off"
_EVERY_S = 2.0
_GONE_WITHIN_S = 120.0


def settings() -> Mapping[str, str]:
    """Times of seconds; few events are kept, so that their bound is reached. The store has the five
    seconds that people give it: on a busy machine a process waits longer than one to be run."""
    quick = {
        f"MUSTER_{name.upper()}": str(value)
        for name, value in QUICK.settings.items()
        if isinstance(value, float) and name.endswith("_s") and name != "messages_per_s"
    }
    return quick | {
        "MUSTER_RETENTION_S": str(_RETENTION_S),
        "MUSTER_EVENTS_PER_PARTITION": "256",
        "MUSTER_REDIS_TIMEOUT_S": "5",
        "MUSTER_SECRET": "ids",
        "MUSTER_LOG_LEVEL": "info",
        "MUSTER_LOG_FORMAT": "json",
    }


@dataclass(frozen=True)
class Sizes:
    """MiB of each, records of nodes in the store, lines of the gateway's metrics; `crowds` is how
    many still came."""

    at_s: float
    crowds: int
    gateway: float
    sweeper: float
    store: float
    records: int
    lines: int


class Crowds:
    """Two processes of strangers, and what they said last."""

    def __init__(self, port: int, registering: int, claiming: int, seconds: float) -> None:
        run = f"{random.getrandbits(32):08x}"
        self._asked = [
            ("registering", str(port), run, "0", str(registering), str(seconds)),
            ("claiming", str(port), run, str(registering), str(claiming), str(seconds)),
        ]
        self._said: dict[str, dict[str, Any]] = {}
        self.coming = len(self._asked)

    async def come(self) -> None:
        """All of them. Raises RuntimeError if one of the processes fails."""
        await asyncio.gather(*(self._one(*asked) for asked in self._asked))

    async def _one(self, kind: str, *asked: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.attack.crowd", kind, *asked),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                self._said[kind] = json.loads(line)
            if await process.wait():
                raise RuntimeError(f"those {kind} ended with {process.returncode}")
        finally:
            self.coming -= 1
            if process.returncode is None:
                process.kill()
                await process.wait()

    def settled(self, kind: str) -> int:
        """Ids of these that were answered for good."""
        return int(self._said.get(kind, {}).get("settled", 0))

    def answers(self, kind: str) -> dict[str, int]:
        """How often they were told what."""
        found: dict[str, int] = self._said.get(kind, {}).get("answers", {})
        return dict(sorted(found.items()))


class Living:
    """Machines that beat; `waits_s` are theirs for the answers since it was emptied."""

    def __init__(self, port: int) -> None:
        url = f"ws://127.0.0.1:{port}/ws/node"
        self.nodes = [Node(url, ping_interval=None) for _ in range(_LIVING)]
        self.waits_s: list[float] = []
        self._beating: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Living:
        await asyncio.gather(*(node.__aenter__() for node in self.nodes))
        await asyncio.gather(*(node.become_ready(heartbeat_ack=True) for node in self.nodes))
        self._beating = [asyncio.create_task(self._beat(node)) for node in self.nodes]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._beating:
            task.cancel()
        await asyncio.gather(*self._beating, return_exceptions=True)
        await asyncio.gather(*(node.__aexit__(None, None, None) for node in self.nodes))

    async def _beat(self, node: Node) -> None:
        while True:
            began = time.monotonic()
            await node.beat()
            await node.hear_type("node_heartbeat_ack", 60.0)
            self.waits_s.append(time.monotonic() - began)
            await asyncio.sleep(random.uniform(0.8, 1.0) * QUICK.interval_s)

    def unwell(self) -> int:
        """How many were told that they are offline, or hear nothing any more."""
        told = [f.get("status") == "offline" for node in self.nodes for f in node.told]
        return (told + [task.done() for task in self._beating]).count(True)

    def waited(self) -> dict[str, float]:
        """Milliseconds that half and 99 of a hundred waited at most."""
        waits = sorted(self.waits_s) or [0.0]
        return {
            "p50": round(waits[len(waits) // 2] * 1000, 1),
            "p99": round(waits[min(len(waits) - 1, len(waits) * 99 // 100)] * 1000, 1),
        }


async def attacked(
    made: System,
    registering: int,
    claiming: int,
    seconds: float = math.inf,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Lets so many come, for so long at most; what was found."""
    port = made.gateway_ports[0]
    client = Redis.from_url(made.store.url)
    crowds = Crowds(port, registering, claiming, seconds)
    try:
        async with Living(port) as living:
            await asyncio.sleep(_CALM_S)
            calm, living.waits_s = living.waited(), []
            before = await _sizes(made, client, 0.0, 0)
            begun = time.monotonic()
            coming = asyncio.create_task(crowds.come())
            sizes: list[Sizes] = []
            try:
                while not coming.done():
                    await asyncio.wait([coming], timeout=_EVERY_S)
                    at_s = time.monotonic() - begun
                    sizes.append(await _sizes(made, client, at_s, crowds.coming))
                    those = [crowds.settled("registering"), crowds.settled("claiming")]
                    tell(f"{those[0]} registered, {those[1]} claimed, {sizes[-1]}")
                await coming
            finally:
                coming.cancel()
            took_s = time.monotonic() - begun
            during = living.waited()
            after = await _gone(made, client, begun)
            unwell = living.unwell()
    finally:
        await client.aclose()
    found: dict[str, Any] = {
        "ids": crowds.settled("registering") + crowds.settled("claiming"),
        "registered": crowds.settled("registering"),
        "told_when_registering": crowds.answers("registering"),
        "told_when_claiming": crowds.answers("claiming"),
        "took_s": round(took_s, 1),
        "registered_per_s": round(crowds.settled("registering") / took_s),
    }
    settled = [_settled(each) for _, each in groupby(sizes, key=lambda each: each.crowds)]
    settled = [stretch for stretch in settled if len(stretch) >= _SAMPLES_LEAST]
    flat = bool(settled)
    for name, most in RISES_MOST_MIB.items():
        rise = max((_rise(stretch, name) for stretch in settled), default=math.inf)
        flat = flat and rise <= most
        highest = max(getattr(each, name) for each in sizes)
        found[f"{name}_mib"] = (
            f"{getattr(before, name):.1f} before, {highest:.1f} at most, {rise:+.1f} by the line "
            f"(at most +{most:g}), {getattr(after, name):.1f} after"
        )
    logs = _logs(made)
    minutes = max(1.0, after.at_s / 60)
    kib_per_min = {name: round(size / 1024 / minutes, 1) for name, size in logs.sizes.items()}
    found |= {
        "records": f"{max(each.records for each in sizes)} at most, {after.records} after",
        "left": after.records - _LIVING,
        "lines_of_metrics_more": after.lines - sizes[len(sizes) // 5].lines,
        "put_off_because": logs.put_off,
        "log_lines": logs.lines,
        "log_kib_per_min": kib_per_min,
        "tracebacks": logs.tracebacks,
        "ended": [c.name for c in made.gateways + made.sweepers if c.ended],
        "living_unwell": unwell,
        "living_waited_ms": f"{during}, in calm {calm}",
    }
    registered = crowds.answers("registering").get("node_register_ack", 0)
    said = registered == crowds.settled("registering")
    if math.isinf(seconds):
        said = said and found["ids"] == registering + claiming
    calm_logs = all(kib <= LOG_MOST_KIB_PER_MIN for kib in kib_per_min.values())
    found["flat"] = flat if took_s >= FLAT_FROM_S else "too short to say"
    nothing = ("left", "tracebacks", "ended", "living_unwell")
    well = not any(found[name] for name in nothing) and said and calm_logs
    well = well and found["lines_of_metrics_more"] <= LINES_MORE_MOST
    soon = during["p99"] <= WAITS_MOST_MS
    return found | {"well": well, "kept": well and soon and found["flat"] is True}


def _settled(stretch: Iterable[Sizes]) -> list[Sizes]:
    """Without the first fifth, in which records fill up."""
    whole = list(stretch)
    return whole[len(whole) // 5 :]


def _rise(stretch: list[Sizes], name: str) -> float:
    line = [(each.at_s, getattr(each, name)) for each in stretch]
    return slope(line) * (stretch[-1].at_s - stretch[0].at_s)


@dataclass(frozen=True)
class Logs:
    """Bytes of each process's log, tracebacks in all of them, the lines of each kind, and why
    registrations were put off, as far as that was written."""

    sizes: dict[str, int]
    tracebacks: int
    lines: dict[str, int]
    put_off: dict[str, int]


def _logs(made: System) -> Logs:
    texts = {c.name: c.log_path.read_bytes() for c in made.gateways + made.sweepers}
    every = b"\n".join(texts.values()).splitlines()
    lines = [json.loads(line) for line in every if line.startswith(b'{"time"')]
    return Logs(
        {name: len(text) for name, text in texts.items()},
        sum(text.count(b"Traceback") for text in texts.values()),
        dict(Counter(line["action"] for line in lines)),
        dict(Counter(line["error"] for line in lines if line["action"] == _PUT_OFF)),
    )


async def _gone(made: System, client: Redis, begun: float) -> Sizes:
    """What there is once nothing is left of them, or the patience for it is over."""
    deadline = time.monotonic() + _GONE_WITHIN_S
    while True:
        after = await _sizes(made, client, time.monotonic() - begun, 0)
        if after.records <= _LIVING or time.monotonic() > deadline:
            return after
        await asyncio.sleep(0.5)


async def _sizes(made: System, client: Redis, at_s: float, crowds: int) -> Sizes:
    memory = await client.info("memory")
    rolls = client.pipeline(transaction=False)
    for partition in range(PARTITIONS):
        rolls.zcard(Keys().roll(partition))
    resident, lines = await asyncio.to_thread(_of_processes, made)
    return Sizes(
        at_s=round(at_s, 1), crowds=crowds, gateway=resident["gateway"],
        sweeper=resident["sweeper"], store=round(memory["used_memory"] / 2**20, 1),
        records=sum(await rolls.execute()), lines=lines,
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
    parser.add_argument(
        "--registering", type=int, default=100_000, help="how many of them register (100 000)"
    )
    parser.add_argument("--out", type=Path, default=LAST, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=math.inf, help="for so long at most")
    options = parser.parse_args(arguments)
    claiming = max(0, options.ids - options.registering)
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="muster-ids-") as name,
        system(Path(name), gateways=1, sweepers=1, more=settings()) as made,
    ):
        found = asyncio.run(attacked(made, options.registering, claiming, options.seconds, _tell))
    about = header(begun) | {"asked": options.ids, "for_s_at_most": options.seconds} | found
    text = "\n".join(f"{name:<24} {value}" for name, value in about.items())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if found["kept"] else 1


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
