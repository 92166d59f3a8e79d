"""Past a limit: answered at the door, while everybody inside goes on. Over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import trustme
from websockets.exceptions import InvalidStatus

from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.node import Node, metrics
from tests.support.raw import UPGRADE, frame, wire


async def turned_away(url: str, **options: object) -> float:
    """Seconds an upgrade is told to wait."""
    with pytest.raises(InvalidStatus) as raised:
        async with Node(url, **options):
            pass
    answer = raised.value.response
    assert answer.status_code == 503
    assert answer.body is not None
    assert json.loads(answer.body)["code"] == "OVERLOADED"
    return float(answer.headers["Retry-After"])


def forwarded(address: str) -> dict[str, dict[str, str]]:
    return {"additional_headers": {"X-Forwarded-For": address}}


async def test_past_a_limit_an_upgrade_is_answered_503_and_nobody_inside_is_touched(
    system: System,
) -> None:
    limits = {"sockets_most": 3, "sockets_per_address": 2, "sockets_unregistered": 2}
    await system.start(trusted_proxies=["127.0.0.1"], **limits)
    a, b = forwarded("198.51.100.1"), forwarded("198.51.100.2")
    async with AsyncExitStack() as inside:
        first = await inside.enter_async_context(Node(system.ws, **a))
        await inside.enter_async_context(Node(system.ws, **b))
        assert await turned_away(system.ws, **b) >= 2  # two that have not registered
        await first.become_ready(heartbeat_ack=True)
        await inside.enter_async_context(Node(system.ws, **b))
        waits = {await turned_away(system.ws, **forwarded("198.51.100.3")) for _ in range(20)}
        assert len(waits) > 1  # those sent away together do not come back together
        await first.beat()
        await first.hear_type("node_heartbeat_ack")
        said = await metrics(system.http)
        assert 'muster_shed_total{limit="sockets"} 20.0' in said
        assert 'muster_shed_total{limit="unregistered"} 1.0' in said
        assert "muster_gateway_sockets_most 3.0" in said
    async with Node(system.ws, **b) as one, Node(system.ws, **b):
        await one.register()
        await turned_away(system.ws, **b)
        assert 'limit="address"} 1.0' in await metrics(system.http)
        async with Node(system.ws, **a) as other:
            assert (await other.register())["type"] == "node_register_ack"
    assert system.gateways[0].log().count("turned_away") == 3


async def test_at_a_full_gateway_who_never_registers_gives_way_to_who_comes(
    system: System,
) -> None:
    await system.start(sockets_most=3, sockets_chance_s=3.0, heartbeat_timeout_s=20.0)
    async with AsyncExitStack() as inside:
        first = await inside.enter_async_context(Node(system.ws))
        await first.become_ready(heartbeat_ack=True)
        old = await inside.enter_async_context(Node(system.ws))
        await inside.enter_async_context(Node(system.ws))
        await turned_away(system.ws)
        came: list[Node] = []

        async def let_in() -> bool:  # time for which a gateway stood still is no part of a chance
            with contextlib.suppress(InvalidStatus):
                came.append(await inside.enter_async_context(Node(system.ws)))
            return bool(came)

        await until(let_in, "the oldest had its chance", every_s=0.1)
        assert await old.close_code() == 4429
        await came[0].become_ready()
        await first.beat()
        await first.hear_type("node_heartbeat_ack")
    assert 'muster_socket_closes_total{code="4429"} 1.0' in await metrics(system.http)


async def test_a_head_that_comes_slowly_or_never_ends_is_answered_and_hung_up(
    system: System,
) -> None:
    await system.start(sweepers=0, head_timeout_s=1.5)
    port = system.gateways[0].port
    async with wire(port) as silent, wire(port) as slow, wire(port) as endless:
        await endless.send(b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000)
        assert b" 431 " in await endless.until_closed()

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                for letter in UPGRADE:
                    await slow.send(letter.encode())
                    await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert b" 408 " in await silent.until_closed()
        assert b" 408 " in await slow.until_closed()
        await dripping
    async with httpx.AsyncClient(trust_env=False, base_url=system.http) as client:
        for _ in range(3):  # a kept connection's next request has its own time
            await asyncio.sleep(0.6)
            assert (await client.get("/healthz")).status_code == 200


async def test_a_handshake_of_tls_that_never_comes_is_hung_up(
    system: System, tmp_path: Path
) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    await system.start(
        sweepers=0,
        head_timeout_s=2.0,
        tls_cert_file=str(tmp_path / "cert.pem"),
        tls_key_file=str(tmp_path / "key.pem"),
    )
    (gateway,) = system.gateways
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with Node(gateway.ws_url, ssl=trust) as honest:
        async with wire(gateway.port) as silent, wire(gateway.port) as half:
            await half.send(b"\x16\x03\x01\x02\x00")
            assert await silent.until_closed() == b""
            await half.until_closed()
        assert (await honest.register())["type"] == "node_register_ack"
    assert "Traceback" not in gateway.log()


ODD = {
    "a line too long": "X: " + "a" * 9000 + "\r\n",
    "too many lines": "".join(f"X{n}: a\r\n" for n in range(300)),
    "two versions": "Sec-WebSocket-Version: 12\r\n",
    "two hosts": "Host: 203.0.113.1\r\n",
    "a body": "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
}


async def test_a_request_nobody_can_read_is_refused_in_words_and_hung_up(system: System) -> None:
    await system.start(sweepers=0)
    (gateway,) = system.gateways
    for name, more in ODD.items():
        async with wire(gateway.port) as odd:
            assert b" 400 " in await odd.upgrade(more), name
            await odd.until_closed()
    async with wire(gateway.port) as odd:
        await odd.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: a\r\n\r\n")
        assert b" 400 " in await odd.until_closed()
    assert "Traceback" not in gateway.log()
    assert 'state="unregistered"} 0.0' in await metrics(system.http)


async def test_requests_nobody_can_read_fill_no_log(system: System) -> None:
    await system.start(sweepers=0)
    (gateway,) = system.gateways
    before = len(gateway.log())
    for bad in (b"\x00\r\n\r\n", b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"):
        for _ in range(200):
            async with wire(gateway.port) as stranger:
                await stranger.send(bad)
                async with asyncio.timeout(5):
                    assert await stranger.reader.readline()
    assert len(gateway.log()) - before < 5000


FLOODS = {
    "unreadable": frame(b"{}"),
    "unknown": frame(b'{"type":"x"}'),
    "pings": frame(b"", 9),
    "pongs": frame(b"", 10),
    "pieces": frame(b"", 0, fin=False),
}


async def test_floods_slow_nobody_else_and_cost_no_memory(system: System) -> None:
    """Before frames were parsed a little at a time, two such sockets kept others waiting for more
    than 30 s."""
    await system.start(messages_burst=60, messages_per_s=6.0, heartbeat_timeout_s=20.0)
    (gateway,) = system.gateways
    async with Node(system.ws, ping_interval=None) as honest:
        await honest.become_ready(heartbeat_ack=True)
        before = _memory_kib(gateway.pid)
        for name, one in FLOODS.items():
            over = asyncio.Event()
            flooding = [asyncio.create_task(_flood(gateway.port, one, over)) for _ in range(2)]
            for _ in range(2):
                await asyncio.sleep(0.2)
                await honest.beat()
                await honest.hear_type("node_heartbeat_ack", 10.0)
            over.set()
            await asyncio.wait_for(asyncio.gather(*flooding), 60)
            assert _memory_kib(gateway.pid) - before < 32 * 1024, name
        assert not [frame for frame in honest.told if frame.get("status") == "offline"]
    said = await metrics(system.http)
    assert 'muster_socket_closes_total{code="1008"} 0' not in said
    assert 'muster_socket_closes_total{code="1009"} 0' not in said
    assert len(gateway.log()) < 20_000


async def _flood(port: int, one: bytes, over: asyncio.Event) -> None:
    block = one * 5000
    while not over.is_set():
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            async with wire(port) as flooder:
                await flooder.upgrade()
                await flooder.send(frame(b"{", fin=False) if not one[0] & 0x8F else b"")
                while not over.is_set():
                    await asyncio.wait_for(flooder.send(block), 0.5)


def _memory_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def test_messages_past_what_a_socket_may_send_are_taken_at_a_pace_and_the_rest_waits(
    system: System,
) -> None:
    await system.start(sweepers=0, messages_burst=10, messages_per_s=1.0)

    async def refused() -> float:
        said = await metrics(system.http)
        return sum(map(float, re.findall(r"^muster_node_errors_total\{.*\} (\S+)$", said, re.M)))

    async with wire(system.gateways[0].port) as flooder:
        await flooder.upgrade()
        await flooder.send(frame(b'{"type":"node_heartbeat"}') * 2000)

        async def answered() -> bool:
            return await refused() >= 20

        await until(answered, "the first are answered")
        await asyncio.sleep(0.5)
        assert await refused() < 200  # four times what it may send, and not all of it


async def test_pongs_nobody_reads_do_not_pile_up(system: System) -> None:
    await system.start(sweepers=0)
    async with wire(system.gateways[0].port) as deaf:
        await deaf.upgrade()
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(100):
                await asyncio.wait_for(deaf.send(frame(b"x" * 125, 9) * 1000), 1.0)

        async def gone() -> bool:
            return "muster_sockets_ended_total 1.0" in await metrics(system.http)

        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(gone, "who only pings is closed", every_s=0.1)


async def test_requests_past_what_is_answered_at_a_time_are_told_to_come_back(
    system: System,
) -> None:
    await system.start(sweepers=0, api_requests_most=2)
    async with httpx.AsyncClient(trust_env=False, base_url=system.http) as client:
        async with client.stream("GET", "/v1/events"), client.stream("GET", "/v1/events"):
            answer = await client.get("/v1/nodes")
            assert answer.status_code == 503
            assert answer.json()["code"] == "OVERLOADED"
            assert int(answer.headers["Retry-After"]) >= 2
            assert (await client.get("/healthz")).status_code == 200

        async def answered() -> bool:
            return (await client.get("/v1/nodes")).status_code == 200

        await until(answered, "there is a place again")
