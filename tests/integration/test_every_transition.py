"""Every row of the transition table, over real sockets against real processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from sweeper.rules import TABLE
from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.node import Node, node_row

Story = Callable[[System], Awaitable[None]]
BAD = {"resource_usage": {"gpu_percent": 101}}


async def told(node: Node, status: str, reason: str) -> None:
    frame = await node.hear_status(status)
    assert frame["reason"] == reason


async def kept_alive(node: Node, system: System, status: str, reason: str) -> None:
    """Beats until the store shows a status and reason."""

    async def so() -> bool:
        await node.beat()
        row = await node_row(system.http, node.node_id or "")
        return (row["status"], row["reason"]) == (status, reason)

    await until(so, f"{status}/{reason}", every_s=0.2)


async def removed(system: System) -> None:
    async with Node(system.ws) as node:
        await node.become_ready()
        await system.registry.remove(node.node_id or "", "op", "scrapped")
        await told(node, "offline", "removed")
        await node.beat()
        assert (await node.hear_type("node_error"))["code"] == "NOT_REGISTERED"


async def unregistered(system: System) -> None:
    async with Node(system.ws) as node:
        await node.become_ready()
        await node.say({"type": "node_unregister", "reason": "owner"})
        await told(node, "offline", "unregistered")
        await node.beat()
        assert (await node.hear_type("node_error"))["code"] == "NOT_REGISTERED"


async def silent(system: System) -> None:
    async with Node(system.ws) as node:
        await node.become_ready()
        await told(node, "offline", "heartbeat_timeout")


async def drains_itself(system: System) -> None:
    async with Node(system.ws) as node:
        await node.become_ready()
        await node.beat(resource_usage={"running_jobs": 1})
        await node.say({"type": "node_unregister"})
        await told(node, "draining", "node_request")
        await node.say({"type": "job_result", "job_id": "j", "success": True, "running_jobs": 0})
        await told(node, "offline", "drained")


async def drain_runs_out(system: System) -> None:
    async with Node(system.ws) as node:
        await node.become_ready()
        await node.beat(resource_usage={"running_jobs": 1})
        await node.say({"type": "node_unregister"})
        await told(node, "draining", "node_request")

        async def gone() -> bool:
            await node.beat(resource_usage={"running_jobs": 1})
            row = await node_row(system.http, node.node_id or "")
            return (row["status"], row["reason"]) == ("offline", "drain_timeout")

        await until(gone, "the drain runs out", every_s=0.2)
        await told(node, "offline", "drain_timeout")


async def operator_drains_and_it_ends(system: System) -> None:
    async with Node(system.ws) as node:
        await node.become_ready()
        await system.registry.drain(node.node_id or "", "op", "kernel update")
        await told(node, "draining", "operator")
        await kept_alive(node, system, "draining", "drained")
        await told(node, "draining", "drained")


async def operators_drain_runs_out(system: System) -> None:
    async with Node(system.ws) as node:
        await node.become_ready()
        await node.beat(resource_usage={"running_jobs": 1})
        await system.registry.drain(node.node_id or "", "op", "kernel update", timeout_s=0.3)
        await told(node, "draining", "operator")
        await told(node, "draining", "drain_timeout")
        await system.registry.drain(node.node_id or "", "op", "it needs longer", timeout_s=60)
        await told(node, "draining", "operator")


async def resumed_fit(system: System) -> None:
    async with Node(system.ws) as node:
        await node.become_ready()
        await system.registry.drain(node.node_id or "", "op", "look")
        await told(node, "draining", "operator")
        await system.registry.resume(node.node_id or "", "op", "fine")
        await told(node, "ready", "resumed")


async def resumed_unfit(system: System) -> None:
    async with Node(system.ws) as node:
        await node.become_ready()
        await system.registry.drain(node.node_id or "", "op", "look")
        await told(node, "draining", "operator")
        await node.beat(**BAD)

        async def stored() -> bool:
            row = await node_row(system.http, node.node_id or "")
            return bool(row["verdicts"][0]["verdict"] == "g")

        await until(stored, "the bad beat is stored")
        await system.registry.resume(node.node_id or "", "op", "fine")
        await told(node, "degraded", "resumed")


async def resumed_untried(system: System) -> None:
    async with Node(system.ws) as node:
        await node.register()
        await system.registry.drain(node.node_id or "", "op", "look")
        await told(node, "draining", "operator")
        await system.registry.resume(node.node_id or "", "op", "fine")
        await told(node, "registering", "resumed")


async def healthy(system: System) -> None:
    async with Node(system.ws) as node:
        ready = await node.become_ready()
        assert ready["reason"] == "healthy"


async def warmup_runs_out(system: System) -> None:
    async with Node(system.ws) as node:
        await node.register(installed_models=[])

        async def late() -> bool:
            await node.beat()
            row = await node_row(system.http, node.node_id or "")
            return (row["status"], row["reason"]) == ("degraded", "model_missing")

        await until(late, "warm-up runs out", every_s=0.2)
        await told(node, "degraded", "model_missing")


async def becomes_unfit(system: System) -> None:
    async with Node(system.ws) as node:
        await node.become_ready()
        for _ in range(3):
            await node.beat(**BAD)
        await told(node, "degraded", "gpu_unavailable")


async def recovers(system: System) -> None:
    async with Node(system.ws) as node:
        await node.become_ready()
        for _ in range(3):
            await node.beat(**BAD)
        await told(node, "degraded", "gpu_unavailable")
        await node.beat()
        await told(node, "ready", "recovered")


async def passes_at_last(system: System) -> None:
    async with Node(system.ws) as node:
        await node.register(installed_models=[])
        await _degrade_in_warmup(node, system)
        good = {"model_id": "a", "kind": "asr", "version": "1", "src_lang": "zh"}
        for _ in range(3):
            await node.beat(installed_models=[good])
        await told(node, "ready", "healthy")


async def _degrade_in_warmup(node: Node, system: System) -> None:
    async def late() -> bool:
        await node.beat()
        return bool((await node_row(system.http, node.node_id or ""))["status"] == "degraded")

    await until(late, "warm-up runs out", every_s=0.2)


async def under_intent_a_registration_is_draining(system: System) -> None:
    async with Node(system.ws) as node:
        token = (await node.register())["node_token"]
        await system.registry.drain(node.node_id or "", "op", "kernel update")
        await told(node, "draining", "operator")
    async with Node(system.ws) as back:
        ack = await back.register(node_id=node.node_id, node_token=token)
        assert ack["status"] == "draining"


# One story for each row of the table, in its order; two rows end one story.
STORIES: dict[tuple[str, str], list[Story]] = {
    ("offline", "removed"): [removed],
    ("offline", "unregistered"): [unregistered],
    ("offline", "heartbeat_timeout"): [silent],
    ("offline", "drained"): [drains_itself],
    ("offline", "drain_timeout"): [drain_runs_out],
    ("draining", "drained"): [operator_drains_and_it_ends],
    ("draining", "drain_timeout"): [operators_drain_runs_out],
    ("ready", "resumed"): [resumed_fit],
    ("degraded", "resumed"): [resumed_unfit],
    ("registering", "resumed"): [resumed_untried],
    ("draining", "operator"): [
        operator_drains_and_it_ends,
        under_intent_a_registration_is_draining,
    ],
    ("draining", "node_request"): [drains_itself],
    ("ready", "healthy"): [healthy, passes_at_last],
    ("degraded", "None"): [warmup_runs_out, becomes_unfit],
    ("ready", "recovered"): [recovers],
}


def test_every_row_of_the_table_has_a_story() -> None:
    rows = {(str(row.to), str(getattr(row.reason, "value", row.reason))) for row in TABLE}
    missing = {r for r in rows if r not in STORIES and r[0] != "degraded"}
    assert not missing


@pytest.mark.parametrize(
    "story", list(dict.fromkeys(s for stories in STORIES.values() for s in stories)),
    ids=lambda s: s.__name__,
)  # fmt: skip
async def test_a_row_of_the_table(system: System, story: Story) -> None:
    await system.start()
    await story(system)
