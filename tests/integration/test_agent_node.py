"""The agent as its owner runs it, against the real system: it gets in, and it stays in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest

from muster.agent.exits import Exit
from registry.embedded import EmbeddedStore
from tests.fake_nvml import HANG, FakeNvml
from tests.integration.conftest import QUICK, System
from tests.support.agents import MODEL, ROOT, AgentProcess, Agents, agents
from tests.support.fleet import until
from tests.support.node import metrics, node_row, selected
from tests.support.processes import ProcessesFactory
from tests.support.users import BOTH, as_user, with_users

__all__ = ["agents"]

INTERVAL_S = float(str(QUICK["heartbeat_interval_s"]))
TIMEOUT_S = float(str(QUICK["heartbeat_timeout_s"]))


async def ready(system: System, agent: AgentProcess, gateway: int = 0) -> None:
    """Waits until the node can be selected."""

    async def chosen() -> bool:
        found = await selected(system.gateways[gateway].url)
        return agent.identity.exists() and agent.node_id in found

    await until(chosen, f"selected\n{agent.log()}", timeout_s=30.0, every_s=0.05)


async def beats(system: System, node_id: str) -> list[int]:
    """When its last heartbeats came, in ms by the store's clock, oldest first: at most 20."""
    node = await system.registry.node(node_id)
    assert node is not None
    return sorted(at for at, _ in node.verdicts)


async def on_time(system: System, node_id: str, count: int) -> None:
    """Waits for so many beats more, and asserts that they come in time: as a rule an interval after
    each other, and never so late, on a machine with much else to do, that it counts as silence."""
    begun = (await beats(system, node_id))[-1]

    async def enough() -> bool:
        return len([at for at in await beats(system, node_id) if at > begun]) >= count

    await until(enough, f"{count} beats", every_s=0.05)
    times = [at for at in await beats(system, node_id) if at >= begun]
    gaps = [(later - earlier) / 1000 for earlier, later in pairwise(times)]
    assert median(gaps) < 1.5 * INTERVAL_S, gaps
    assert max(gaps) < TIMEOUT_S, gaps


async def test_it_becomes_ready_and_says_so(system: System, agents: Agents) -> None:
    await system.start()
    agent = agents.start(system.ws)
    told = await agent.tells("status", status="ready")
    assert (told["previous"], told["reason"]) == ("registering", "healthy")
    await ready(system, agent)
    row = await node_row(system.http, agent.node_id)
    assert row["labels"] == {"simulated": "true"}
    await on_time(system, agent.node_id, 6)


async def test_its_gateway_is_killed_and_it_is_ready_at_the_next_under_its_id(
    system: System, agents: Agents
) -> None:
    timeout_s = 15.0
    await system.start(gateways=2, heartbeat_timeout_s=timeout_s, gateway_grace_s=2 * timeout_s)
    one, other = system.gateways
    agent = agents.start(one.ws_url, other.ws_url)
    await agent.is_ready()
    node_id = agent.node_id
    one.kill()
    killed = time.monotonic()
    back = await agent.tells("registered", times=2)
    assert time.monotonic() - killed < timeout_s
    assert (back["node_id"], back["status"], back["resumed"]) == (node_id, "ready", True)
    await ready(system, agent, gateway=1)


async def test_the_only_gateway_is_killed_and_started_again(system: System, agents: Agents) -> None:
    await system.start()
    agent = agents.start(system.ws)
    await agent.is_ready()
    node_id = agent.node_id
    dead = system.gateways.pop()
    dead.kill()
    await agent.tells("closed", trouble="refused")
    system.gateways.append(await system.processes.gateway(port=dead.port))
    back = await agent.tells("registered", times=2)
    assert back["node_id"] == node_id
    await ready(system, agent)


async def test_a_gateway_that_freezes_is_left_for_the_next(system: System, agents: Agents) -> None:
    await system.start(gateways=2)
    one, other = system.gateways
    agent = agents.start(one.ws_url, other.ws_url)
    await agent.is_ready()
    one.pause()
    try:
        await agent.tells("closed", trouble="silent")
        back = await agent.tells("registered", times=2)
        assert back["node_id"] == agent.node_id
        await ready(system, agent, gateway=1)
    finally:
        one.resume()


async def test_a_gateway_told_to_stop_moves_its_agents_on(system: System, agents: Agents) -> None:
    await system.start(gateways=2)
    one, other = system.gateways
    agent = agents.start(one.ws_url, other.ws_url)
    await agent.is_ready()
    one.terminate()
    back = await agent.tells("registered", times=2)
    assert (back["status"], back["resumed"]) == ("ready", True)


async def test_the_store_is_emptied_and_the_node_comes_back_on_its_socket(
    system: System, agents: Agents
) -> None:
    await system.start()
    agent = agents.start(system.ws)
    await agent.is_ready()
    told = len(agent.told("status", status="ready"))
    system.backend.empty()
    await agent.tells("status", status="ready", times=told + 1)
    await ready(system, agent)
    assert len(agent.told("registered")) == 1


async def test_the_store_dies_and_is_started_again(
    processes: ProcessesFactory, agents: Agents, tmp_path: Path
) -> None:
    users = with_users(tmp_path / "store")
    store = EmbeddedStore.start(tmp_path / "store", extra=users)
    started = processes(as_user(store.url, BOTH), **QUICK)
    gateway, _ = await started.gateway(), await started.sweeper()
    agent = agents.start(gateway.ws_url)
    await agent.is_ready()
    store.kill()
    await agent.tells("note", note="store_away")
    store = EmbeddedStore.start(tmp_path / "store", store.port, users)
    try:

        async def chosen() -> bool:
            with contextlib.suppress(httpx.HTTPStatusError):
                return await selected(gateway.url) == [agent.node_id]
            return False

        await until(chosen, "selected again", timeout_s=30.0, every_s=0.1)
    finally:
        store.kill()
    assert agent.told("status", status="offline") == []
    assert len(agent.told("registered")) == 1


async def test_the_store_is_away_for_longer_than_the_time_out(
    system: System, agents: Agents
) -> None:
    await system.start()
    agent = agents.start(system.ws)
    await agent.is_ready()
    store = system.backend.servers[0]
    store.pause()
    try:
        await agent.tells("note", note="store_away")
        await asyncio.sleep(1.5 * TIMEOUT_S)  # an outage's length
    finally:
        store.resume()
    await ready(system, agent)
    assert agent.told("status", status="offline") == []


async def test_frozen_for_longer_than_the_time_out_it_comes_back_by_itself(
    system: System, agents: Agents
) -> None:
    await system.start()
    agent = agents.start(system.ws)
    await agent.is_ready()
    node_id = agent.node_id
    agent.send(signal.SIGSTOP)
    try:

        async def offline() -> bool:
            return bool((await node_row(system.http, node_id))["status"] == "offline")

        await until(offline, "the frozen node is offline", every_s=0.1)
        await asyncio.sleep(2 * TIMEOUT_S)  # until its socket is reaped as well
    finally:
        agent.send(signal.SIGCONT)
    await ready(system, agent)
    assert agent.node_id == node_id


async def test_a_wall_clock_that_is_an_hour_off_and_jumps_changes_nothing(
    system: System, agents: Agents, tmp_path: Path
) -> None:
    """Every clock for people of the agent's process is wrong, and steps back and forth."""
    (tmp_path / "sitecustomize.py").write_text(
        "import time\n"
        "right, began = time.time, time.monotonic()\n"
        "def wrong():\n"
        "    return right() + (3600 if int(time.monotonic() - began) % 2 else -3600)\n"
        "time.time = wrong\n"
        "time.time_ns = lambda: int(wrong() * 1e9)\n"
    )
    await system.start()
    agent = agents.start(system.ws, environ={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    await agent.is_ready()
    await on_time(system, agent.node_id, 8)
    told = agent.lines()
    assert any(abs(_seconds(line["time"]) - time.time()) > 3000 for line in told)
    assert len(agent.told("registered")) == 1
    assert agent.told("status", status="degraded") == []


async def test_a_new_model_is_noticed_and_known_to_the_scheduler(
    system: System, agents: Agents
) -> None:
    await system.start()
    agent = agents.start(system.ws, models=False)
    await agent.tells("note", note="no_models")
    await agent.tells("registered")
    path = agent.folder / "models" / "m" / "model.json"
    path.write_text(json.dumps(MODEL))
    await agent.tells("models_changed", models=1, problems=0)
    await ready(system, agent)
    path.write_text(json.dumps(MODEL | {"tgt_lang": "fr"}))

    async def known() -> bool:
        return await selected(system.http, kind="nmt", src_lang="zh", tgt_lang="fr") == [
            agent.node_id
        ]

    await until(known, "the new language is known", every_s=0.05)
    assert len(agent.told("registered")) == 1


async def test_told_to_stop_it_unregisters_and_ends_well(system: System, agents: Agents) -> None:
    await system.start()
    agent = agents.start(system.ws)
    await agent.is_ready()
    node_id = agent.node_id
    agent.send(signal.SIGTERM)
    assert await agent.ends() == Exit.LEFT
    row = await node_row(system.http, node_id)
    assert (row["status"], row["reason"]) == ("offline", "unregistered")
    assert agent.told("left")
    again = agents.start(system.ws, of=agent)
    assert (await again.tells("registered"))["node_id"] == node_id
    await again.is_ready()


async def test_running_jobs_may_finish_before_it_ends(system: System, agents: Agents) -> None:
    await system.start()
    agent = agents.start(system.ws, status_port="0")
    await agent.is_ready()
    async with local_api(agent) as api:
        (await api.put("/running_jobs", json={"running_jobs": 1})).raise_for_status()
        agent.send(signal.SIGTERM)
        await agent.tells("status", status="draining", reason="node_request")

        async def unselected() -> bool:
            return await selected(system.http) == []

        await until(unselected, "no new work")
        assert agent.running
        (await api.put("/running_jobs", json={"running_jobs": 0})).raise_for_status()
        assert await agent.ends() == Exit.LEFT
    assert agent.told("status", status="offline", reason="drained")


async def test_jobs_that_do_not_finish_are_left_at_the_drain_time_out(
    system: System, agents: Agents
) -> None:
    await system.start()
    agent = agents.start(system.ws, status_port="0", drain_timeout_s="1")
    await agent.is_ready()
    async with local_api(agent) as api:
        (await api.put("/running_jobs", json={"running_jobs": 1})).raise_for_status()
        agent.send(signal.SIGTERM)
        assert await agent.ends() == Exit.LEFT
    node_id = agent.node_id

    async def offline() -> bool:
        return bool((await node_row(system.http, node_id))["status"] == "offline")

    await until(offline, "offline")
    row = await node_row(system.http, node_id)
    assert row["reason"] == "unregistered", "at once, and not for its silence"


async def test_a_second_signal_ends_it_now(system: System, agents: Agents) -> None:
    await system.start()
    agent = agents.start(system.ws, status_port="0")
    await agent.is_ready()
    async with local_api(agent) as api:
        (await api.put("/running_jobs", json={"running_jobs": 1})).raise_for_status()
    agent.send(signal.SIGINT)
    await agent.tells("status", status="draining")
    agent.send(signal.SIGINT)
    assert await agent.ends() == Exit.LEFT


async def test_a_terminal_that_is_closed_tells_so_more_than_once_and_jobs_are_waited_for(
    system: System, agents: Agents
) -> None:
    await system.start()
    agent = agents.start(system.ws, status_port="0")
    await agent.is_ready()
    async with local_api(agent) as api:
        (await api.put("/running_jobs", json={"running_jobs": 1})).raise_for_status()
        agent.send(signal.SIGHUP)
        await agent.tells("status", status="draining")
        agent.send(signal.SIGHUP)
        agent.send(signal.SIGTERM)  # the first that counts
        (await api.put("/running_jobs", json={"running_jobs": 1})).raise_for_status()
        assert agent.running
        (await api.put("/running_jobs", json={"running_jobs": 0})).raise_for_status()
        assert await agent.ends() == Exit.LEFT
    assert agent.told("left")


async def test_a_signal_after_a_request_to_leave_is_the_first_of_its_own(
    system: System, agents: Agents
) -> None:
    await system.start()
    agent = agents.start(system.ws, status_port="0")
    await agent.is_ready()
    async with local_api(agent) as api:
        (await api.put("/running_jobs", json={"running_jobs": 1})).raise_for_status()
        (await api.post("/drain", json={"timeout_s": 3600})).raise_for_status()
        await agent.tells("status", status="draining")
        agent.send(signal.SIGTERM)
        told = await agent.tells("draining", times=2)
        assert (told["reason"], agent.running) == ("SIGTERM", True)
    agent.send(signal.SIGTERM)
    assert await agent.ends() == Exit.LEFT
    assert not agent.told("left")


async def test_a_wrong_join_token_ends_it_with_a_status_of_its_own(
    system: System, agents: Agents
) -> None:
    await system.start(sweepers=0, join_tokens=["right"])
    agent = agents.start(system.ws, join_token="wrong")
    assert await agent.ends() == Exit.REFUSED
    told = agent.told("refused")[-1]
    assert told["code"] == "UNAUTHORIZED"
    assert told["do"]
    welcome = agents.start(system.ws, join_token="right")
    await welcome.tells("registered")


async def test_where_simulated_cards_are_not_let_in_it_says_why_and_keeps_trying(
    system: System, agents: Agents
) -> None:
    await system.start(sweepers=0, allow_simulated=False)
    agent = agents.start(system.ws)
    told = await agent.tells("refused", times=2)
    assert told["details"]["path"] == "labels.simulated"
    assert "MUSTER_ALLOW_SIMULATED" in told["message"]


NO_GPUS: list[tuple[str, dict[str, Any]]] = [
    ("no_gpu", {"count": 0}),
    ("driver_mismatch", {"nvmlInitWithFlags": 18}),
    ("no_permission", {"nvmlInitWithFlags": 4}),
    ("gpu_lost", {"0.*": 15}),
    ("probe_timeout", {"nvmlInitWithFlags": HANG}),
]


@pytest.mark.parametrize(("cause", "keys"), NO_GPUS, ids=[cause for cause, _ in NO_GPUS])
async def test_without_a_usable_gpu_it_registers_nothing_and_says_what_to_do(
    system: System, agents: Agents, fake_nvml: FakeNvml, cause: str, keys: dict[str, Any]
) -> None:
    await system.start(sweepers=0)
    fake_nvml.card("NVIDIA GeForce RTX 3070", 8192)
    fake_nvml.set(keys)
    deadline_s = "2" if cause == "probe_timeout" else "30"  # the start of a process included
    agent = agents.start(
        system.ws, simulate=None, environ=fake_nvml.environ, probe_deadline_s=deadline_s
    )
    assert await agent.ends() == Exit.NO_GPU
    told = agent.told("no_gpu")[-1]
    assert told["cause"] == cause
    assert told["do"]
    assert agent.told("connecting") == []


async def test_a_gpu_query_that_hangs_makes_no_beat_late_nor_the_other_card_ill(
    system: System, agents: Agents, fake_nvml: FakeNvml
) -> None:
    await system.start()
    fake_nvml.card("NVIDIA GeForce RTX 3070", 8192)
    fake_nvml.card("NVIDIA GeForce RTX 3090", 24576)
    agent = agents.start(system.ws, simulate=None, environ=fake_nvml.environ)
    await agent.is_ready()
    row = await node_row(system.http, agent.node_id)
    assert (row["labels"], row["capacity"]) == ({}, 2)
    fake_nvml.set({"0.nvmlDeviceGetTemperature": HANG})
    await agent.tells("gpu_changed", index=0, healthy=False, reason="probe_timeout")
    await on_time(system, agent.node_id, 8)

    async def halved() -> bool:
        return bool((await node_row(system.http, agent.node_id))["capacity"] == 1)

    await until(halved, "one card less")
    fake_nvml.set({"0.nvmlDeviceGetTemperature": None})
    await agent.tells("gpu_changed", index=0, healthy=True)
    assert agent.told("status", status="degraded") == []
    assert agent.told("gpu_changed", index=1) == []


async def test_every_gpu_hanging_makes_the_node_unfit_but_never_silent(
    system: System, agents: Agents, fake_nvml: FakeNvml
) -> None:
    await system.start()
    fake_nvml.card("NVIDIA GeForce RTX 3070", 8192)
    agent = agents.start(system.ws, simulate=None, environ=fake_nvml.environ)
    await agent.is_ready()
    fake_nvml.set({"0.*": HANG})
    await agent.tells("status", status="degraded", reason="gpu_unavailable")
    await on_time(system, agent.node_id, 8)
    fake_nvml.set({"0.*": None})
    await agent.tells("status", status="ready", reason="recovered")
    assert agent.told("status", status="offline") == []
    assert len(agent.told("registered")) == 1


async def test_lines_nobody_reads_make_no_beat_late(system: System, agents: Agents) -> None:
    """Output into a full pipe, as into a terminal that was stopped, waits for ever."""
    await system.start()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    agent = agents.start(system.ws, output=writing)
    os.close(writing)
    try:
        await ready(system, agent)
        await on_time(system, agent.node_id, 8)
        agent.send(signal.SIGTERM)
        assert await agent.ends() == Exit.LEFT
    finally:
        os.close(reading)


async def test_a_second_agent_in_the_same_folder_is_told_so(system: System, agents: Agents) -> None:
    await system.start(sweepers=0)
    agent = agents.start(system.ws)
    await agent.tells("registered")
    other = agents.start(system.ws, of=agent)
    assert await other.ends() == Exit.USAGE
    assert str(agent.state) in other.log()
    assert agent.running


async def test_the_example_of_the_library_puts_a_node_in_and_does_its_jobs(
    system: System, agents: Agents, tmp_path: Path
) -> None:
    await system.start()
    example = ROOT / "docs" / "examples" / "inference_node.py"
    (tmp_path / "models.toml").write_text(
        "".join(f"{key} = {json.dumps(value)}\n" for key, value in MODEL.items()).join(
            ["[[models]]\n", ""]
        )
    )
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(example), system.ws, str(tmp_path / "models.toml"),
        env=agents.environ(simulate="RTX 4090:24", state_dir=str(tmp_path / "state")),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert program.stdout is not None
        async with asyncio.timeout(60):
            assert await program.stdout.readline() == b"registering registered\n"
            assert await program.stdout.readline() == b"ready healthy\n"

        async def worked() -> bool:
            return 'muster_job_results_total{success="true"} 1.0' in await metrics(system.http)

        await until(worked, "a job's result arrived", every_s=0.1)
        program.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            rest = await program.stdout.read()
            assert await program.wait() == 0
        assert rest.splitlines()[-1].startswith(b"offline "), rest
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.kill()
        await program.wait()


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def local_api(agent: AgentProcess) -> httpx.AsyncClient:
    """A program on the same machine, with the token of its user."""
    url = (agent.state / "local-api-url").read_text().strip()
    token = (agent.state / "local-api-token").read_text().strip()
    headers: dict[str, Any] = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=url, headers=headers, trust_env=False)
