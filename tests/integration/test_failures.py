"""What lifecycle promises when processes die and the store is away: our fault is not the node's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.integration.conftest import QUICK, System
from tests.support.fleet import until
from tests.support.node import Node, node_row, selected


@contextlib.asynccontextmanager
async def beating(node: Node, every_s: float = 0.3) -> AsyncIterator[None]:
    """Keeps a node beating until left, whatever happens to its socket."""

    async def beat() -> None:
        while True:
            with contextlib.suppress(Exception):
                await node.beat()
            await asyncio.sleep(every_s)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()


def offline_told(node: Node) -> list[dict[str, object]]:
    return [f for f in node.told if f["type"] == "node_status" and f["status"] == "offline"]


async def is_selected(system: System, node: Node, gateway: int = 0) -> bool:
    return node.node_id in await selected(system.gateways[gateway].url)


async def test_the_gateway_that_holds_a_node_dies_and_the_node_resumes_elsewhere(
    system: System,
) -> None:
    await system.start(gateways=2, sweepers=2)
    async with Node(system.ws) as node:
        await node.become_ready()
        system.gateways[0].kill()
        async with Node(system.gateways[1].ws_url) as again:
            ack = await again.register(node_id=node.node_id, node_token=node.token)
            assert ack["resumed"] is True
            assert ack["status"] == "ready"
            assert await is_selected(system, again, 1)


async def test_nodes_of_a_dead_gateway_are_held_and_blamed_on_the_platform(
    system: System,
) -> None:
    await system.start(gateways=2, sweepers=1)
    async with Node(system.ws) as node:
        await node.become_ready()
        system.gateways[0].kill()
        url = system.gateways[1].url

        async def offline() -> bool:
            return bool((await node_row(url, node.node_id or ""))["status"] == "offline")

        await until(offline, "the node is called offline in the end", every_s=0.1)
        row = await node_row(url, node.node_id or "")
        evidence = row["events"][0]["evidence"]
        assert evidence["gateway_present"] is False
        assert evidence["silence_ms"] >= 1000 * float(str(QUICK["gateway_grace_s"]))
        assert evidence["blame"] == "platform"


async def test_a_sweeper_dies_and_another_takes_its_partitions(system: System) -> None:
    await system.start(gateways=1, sweepers=2)
    async with Node(system.ws) as node:
        system.sweepers[0].kill()
        await node.register()
        async with beating(node):
            assert (await node.hear_status("ready"))["reason"] == "healthy"


async def test_both_sweepers_away_stop_no_selection_and_no_node_falls(system: System) -> None:
    await system.start(gateways=1, sweepers=2)
    async with Node(system.ws) as node:
        await node.become_ready()
        async with beating(node):
            for sweeper in system.sweepers:
                sweeper.kill()
            for _ in range(10):
                assert await is_selected(system, node)
                await asyncio.sleep(0.05)
            await system.start(gateways=0, sweepers=1)

            async def settled() -> bool:
                return await is_selected(system, node)

            await until(settled, "still selected with a new sweeper")
        assert not offline_told(node)


async def test_paused_sweepers_resumed_change_nothing_on_stale_judgements(
    system: System,
) -> None:
    await system.start(gateways=1, sweepers=2)
    async with Node(system.ws) as node:
        await node.become_ready()
        async with beating(node):
            for sweeper in system.sweepers:
                sweeper.pause()

            async def leases_lapsed() -> bool:
                found = await system.registry.patrol([0], "probe", observe=False, limit=0)
                return found[0].held

            await until(leases_lapsed, "their leases lapse")
            await system.registry.release([0], "probe")
            for sweeper in system.sweepers:
                sweeper.resume()

            async def back() -> bool:
                return await is_selected(system, node)

            await until(back, "the node is still selected")
        assert not offline_told(node)


async def test_an_emptied_store_gets_its_nodes_back_from_their_beats(system: System) -> None:
    await system.start(gateways=1, sweepers=1)
    async with Node(system.ws) as node:
        first = await node.become_ready()
        system.backend.empty()
        async with beating(node):
            again = await node.hear_status("ready")
            assert again["version"] > first["version"]

            async def back() -> bool:
                return await is_selected(system, node)

            await until(back, "selected again")
        assert not offline_told(node)
        assert node.ws.close_code is None


async def test_a_store_paused_beyond_the_time_out_costs_nobody_anything(system: System) -> None:
    await system.start(gateways=1, sweepers=1)
    async with Node(system.ws) as node:
        await node.become_ready()
        async with beating(node):
            store = system.backend.servers[0]
            store.pause()
            await asyncio.sleep(0)  # the pause itself is what is waited for, below
            try:
                await _for(4.0)
            finally:
                store.resume()

            async def back() -> bool:
                return await is_selected(system, node)

            await until(back, "selected again after the pause")
        assert not offline_told(node)
        assert node.ws.close_code is None


async def test_a_node_that_died_during_the_pause_is_called_offline_after_it(
    system: System,
) -> None:
    await system.start(gateways=1, sweepers=1)
    async with Node(system.ws) as node:
        await node.become_ready()
        store = system.backend.servers[0]
        store.pause()
        try:
            await _for(3.0)
        finally:
            store.resume()
        assert (await node.hear_status("offline"))["reason"] == "heartbeat_timeout"


async def test_a_lost_status_message_reaches_its_node_with_the_next_beat(
    system: System,
) -> None:
    """The sweeper's message goes to nobody, as if pub/sub had dropped it."""
    await system.start(gateways=1, sweepers=0)
    async with Node(system.ws) as node:
        await node.register()
        for _ in range(3):
            await node.beat()
        from registry.keys import partition_of
        from registry.model import Decision, Reason, Status

        async def stored() -> bool:
            found = await system.registry.facts(
                partition_of(node.node_id or ""), [node.node_id or ""]
            )
            return found[0] is not None and found[0].window == "PPP"

        await until(stored, "three beats are stored")
        facts = (
            await system.registry.facts(partition_of(node.node_id or ""), [node.node_id or ""])
        )[0]
        assert facts is not None
        import dataclasses

        lost = dataclasses.replace(facts, gateway="nobody-listens")
        await system.registry.commit(lost, Decision(Status.READY, Reason.HEALTHY))
        await node.beat()
        assert (await node.hear_status("ready"))["previous"] == "registering"


async def test_a_rolling_restart_loses_nobody(system: System) -> None:
    await system.start(gateways=2, sweepers=1)
    async with Node(system.ws) as node:
        await node.become_ready()
        system.gateways[0].terminate()
        await node.hear_type("reconnect")
        assert await node.close_code() == 1012
        async with Node(system.gateways[1].ws_url) as again:
            ack = await again.register(node_id=node.node_id, node_token=node.token)
            assert (ack["status"], ack["resumed"]) == ("ready", True)


async def test_a_paused_gateway_revives_nobody_with_what_lay_in_its_sockets(
    system: System,
) -> None:
    await system.start(gateways=2, sweepers=1)
    async with Node(system.ws) as node:
        await node.become_ready()
        gateway = system.gateways[0]
        gateway.pause()
        await node.beat()  # lies in the paused gateway's socket
        url = system.gateways[1].url

        async def offline() -> bool:
            return bool((await node_row(url, node.node_id or ""))["status"] == "offline")

        try:
            await until(offline, "the node is offline", every_s=0.1)
        finally:
            gateway.resume()
        await gateway.wait_ready()
        for _ in range(10):
            assert await selected(url) == []
            await asyncio.sleep(0.05)
        assert (await node_row(url, node.node_id or ""))["status"] == "offline"


async def _for(seconds: float) -> None:
    """An outage's length: the one thing here that is a time and not an event."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(seconds, done.set_result, None)
    await done
