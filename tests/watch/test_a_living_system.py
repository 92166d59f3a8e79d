"""A real system under some load, watched by a real Prometheus.

One test, as what is shown in the beginning must have happened before the end: what is served is
what was declared; every panel of every dashboard shows something; no alert fires; then the sweepers
go.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import AsyncIterator, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gateway.api.table import TABLE
from registry.measuring import Measure
from tests.integration.conftest import System
from tests.support import measures
from tests.support.fleet import until
from tests.support.herd import Herd
from tests.support.node import Node, metrics
from tests.support.prometheus import Prometheus, prometheus, promtool
from tests.watch.test_documents import DASHBOARDS, RULES, panels

ROUTES = {endpoint.path for endpoint in TABLE} | {"none"}
NOBODY = {"tts": ["xx"]}
OF_A_BUSY_MACHINE = {"MusterHeartbeatsSlow", "MusterSweepLate"}


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression of every panel, as it is asked with everything chosen, and where it is."""
    for path in DASHBOARDS:
        for panel in panels(path):
            for target in panel["targets"]:
                text = target["expr"].replace("$__rate_interval", "1m")
                for name in ("job", "instance"):
                    text = text.replace(f"${name}", ".+")
                assert "$" not in text, text
                yield f"{path.stem}: {panel['title']}", text


def strangers(text: str, declared: list[Measure]) -> Iterator[str]:
    """Series that were not declared so."""
    known = {m.name.removesuffix("_total"): m for m in declared}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("process_"):
            continue
        measure = known.get(family.name)
        if measure is None:
            yield family.name
            continue
        for sample in family.samples:
            for label, value in sample.labels.items():
                values = measure.labels.get(label)
                told = isinstance(values, str) and label != "route"
                if (
                    label != "le"
                    and not told
                    and value not in (ROUTES if label == "route" else values or ())
                ):
                    yield f"{sample.name} {label}={value}"


def series(text: str) -> int:
    """How many there are."""
    return sum(not line.startswith("#") for line in text.splitlines())


async def misuse(system: System) -> None:
    """What somebody sends who wants labels of their own making."""
    async with Node(system.ws) as node:
        for text in ("no json", '{"type":"evil-kind"}', '{"type":"node_register","node_id":"x y"}'):
            await node.say(text)
            await node.hear_type("node_error")
        await node.register(hardware={"cpu_cores": 1, "memory_gb": 1, "gpus": []})
    async with httpx.AsyncClient(base_url=system.http, trust_env=False) as client:
        for path in ("/v1/evil-path", "/v1/nodes/evil-node", "/v1/nodes/evil/explain/evil"):
            await client.request("GET", path)
        await client.request("EVILMETHOD", "/v1/nodes")


async def traffic(system: System) -> None:
    """Selections, holds and readers of events, for ever."""
    async with httpx.AsyncClient(base_url=system.http, trust_env=False) as client:
        while True:
            async with client.stream("GET", "/v1/events"):
                for _ in range(3):
                    found = await client.post("/v1/select", json={"hold_ms": 1000})
                    if found.status_code == 200:
                        hold = found.json()["nodes"][0]["hold"]["id"]
                        await client.delete(f"/v1/holds/{hold}")
                await client.post("/v1/select", json=NOBODY)
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def while_doing(what: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Something goes on meanwhile."""
    task = asyncio.create_task(what)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def findings(system: System) -> dict[str, str]:
    """What the doctor says of each check."""
    async with httpx.AsyncClient(base_url=system.http, trust_env=False) as client:
        document = (await client.get("/v1/doctor")).json()
    return {finding["check"]: finding["level"] for finding in document["findings"]}


async def shows(server: Prometheus, expression: str) -> bool:
    """Whether an expression returns a number."""
    return any(not math.isnan(float(s["value"][1])) for s in await server.ask(expression))


async def test_a_living_system_is_seen_and_a_dying_one_is_told(
    system: System, tmp_path: Path
) -> None:
    await system.start(gateways=2, sweepers=2)
    quick = tmp_path / "rules.yaml"
    quick.write_text(re.sub(r"for: \d+m", "for: 1s", RULES.read_text()))
    urls = [gateway.ws_url for gateway in system.gateways]
    targets = [f"127.0.0.1:{each.port}" for each in (*system.gateways, *system.sweepers)]
    declared = measures.declared()
    async with (
        prometheus(tmp_path, targets, [quick]) as server,
        Herd(urls, 4) as few,
        while_doing(traffic(system)),
    ):
        await until(lambda: few.all_are("ready"), "a few nodes are ready")
        await misuse(system)
        served = {
            "gateway": [await metrics(g.url) for g in system.gateways],
            "sweeper": [await metrics(s.url) for s in system.sweepers],
        }
        for kind, texts in served.items():
            for text in texts:
                assert list(strangers(text, declared[kind])) == []
                assert "evil" not in text
                assert not any(animal.node_id in text for animal in few.animals)
                checked = promtool("check", "metrics", given=text)
                assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
        await until(server.ready, "Prometheus is ready")
        for where, expression in expressions():
            await until(partial(shows, server, expression), f"{where} shows: {expression}")

        async def calm() -> bool:
            return await server.firing() <= OF_A_BUSY_MACHINE

        await until(calm, "nothing that matters fires")

        async def well() -> bool:
            found = await findings(system)
            checks = ("sweepers", "sweeper_lag", "subscribed", "announced", "clock")
            return {found.get(check) for check in (*checks, "store_version")} == {"ok"}

        await until(well, "the doctor finds nothing wrong")
        before = series(await metrics(system.http))
        async with Herd(urls, 20) as more:
            await until(lambda: more.all_are("ready"), "many nodes are ready")
            assert series(await metrics(system.http)) - before < 20
        for sweeper in system.sweepers:
            sweeper.stop()

        async def told() -> bool:
            return "MusterPartitionsUnswept" in await server.firing()

        await until(told, "the alert fires")

        async def bad() -> bool:
            found = await findings(system)
            return found.get("sweepers") == found.get("sweeper_lag") == "fatal"

        await until(bad, "the doctor says so too")
