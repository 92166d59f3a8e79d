"""Debian's nginx and HAProxy with the configurations of `deploy/`, before gateways of a test."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from registry.ports import free_ports
from tests.support.fleet import until
from tests.support.prometheus import program

PATIENCE_S = 3
"""Longer than a busy machine keeps a gateway from answering, and shorter than a silent node is
waited for."""
_DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
_FILES = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}
_PACKAGES = {"haproxy": "haproxy", "nginx": "nginx-light"}


@dataclass(frozen=True)
class Balancer:
    """One that serves."""

    http: str
    ws: str
    wss: str


@asynccontextmanager
async def balancer(
    kind: str, directory: Path, gateways: Sequence[int], authority: trustme.CA
) -> AsyncIterator[Balancer]:
    """A load balancer of this kind before gateways on these ports. Its patience with requests is
    cut to `PATIENCE_S`, that with node sockets is as it is deployed."""
    plain, tls = free_ports(2)
    text = (_DEPLOY / kind / _FILES[kind]).read_text()
    text = _with_tls(kind, text, directory, authority)
    text = text.replace("8088", str(plain)).replace("8443", str(tls))
    text = re.sub(r"\b60s\b", f"{PATIENCE_S}s", text)
    text = "\n".join(_servers(text.splitlines(), gateways))
    config = directory / _FILES[kind]
    config.write_text(text + "\n")
    with (directory / f"{kind}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *_command(kind, config), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        await until(lambda: _listens(plain), f"{kind} listens")
        local = f"127.0.0.1:{plain}"
        wss = f"wss://localhost:{tls}/ws/node"
        yield Balancer(f"http://{local}", f"ws://{local}/ws/node", wss)
    finally:
        process.terminate()
        await process.wait()


def _command(kind: str, config: Path) -> list[str]:
    found = program(kind, _PACKAGES[kind])
    if kind == "haproxy":
        return [found, "-db", "-f", str(config)]
    own = f"daemon off; pid {config.parent / 'nginx.pid'};"
    return [found, "-p", str(config.parent), "-c", str(config), "-g", own]


def _with_tls(kind: str, text: str, directory: Path, authority: trustme.CA) -> str:
    """The lines about TLS without their #, naming a certificate of the test's."""
    certificate = authority.issue_cert("localhost")
    chain, key = directory / "muster.pem", directory / "muster.key"
    certificate.private_key_and_cert_chain_pem.write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    text, count = re.subn(r"# (bind :8443|listen 8443|ssl_certificate)", r"\1", text)
    assert count == {"haproxy": 1, "nginx": 3}[kind]
    text = re.sub(r"/etc/\w+/muster\.(pem|crt)", str(chain), text)
    return text.replace("/etc/nginx/muster.key", str(key))


def _servers(lines: Sequence[str], gateways: Sequence[int]) -> list[str]:
    """The lines with one server for each gateway, made of the one that names the first."""
    made = []
    for line in lines:
        if "127.0.0.1:8080" in line:
            for place, port in enumerate(gateways):
                own = line.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
                made.append(own.replace("gateway-1", f"gateway-{place + 1}"))
        elif "127.0.0.1:8081" not in line:
            made.append(line)
    return made


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
