"""HAProxy's file with gateways given by name, as in Compose: they may be late, and may move."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from registry.ports import free_ports
from tests.deploy.composition import DEPLOY
from tests.support.fleet import until
from tests.support.names import Names, names
from tests.support.prometheus import program


async def _answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Any request, with the address it came to."""
    await reader.readuntil(b"\r\n\r\n")
    here = writer.get_extra_info("sockname")[0].encode()
    head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(here)
    writer.write(head + here)
    writer.close()


@asynccontextmanager
async def _haproxy(directory: Path, server: Names, port: int) -> AsyncIterator[httpx.AsyncClient]:
    """It asks the test's name server instead of the machine's, and looks less long for a name."""
    (front,) = free_ports(1)
    text = (DEPLOY / "haproxy" / "haproxy.cfg").read_text("utf-8")
    assert "    parse-resolv-conf\n" in text
    asked = f"    nameserver test 127.0.0.1:{server.port}\n    hold nx 1s\n"
    config = directory / "haproxy.cfg"
    config.write_text(
        text.replace("    parse-resolv-conf\n", asked).replace(
            "bind :8088", f"bind 127.0.0.1:{front}"
        )
    )
    named = {"GATEWAY_1": f"gateway-1.test:{port}", "GATEWAY_2": f"gateway-2.test:{port}"}
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(program("haproxy", "haproxy"), "-db", "-f", str(config)),
            env={"PATH": os.environ["PATH"], **named},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{front}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield client
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.mark.parametrize("path", ["/v1/fleet", "/ws/node"], ids=["the API", "node sockets"])
async def test_gateways_that_have_no_address_yet_and_get_another_are_found(
    path: str, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    draw = random.SystemRandom()
    net = f"127.{draw.randint(64, 254)}.{draw.randint(0, 254)}"
    first, second, moved = (f"{net}.{n}" for n in (1, 2, 3))
    async with (
        await asyncio.start_server(_answers, [first, second, moved], port),
        names() as server,
        _haproxy(tmp_path, server, port) as front,
    ):

        async def reached() -> set[str]:
            try:
                return {(await front.get(path)).text for _ in range(4)}
            except httpx.TransportError:
                return set()

        async def nobody() -> bool:
            return any("503" in text for text in await reached())

        async def both() -> bool:
            return await reached() == {first, second}

        async def the_one_that_moved() -> bool:
            return await reached() == {second, moved}

        async def the_other_alone() -> bool:
            return await reached() == {second}

        await until(nobody, "it runs, though nobody has an address")
        server.known |= {"gateway-1.test": first, "gateway-2.test": second}
        await until(both, "both are found")
        server.known["gateway-1.test"] = moved
        await until(the_one_that_moved, "it follows the one that moved")
        del server.known["gateway-1.test"]
        await until(the_other_alone, "one without an address is left out")
