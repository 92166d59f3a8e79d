"""Many machines of many kinds, put into a store as gateways would, and judged by real sweepers.

They hold no sockets: with a heartbeat time-out of an hour they stay what they are though nothing of
this process runs between two tests.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec

from muster.wire.messages import Gpu, Hardware
from registry.model import Beat, Status, Verdict
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
_AT_ONCE = 20
_BATCH = 250


def town_settings() -> dict[str, Any]:
    """Settings with which nobody falls silent or beats too late, no busy machine leaves time that
    nobody observed, which would be told as an event, and everything else is quick."""
    patient = ("heartbeat_timeout_s", "warmup_timeout_s", "gateway_grace_s", "drain_timeout_s")
    long = {"heartbeat_interval_s": HOUR_S / 2, **dict.fromkeys(patient, HOUR_S)}
    patience = {"redis_timeout_s": 5.0, "unobserved_gap_s": 60.0}
    return {**QUICK, **long, **patience, "api_tokens": lines()}


@dataclass
class Town:
    """Two gateways, a sweeper, a store of their own, and the machines in it."""

    processes: Processes
    registry: Registry
    machines: Machines
    gateways: list[Process]
    ids: list[str]
    cards: dict[str, int] = field(default_factory=dict)

    @classmethod
    async def begin(cls, directory: Path, backend: Backend, **settings: Any) -> Town:
        """Started, and empty; logs go into a directory that is there."""
        assert backend.url is not None
        processes = Processes(directory, backend.url, **{**town_settings(), **settings})
        names = RegistrySettings.__dataclass_fields__
        shared: dict[str, Any] = {k: v for k, v in processes.settings.items() if k in names}
        plain = replace(RegistrySettings(), redis_url=backend.url)
        # What is put in here is patient: a machine may be busy while a city moves in.
        registry = await Registry.connect(replace(plain, **shared | {"redis_timeout_s": 30.0}))
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

    async def settle(self, count: int, seed: int = 28) -> None:
        """So many machines move in: nine of ten become ready, the others show the other states.
        With this seed owner x has some that are ill, drained and new."""
        chance = random.Random(seed)
        width = len(str(count - 1))
        new = [f"node-{place:0{width}d}" for place in range(count)]
        await _some_at_once(self._moves_in(node_id, chance) for node_id in new)
        beating = [node_id for place, node_id in enumerate(new) if place % 20 != 7]
        for _ in range(3):
            await self.beats(beating, chance=chance)
        await until(partial(self.are, "ready", len(beating)), "those that beat are ready", 240)
        await _some_at_once(self._ends(node_id, place) for place, node_id in enumerate(new))
        odd = sum(place % 20 in (3, 11, 15) for place in range(count))
        await until(partial(self.are, "ready", len(beating) - odd), "all are judged", 240)
        self.ids += new

    async def are(self, status: str, count: int) -> bool:
        """Whether so many machines have a status."""
        async with self.asking() as client:
            states = (await client.get("/v1/fleet")).json()["status"]
        return bool(states[status] == count)

    @asynccontextmanager
    async def newcomer(self, node_id: str, **changes: Any) -> AsyncIterator[None]:
        """A machine that has registered, and is gone after a test, however that ends."""
        await self.machines.register(node_id, **changes)
        try:
            yield
        finally:
            await self.registry.remove(node_id, "ann", "the test is over")

    @asynccontextmanager
    async def guest(self, node_id: str, **changes: Any) -> AsyncIterator[None]:
        """As `newcomer`, and ready."""
        async with self.newcomer(node_id, **changes):
            for _ in range(3):
                await self.beats([node_id])
            # Heartbeats that follow before it was judged ready would be forgotten by that.
            await until(partial(self._is_ready, node_id), f"{node_id} is ready")
            yield

    async def _is_ready(self, node_id: str) -> bool:
        return (await self.machines.fleet.facts(node_id)).status is Status.READY

    async def end(self) -> None:
        """Ends all processes."""
        await self.registry.close()
        self.processes.stop()

    async def _moves_in(self, node_id: str, chance: random.Random) -> None:
        name, memory, count = chance.choice(KINDS)
        self.cards[node_id] = count
        labels = {"region": chance.choice(REGIONS)}
        if chance.random() < 0.5:
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

    async def _ends(self, node_id: str, place: int) -> None:
        """What becomes of those that do not stay ready: by its place among twenty."""
        kind = place % 20
        if kind == 3:
            for _ in range(3):
                await self.beats([node_id], ILL[place // 20 % len(ILL)])
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

    async def beats(
        self,
        node_ids: Sequence[str],
        verdict: Verdict = Verdict.PASS,
        chance: random.Random | None = None,
    ) -> None:
        """One heartbeat of each, with a verdict; what they report is drawn."""
        chance = chance or random.Random(1)
        for low in range(0, len(node_ids), _BATCH):
            some = [self._beat_of(id_, verdict, chance) for id_ in node_ids[low : low + _BATCH]]
            for answer in await self.registry.beat(some):
                assert answer is not None and answer.outcome in ("fine", "tell"), answer

    def _beat_of(self, node_id: str, verdict: Verdict, chance: random.Random) -> Beat:
        percent, jobs = chance.randrange(5, 95), chance.randrange(3)
        cards = self.cards.get(node_id, 1)
        usage = {
            "cpu_percent": percent / 2,
            "gpu_percent": percent,
            "mem_percent": 40,
            "running_jobs": jobs,
            "gpus": [self._card(place, percent, verdict) for place in range(cards)],
        }
        report = msgspec.msgpack.encode({"resource_usage": usage})
        beat: Beat = self.machines.fleet.beat_of(
            node_id, verdict=verdict, report=report, jobs=jobs, capacity=4
        )
        return beat

    @staticmethod
    def _card(place: int, percent: int, verdict: Verdict) -> dict[str, Any]:
        """One card as a heartbeat reports it; a machine with one that is well is not unfit."""
        ill = verdict is Verdict.GPU_UNAVAILABLE
        return {
            "index": place,
            "healthy": not ill,
            "memory_used_gb": round(percent / 8, 1),
            "temperature_c": 40 + percent // 3 + place,
            **({"reason": "fell off the bus"} if ill else {}),
        }


async def _some_at_once(acts: Iterable[Coroutine[Any, Any, None]]) -> None:
    """A store has so many connections."""
    waiting = list(acts)
    for low in range(0, len(waiting), _AT_ONCE):
        await asyncio.gather(*waiting[low : low + _AT_ONCE])
