"""Selection finds exactly those who fit, whatever the fleet and whatever is asked for."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.capabilities import GPU_MEMORY_STEPS, label_name
from registry.model import Reason, Status
from registry.registry import Registry
from registry.requirement import LabelTest, Requirement
from registry.settings import RegistrySettings
from tests.support.fleet import Fleet
from tests.support.stores import Backend

WORDS = st.sets(st.sampled_from(["asr:zh", "nmt:zh:en", "tts:en", "feature:x"]))
LABELS = st.dictionaries(
    st.sampled_from(["region", "tier"]), st.sampled_from(["eu", "us", "\n", "a=b"])
)
_PREFIXES = itertools.count()


@dataclass(frozen=True)
class Machine:
    """One node as it shall be."""

    words: set[str]
    labels: dict[str, str]
    memory: float
    public: bool
    jobs: int
    how: str

    @property
    def capabilities(self) -> tuple[str, ...]:
        names = {"any", *self.words, *(label_name(k, v) for k, v in self.labels.items())}
        names |= {f"gpu_memory:{step}" for step in GPU_MEMORY_STEPS if self.memory >= step}
        return tuple(sorted(names))


MACHINES = st.lists(
    st.builds(
        Machine,
        words=WORDS,
        labels=LABELS,
        memory=st.sampled_from([8, 12, 16, 24, 80]),
        public=st.booleans(),
        jobs=st.integers(0, 1),
        how=st.sampled_from(["ready"] * 5 + ["registering", "degraded", "drained", "silent"]),
    ),
    max_size=8,
)
TESTS = st.lists(
    st.builds(
        LabelTest,
        st.sampled_from(["region", "tier"]),
        st.sampled_from(("in", "not")),
        st.lists(st.sampled_from(["eu", "us", "\n", "a=b"]), min_size=1, max_size=3).map(tuple),
    ),
    max_size=2,
)
REQUIREMENTS = st.builds(
    Requirement,
    capabilities=WORDS.map(lambda words: tuple(sorted(words)[:2])),
    labels=TESTS.map(tuple),
    min_gpu_memory_gb=st.none() | st.sampled_from([8, 13, 24, 81]),
    public=st.booleans(),
    avoid=st.sets(st.sampled_from(["node-0", "node-1"])).map(frozenset),
)


async def put(fleet: Fleet, name: str, machine: Machine) -> None:
    about: dict[str, Any] = {
        "capabilities": machine.capabilities,
        "gpu_memory_gb": machine.memory,
        "public": machine.public,
    }
    if machine.how == "registering":
        await fleet.register(name, **about)
        return
    await fleet.make_ready(name, **about)
    await fleet.beat(name, jobs=machine.jobs)
    if machine.how == "degraded":
        await fleet.commit(Status.DEGRADED, Reason.GPU_UNAVAILABLE, name)
    elif machine.how == "drained":
        assert await fleet.registry.drain(name, "op", "why")
    elif machine.how == "silent":
        await fleet.registry.store.client.delete(fleet.registry.keys.ttl(name))


@pytest.mark.parametrize("backend", ["valkey", "cluster"], indirect=True)
def test_selection_finds_exactly_those_who_fit(backend: Backend) -> None:
    @settings(
        max_examples=40,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(MACHINES, st.lists(REQUIREMENTS, min_size=1, max_size=4))
    def check(machines: list[Machine], requirements: list[Requirement]) -> None:
        asyncio.run(compare(machines, requirements))

    async def compare(machines: list[Machine], requirements: list[Requirement]) -> None:
        store = await backend.connect()
        prefix = f"exactly{next(_PREFIXES)}"
        registry = Registry(store, replace(RegistrySettings(), redis_prefix=prefix))
        try:
            fleet = Fleet(registry)
            for place, machine in enumerate(machines):
                await put(fleet, f"node-{place}", machine)
            for wanted in requirements:
                fits = {
                    f"node-{place}"
                    for place, m in enumerate(machines)
                    if m.how == "ready"
                    and m.jobs == 0
                    and (m.public or not wanted.public)
                    and set(wanted.capabilities) <= m.words
                    and (wanted.min_gpu_memory_gb or 0) <= m.memory
                    and f"node-{place}" not in wanted.avoid
                    and all((m.labels.get(t.name) in t.values) == (t.test == "in")
                            for t in wanted.labels)
                }  # fmt: skip
                found = [s.node_id for s in await registry.select(wanted, 100)]
                assert sorted(found) == sorted(fits), wanted
                assert bool(await registry.select(wanted, 1)) == bool(fits)
                short = await registry.shortfall(wanted)
                assert short.examined - sum(short.counts.values()) == len(fits)
        finally:
            await store.close()

    check()
