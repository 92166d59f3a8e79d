"""Who isn't who they say: every way to another machine's id that was thought of."""

from __future__ import annotations

import copy
import json
from contextlib import AsyncExitStack
from typing import Any

import httpx

from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.node import EXAMPLE, Node, node_row

FOR_EVER: dict[str, Any] = {"code": "NODE_ID_CONFLICT", "details": None}
"""A conflict without a time to wait: it will not be had later either."""


def said(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: answer.get(name) for name in FOR_EVER}


async def resumed(url: str, node_id: str | None, token: str | None) -> bool:
    async with Node(url) as node:
        answer = await node.register(node_id=node_id, node_token=token)
        return bool(answer["type"] == "node_register_ack" and answer.get("resumed"))


async def test_no_token_but_its_own_ever_takes_an_id_whatever_became_of_the_socket(
    system: System,
) -> None:
    await system.start()
    async with Node(system.ws) as other:
        await other.register()
        async with Node(system.ws) as victim:
            await victim.become_ready()
            await victim.register(node_id=victim.node_id, node_token=victim.token)
            own, id_ = victim.token or "", victim.node_id
            stolen = [other.token, own[:-1], own.upper(), f"{own} ", own[::-1], "é", "\x00", None]
            assert len({own, *stolen}) == len(stolen) + 1
            for token in stolen:
                assert said(await Thief(system).try_to_be(id_, token)) == FOR_EVER, token
            await victim.beat()
        for token in stolen:  # its socket is closed
            assert said(await Thief(system).try_to_be(id_, token)) == FOR_EVER, token
        await until(lambda: offline(system, id_), "it is offline")
        for token in stolen:
            assert said(await Thief(system).try_to_be(id_, token)) == FOR_EVER, token
        # Not of its own, but the words that tokens are made with do not fit either.
        assert said(await Thief(system).try_to_be(id_, "fleet-secret")) == FOR_EVER
        async with Node(system.ws) as back:
            assert (await back.register(node_id=id_, node_token=own))["node_id"] == id_
        await other.beat()


class Thief:
    """Somebody with a socket of their own."""

    def __init__(self, system: System) -> None:
        self._url = system.ws

    async def try_to_be(self, node_id: str | None, token: str | None) -> dict[str, Any]:
        async with Node(self._url) as node:
            answer = await node.register(node_id=node_id, node_token=token, boot_id="thief")
            await node.beat()  # neither is what comes after a refusal anybody's
            assert (await node.hear())["code"] in ("NOT_REGISTERED", "INVALID_MESSAGE")
            return answer


async def offline(system: System, node_id: str | None) -> bool:
    return bool((await node_row(system.http, node_id or ""))["status"] == "offline")


async def test_where_tokens_are_required_a_name_alone_is_worth_nothing(system: System) -> None:
    await system.start(require_node_token=True)
    async with Node(system.ws) as victim:
        await victim.register()  # never shows its token
    assert said(await Thief(system).try_to_be(victim.node_id, None)) == FOR_EVER
    assert await resumed(system.ws, victim.node_id, victim.token)


async def test_a_recorded_registration_played_again_does_not_displace_a_later_attempt(
    system: System,
) -> None:
    await system.start()
    async with AsyncExitStack() as sockets:
        first = await sockets.enter_async_context(Node(system.ws))
        await first.register(boot_id="b", attempt=1)
        recorded = {
            **copy.deepcopy(EXAMPLE),
            "node_id": first.node_id,
            "node_token": first.token,
            "boot_id": "b",
            "attempt": 2,
        }
        second = await sockets.enter_async_context(Node(system.ws))
        await second.register(**recorded)
        third = await sockets.enter_async_context(Node(system.ws))
        await third.register(**{**recorded, "attempt": 3, "heartbeat_ack": True})
        for _ in range(5):  # on as many sockets as one likes
            replay = await sockets.enter_async_context(Node(system.ws))
            await replay.say(recorded)
            answer = await replay.hear()
            assert answer["code"] == "NODE_ID_CONFLICT"
            assert answer["details"]["retry_after_ms"] > 0
        await third.beat()
        await third.hear_type("node_heartbeat_ack")


async def test_frames_that_name_another_node_change_nothing_of_it(system: System) -> None:
    await system.start()
    async with Node(system.ws) as victim, Node(system.ws) as attacker:
        await victim.become_ready()
        await attacker.register()
        lies = (
            {"type": "node_heartbeat", "resource_usage": {"running_jobs": 99}},
            {"type": "node_heartbeat", "health": {"ok": False, "reason": "broken"}},
            {"type": "job_result", "job_id": "j", "success": True, "running_jobs": 99},
        )
        before = await node_row(system.http, victim.node_id or "")
        for lie in lies:
            await attacker.say({**lie, "node_id": victim.node_id})
            answer = await attacker.hear_type("node_error")
            assert answer["code"] == "INVALID_MESSAGE"
            assert answer["details"] == {"path": "node_id", "expected": attacker.node_id}
        # It names another, but ends only the one who says it: it has no field for whom.
        await attacker.say({"type": "node_unregister", "node_id": victim.node_id, "drain": False})
        await attacker.hear_status("offline")
        after = await node_row(system.http, victim.node_id or "")
        same = ("status", "since", "version", "session", "verdicts")
        assert {name: after[name] for name in same} == {name: before[name] for name in same}


async def test_two_machines_of_one_cloned_image_end_with_one_and_both_are_named(
    system: System,
) -> None:
    await system.start(gateways=2, takeover_limit=2)
    async with AsyncExitStack() as sockets:
        first = await sockets.enter_async_context(Node(system.ws))
        await first.register(boot_id="one")
        machines, answers = [first], []
        for turn in range(4):  # each comes back whenever the other took its place
            gateway = system.gateways[turn % 2]
            node = await sockets.enter_async_context(Node(gateway.ws_url))
            boot_id = "another" if turn % 2 == 0 else "one"
            known = {"node_id": first.node_id, "node_token": first.token}
            answers.append(await node.register(**known, boot_id=boot_id))
            if answers[-1]["type"] != "node_register_ack":
                break
            assert await machines[-1].close_code() == 4409
            machines.append(node)
        assert [a["type"] for a in answers] == ["node_register_ack"] * 2 + ["node_error"]
        assert await node.close_code() == 4509
        await machines[-1].beat()  # who was there stays
        assert not await offline(system, first.node_id)
    async with httpx.AsyncClient(base_url=system.http, trust_env=False) as client:
        told = (await client.get("/v1/events?since=0&until=now&types=duplicate_identity")).text
    (event,) = [json.loads(line[5:]) for line in told.splitlines() if '"duplicate_ident' in line]
    text = json.dumps(event)
    assert '"another"' in text
    assert '"one"' in text


async def test_secrets_rotate_under_a_living_fleet_and_the_old_one_ends(system: System) -> None:
    await system.start(sweepers=1, gateways=1, secret=["old-secret"])
    await system.start(sweepers=0, gateways=1, secret=["new-secret", "old-secret"])
    await system.start(sweepers=0, gateways=1, secret=["new-secret"])
    old, both, new = (gateway.ws_url for gateway in system.gateways)
    async with Node(old) as node:
        await node.become_ready()
        former = node.token
        async with Node(new) as early:  # before it was given a new one it can't come here
            answer = await early.register(node_id=node.node_id, node_token=former)
            assert said(answer) == FOR_EVER
        async with Node(both) as moved:
            ack = await moved.register(node_id=node.node_id, node_token=former)
            assert ack["resumed"] is True
            assert await node.close_code() == 4409
            assert moved.token not in (None, former)
            assert await resumed(new, node.node_id, moved.token)
            async with Node(new) as late:
                answer = await late.register(node_id=node.node_id, node_token=former)
                assert said(answer) == FOR_EVER


async def test_a_join_token_taken_away_ends_nobody_inside_and_lets_nobody_in(
    system: System,
) -> None:
    # The machine is silent while another gateway starts.
    patient: dict[str, Any] = {"heartbeat_timeout_s": 60.0, "gateway_grace_s": 120.0}
    await system.start(join_tokens=["former", "later"], **patient)
    (gateway,) = system.gateways
    bearer = {"additional_headers": {"Authorization": "Bearer former"}}
    async with Node(system.ws, **bearer) as node:
        await node.become_ready()
        await system.start(sweepers=0, join_tokens=["later"], **patient)
        elsewhere = system.gateways[1].ws_url
        for url in (elsewhere, f"{elsewhere}?token=former", f"{elsewhere}?token=later&token=x"):
            async with Node(url, **bearer) as refused:
                answer = await refused.register(node_id=node.node_id, node_token=node.token)
                assert answer["code"] == "UNAUTHORIZED"
                assert await refused.close_code() == 4501
        await node.beat()
        assert not await offline(system, node.node_id)
        async with Node(f"{elsewhere}?token=later") as welcome:
            assert (await welcome.register())["type"] == "node_register_ack"
    assert "former" not in gateway.log()


ODD_IDS = ("{x}", "a}b{c", "a b", "a\nb", "ａ", "a/../b", "x" * 65, "a:b", "\x00", "*")


async def test_an_id_that_could_be_more_than_a_name_is_refused_and_leaves_nothing(
    system: System,
) -> None:
    await system.start(sweepers=0)
    (server,) = system.backend.servers
    async with Node(system.ws) as node:
        for shape in ODD_IDS:
            answer = await node.register(node_id=shape)
            assert (answer["code"], answer["details"]["path"]) == ("INVALID_MESSAGE", "node_id")
        assert ":n:" not in str(server.command("KEYS", "*"))
        assert (await node.register(node_id="a"))["node_id"] == "a"
        assert ":n:a" in str(server.command("KEYS", "*"))
