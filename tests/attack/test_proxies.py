"""Requests that a proxy and a gateway might read differently, through the proxies of `deploy/`.

What may not be reached from outside is `/metrics`. So whoever is shown it has smuggled a request
past the proxy, or has found another way to write its name.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from tests.integration.conftest import System
from tests.support.balancers import balancer
from tests.support.fleet import until
from tests.support.node import Node, node_row
from tests.support.raw import wire

FIRST_WORD_S = 5.0
EVIL = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
FORBIDDEN = b"muster_gateway_sockets"
NOBODY = tuple(b"HTTP/1.1 %d " % status for status in (502, 503, 504))
"""How a proxy answers that finds no gateway."""
POST = "POST /v1/select HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
UPGRADE = (
    "Host: a\r\nUpgrade: {}\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
CHUNKS = "Transfer-Encoding: chunked\r\n"
CHUNKED = f"{len(EVIL):x}\r\n{EVIL}\r\n0\r\n\r\n"
LONG = f"Content-Length: {len(EVIL)}\r\n"

SMUGGLES: dict[str, str] = {
    "a length and chunks": f"{POST}{LONG}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": f"{POST}Transfer-Encoding: chunked\r\n{LONG}\r\n0\r\n\r\n",
    "two lengths": f"{POST}Content-Length: 0\r\n{LONG}\r\n",
    "a list of lengths": f"{POST}Content-Length: 0, {len(EVIL)}\r\n\r\n",
    "a length with a sign": f"{POST}Content-Length: +{len(EVIL)}\r\n\r\n",
    "a length in hexadecimal": f"{POST}Content-Length: 0x{len(EVIL):x}\r\n\r\n",
    "a length of spaces": f"{POST}Content-Length: 0 {len(EVIL)}\r\n\r\n",
    "a length with an underscore": f"{POST}Content_Length: {len(EVIL)}\r\n\r\n",
    "two encodings": f"{POST}{LONG}{CHUNKS}Transfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "an encoding unheard of": f"{POST}{LONG}Transfer-Encoding: xchunked\r\n\r\n",
    "an encoding after a tab": f"{POST}{LONG}Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
    "an encoding after a form feed": f"{POST}{LONG}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": f"{POST}{LONG}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded line": f"{POST}{LONG}X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a lone line feed": f"{POST}{LONG}X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a lone carriage return": f"{POST}{LONG}X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an encoding with an underscore": f"{POST}{LONG}Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk whose size wraps around": f"{POST}{CHUNKS}\r\n10000000000000000\r\n",
    "a chunk with a sign": f"{POST}Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a chunk that ends in one line feed": f"{POST}Transfer-Encoding: chunked\r\n\r\n0\n\n",
    "HTTP/1.0 in chunks": f"{POST.replace('/1.1', '/1.0')}{LONG}Transfer-Encoding: chunked\r\n\r\n",
    "a body of a GET": f"GET /v1/nodes HTTP/1.1\r\nHost: a\r\n{LONG}\r\n",
    "a WebSocket that fails": "GET /ws/node HTTP/1.1\r\nSec-WebSocket-Version: 12\r\n"
    + UPGRADE.format("websocket")
    + "\r\n",
    "a WebSocket elsewhere": "GET /v1/nodes HTTP/1.1\r\nSec-WebSocket-Version: 13\r\n"
    + UPGRADE.format("websocket")
    + "\r\n",
    "a WebSocket by a page": "GET /ws/node HTTP/1.1\r\n"
    "Sec-WebSocket-Version: 13\r\nOrigin: null\r\n" + UPGRADE.format("websocket") + "\r\n",
    "another protocol": "GET /v1/nodes HTTP/1.1\r\n" + UPGRADE.format("h2c") + "\r\n",
}
"""What stands before the request that shall be smuggled. Some hold that request as their body; what
follows is then one that the proxy reads, and refuses."""

TWO_WAYS = (
    *("a length and chunks", "chunks and a length", "two lengths", "a list of lengths"),
    *("a length with a sign", "a length in hexadecimal", "a length of spaces", "two encodings"),
    *("an encoding unheard of", "an encoding after a form feed", "a blank before the colon"),
    *("a lone line feed", "a lone carriage return", "a chunk whose size wraps around"),
    *("a chunk with a sign", "a chunk that ends in one line feed"),
)

NAMES = (
    *("/metrics", "/%6detrics", "/%6Detrics", "//metrics", "/metrics/", "/./metrics"),
    *("/%2fmetrics", "/%2e/metrics", "/v1/../metrics", "/v1/%2e%2e/metrics", "/metrics?a"),
    *("/metrics%3fa", "/metrics;a", "/metrics%00", "/metrics%20", "/METRICS", "/metrics#a"),
    *("http://a/metrics", "http://a//metrics", "http://a/%6Detrics", "*", "/%256detrics"),
)
HOPS = (
    [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "203.0.113.8")],
    [("x-forwarded-for", "203.0.113.9, 127.0.0.1")],
    [("X_Forwarded_For", "203.0.113.9")],
    [("X-Forwarded-For ", "203.0.113.9")],
    [("Forwarded", "for=203.0.113.9")],
    [("X-Real-IP", "203.0.113.9"), ("X-Client-IP", "203.0.113.9")],
    [("X-Forwarded-For", "")],
    [("Connection", "X-Forwarded-For")],
)


async def everything(port: int, text: str) -> bytes:
    """All that is answered until a second of silence; its beginning is waited for longer, as proxy
    and gateway may have much else to do."""
    got = b""
    async with wire(port) as client:
        await client.send(text.encode("latin-1"))
        try:
            while data := await asyncio.wait_for(
                client.reader.read(65_536), 1.0 if got else FIRST_WORD_S
            ):
                got += data
        except (TimeoutError, ConnectionError):
            pass
    return got


async def through(port: int, text: str) -> bytes:
    """All that is answered through a proxy; asked again where the proxy found nobody to ask, as it
    sends nothing to a gateway that a busy machine kept from answering."""
    got = b""
    for _ in range(10):
        answer = await everything(port, text)
        got += answer
        if not answer.startswith(NOBODY):
            break
        await asyncio.sleep(0.5)
    return got


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
async def test_no_request_is_smuggled_and_no_address_forged_through(
    kind: str, system: System, tmp_path: Path
) -> None:
    await system.start(sweepers=0, trusted_proxies=["127.0.0.1"], open_api=True)
    (gateway,) = system.gateways
    assert FORBIDDEN in await everything(gateway.port, EVIL)  # it would be found
    async with balancer(kind, tmp_path, [gateway.port], trustme.CA()) as front:
        port = urlsplit(front.http).port
        assert port is not None
        heads = {name: head + EVIL for name, head in SMUGGLES.items()}
        heads |= {f"{name}, in chunks": head + CHUNKED for name, head in SMUGGLES.items()}
        heads |= {name: EVIL.replace("/metrics", name) for name in NAMES}
        answers = await asyncio.gather(*(through(port, text) for text in heads.values()))
        for name, answer in zip(heads, answers, strict=True):
            assert FORBIDDEN not in answer, name
        assert sum(b"HTTP/1.1 4" in answer for answer in answers) > len(heads) / 2
        # Connections that the proxy keeps to the gateway hold nothing of others.
        async with httpx.AsyncClient(base_url=front.http, trust_env=False) as client:

            async def well() -> bool:
                answer = await client.get("/healthz")
                found = answer.status_code not in (502, 503, 504)
                assert not found or answer.json() == {"status": "ok"}
                return found

            for _ in range(20):
                await until(well, "it is answered")
        for forged in HOPS:
            address = await recorded(front.ws, gateway.url, forged)
            assert address in (None, "127.0.0.2"), forged


async def recorded(ws: str, http: str, headers: list[tuple[str, str]]) -> str | None:
    """The address a gateway records of a machine at 127.0.0.2; None if it is turned away."""
    try:
        async with Node(ws, local_addr=("127.0.0.2", 0), additional_headers=headers) as node:
            await node.register()
            row = await node_row(http, node.node_id or "")
            return str(row["address"])
    except OSError as error:
        raise AssertionError(headers) from error
    except Exception:  # noqa: BLE001 - whatever the proxy says to a header nobody can read
        return None


async def test_what_can_be_read_in_two_ways_is_hung_up_by_the_gateway_itself(
    system: System,
) -> None:
    """Also where no proxy stands before it, or another one."""
    await system.start(sweepers=0)
    port = system.gateways[0].port
    for name in TWO_WAYS:
        answer = await everything(port, SMUGGLES[name] + EVIL)
        assert answer.startswith(b"HTTP/1.1 400 "), name
        assert FORBIDDEN not in answer, name
