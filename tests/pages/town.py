"""Many machines of many kinds, put into a store as gateways would, and judged by real sweepers.

They hold no sockets: with a heartbeat time-out of an hour they stay what they are though nothing of
this process runs between two tests.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec

from muster.wire.messages import Gpu, Hardware
from registry.model import Verdict
from registry.registry import Registry
from registry.settings import RegistrySettings
from tests.integration.conftest import QUICK
from tests.support.api import MODELS, Machines, lines, token
from tests.support.fleet import until
from tests.support.processes import Process, Processes
from tests.support.stores import Backend

HOUR_S = 3600.0
KINDS = (("RTX 4090", 24.0, 1), ("RTX 4090", 24.0, 2), ("L40S", 48.0, 4), ("A100 80GB", 80.0, 8))
REGIONS = ("eu-west", "us-east", "ap-south")
OWNERS = ("x", "lab", "studio")
VERSIONS = ("1.4.0", "1.4.2", "1.5.0")
ILL = (Verdict.GPU_UNAVAILABLE, Verdict.MODEL_MISSING, Verdict.SELF_REPORTED)
_AT_ONCE = 50


def town_settings() -> dict[str, Any]:
    """Settings with which nobody falls silent, and everything else is quick."""
    patient = {"heartbeat_timeout_s": HOUR_S, "warmup_timeout_s": HOUR_S, "gateway_grace_s": HOUR_S}
    return {**QUICK, **patient, "drain_timeout_s": HOUR_S, "api_tokens": lines()}


@dataclass
class Town:
    """Two gateways, a sweeper, a store of their own, and the machines in it."""

    processes: Processes
    registry: Registry
    machines: Machines
    gateways: list[Process]
    ids: list[str]

    @classmethod
    async def begin(cls, directory: Path, backend: Backend, **settings: Any) -> Town:
        """Started, and empty; logs go into a directory that is there."""
        assert backend.url is not None
        processes = Processes(directory, backend.url, **{**town_settings(), **settings})
        names = RegistrySettings.__dataclass_fields__
        shared: dict[str, Any] = {k: v for k, v in processes.settings.items() if k in names}
        plain = replace(RegistrySettings(), redis_url=backend.url)
        registry = await Registry.connect(replace(plain, **shared))
        gateways = [await processes.gateway() for _ in range(2)]
        await processes.sweeper()
        return cls(processes, registry, Machines(registry), gateways, [])

    @property
    def http(self) -> str:
        return self.gateways[0].url

    def asking(self, who: str = "admin") -> httpx.AsyncClient:
        """A client of the API that is one of `tests.support.api.WHO`."""
        headers = {"Authorization": f"Bearer {token(who)}"}
        return httpx.AsyncClient(base_url=self.http, trust_env=False, headers=headers, timeout=20)

    async def settle(self, count: int, seed: int = 1) -> None:
        """So many machines move in: nine of ten become ready, the others show the other states."""
        chance = random.Random(seed)
        width = len(str(count - 1))
        new = [f"node-{place:0{width}d}" for place in range(count)]
        await _some_at_once(self._moves_in(node_id, chance) for node_id in new)
        newcomers = sum(place % 20 == 7 for place in range(count))
        for wave in (self._beats, self._ends):
            await _some_at_once(wave(node_id, place, chance) for place, node_id in enumerate(new))
            odd = (
                0
                if wave == self._beats
                else sum(place % 20 in (3, 11, 15) for place in range(count))
            )
            await until(partial(self._ready_are, count - newcomers - odd), "all are judged")
        self.ids += new

    async def _ready_are(self, count: int) -> bool:
        async with self.asking() as client:
            states = (await client.get("/v1/fleet")).json()["status"]
        return bool(states["ready"] == count)

    async def end(self) -> None:
        """Ends all processes."""
        await self.registry.close()
        self.processes.stop()

    async def _moves_in(self, node_id: str, chance: random.Random) -> None:
        name, memory, count = chance.choice(KINDS)
        labels = {"region": chance.choice(REGIONS)}
        if chance.random() < 0.3:
            labels["owner"] = chance.choice(OWNERS)
        await self.machines.register(
            node_id,
            gateway=chance.choice(("gw-a", "gw-b")),
            version=chance.choice(VERSIONS),
            labels=labels,
            hardware=Hardware(
                cpu_cores=32,
                memory_gb=128,
                gpus=tuple(Gpu(name=name, memory_gb=memory) for _ in range(count)),
            ),
            installed_models=tuple(MODELS.values()),
            max_concurrent_jobs=2 * count,
        )

    async def _beats(self, node_id: str, place: int, chance: random.Random) -> None:
        if place % 20 != 7:
            for _ in range(3):
                await self.beat(node_id, jobs=chance.randrange(3), percent=chance.randrange(5, 95))

    async def _ends(self, node_id: str, place: int, chance: random.Random) -> None:
        """What becomes of those that do not stay ready: by its place among twenty."""
        kind = place % 20
        if kind == 3:
            verdict = chance.choice(ILL)
            for _ in range(3):
                await self.beat(node_id, verdict=verdict)
        elif kind == 11:
            await self.registry.drain(node_id, "ann", "new fans")
        elif kind == 15:
            seen = await self.registry.existing(node_id)
            assert seen is not None
            assert await self.registry.unregister(
                node_id,
                seen.sid,
                drain=False,
                why="moves",
                digest=seen.digest,
                capabilities=tuple(seen.capabilities),
            )

    async def beat(
        self, node_id: str, verdict: Verdict = Verdict.PASS, jobs: int = 0, percent: int = 0
    ) -> None:
        """One heartbeat with its verdict."""
        usage = {
            "cpu_percent": percent / 2,
            "gpu_percent": percent,
            "mem_percent": 40,
            "running_jobs": jobs,
        }
        report = msgspec.msgpack.encode({"resource_usage": usage})
        beat = self.machines.fleet.beat_of(
            node_id, verdict=verdict, report=report, jobs=jobs, capacity=4
        )
        (answer,) = await self.registry.beat([beat])
        assert answer is not None and answer.outcome in ("fine", "tell"), answer


async def _some_at_once(acts: Iterable[Coroutine[Any, Any, None]]) -> None:
    """A store has so many connections."""
    waiting = list(acts)
    for low in range(0, len(waiting), _AT_ONCE):
        await asyncio.gather(*waiting[low : low + _AT_ONCE])
