"""Who may use a real gateway: tokens, the open rule, limits; https and wss."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from muster.wire.bearer import Entry, Role, digest, new_token
from tests.integration.conftest import System
from tests.support.files import put
from tests.support.fleet import until
from tests.support.node import Node, metrics
from tests.support.processes import Process

ROOT = Path(__file__).resolve().parents[2]
READER, ADMIN, LATER = new_token(), new_token(), new_token()
READER_LINE = Entry("scheduler", Role.READ, digest(READER)).line()
ADMIN_LINE = Entry("ops", Role.ADMIN, digest(ADMIN)).line()
LATER_LINE = Entry("scheduler", Role.READ, digest(LATER)).line()


async def ask(
    gateway: Process, path: str, token: str | None = None, method: str = "GET", **more: Any
) -> httpx.Response:
    verify = more.pop("verify", True)
    headers = more.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, verify=verify) as client:
        return await client.request(method, path, headers=headers, **more)


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def nodes_and_health_work(gateway: Process) -> None:
    async with Node(gateway.ws_url) as node:
        assert (await node.register())["type"] == "node_register_ack"
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await ask(gateway, path)).status_code == 200


# --- tokens


async def test_tokens_are_asked_for_changed_while_it_runs_and_never_written_down(
    system: System, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# ours\n{READER_LINE}\n")
    await system.start(sweepers=0, api_tokens_file=str(file), api_tokens=[ADMIN_LINE])
    (gateway,) = system.gateways
    answer = await ask(gateway, "/v1/nodes")
    assert problem(answer) == (401, "UNAUTHORIZED")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert (await ask(gateway, "/v1/nodes", READER)).status_code == 200
    assert (await ask(gateway, "/v1/nodes", ADMIN)).status_code == 200
    assert problem(await ask(gateway, "/v1/nodes/x", READER, "DELETE")) == (403, "FORBIDDEN")
    await nodes_and_health_work(gateway)

    async def status(token: str) -> int:
        return (await ask(gateway, "/v1/nodes", token)).status_code

    put(file, f"{READER_LINE}\n{LATER_LINE}\n")
    await until(lambda: _equals(status(LATER), 200), "the new token is known")
    assert await status(READER) == 200
    put(file, f"{LATER_LINE}\n")
    await until(lambda: _equals(status(READER), 401), "the old token is not")
    assert await status(LATER) == 200
    put(file, "broken")

    async def noticed() -> bool:
        assert await status(LATER) == 200
        return "api_tokens_file_not_reloaded" in gateway.log()

    await until(noticed, "the broken file is logged")

    assert (await ask(gateway, f"/v1/nodes/{READER}?token={READER}", READER)).status_code == 401
    text = gateway.log() + (await ask(gateway, "/metrics")).text
    assert 'muster_http_requests_total{method="GET",route="/v1/nodes",status="4xx"}' in text
    for secret in (READER, ADMIN, LATER):
        assert secret not in text
        assert digest(secret) not in text


async def _equals(asked: Awaitable[object], expected: object) -> bool:
    return await asked == expected


# --- without tokens


async def test_on_loopback_it_is_open_to_this_machine_alone(system: System) -> None:
    await system.start(sweepers=0)
    (gateway,) = system.gateways
    assert (await ask(gateway, "/v1/nodes")).status_code == 200
    for headers, named in (
        ({"Host": "rebound.example"}, "Host"),
        ({"Origin": "http://evil.example"}, "Origin"),
        ({"Origin": "null"}, "Origin"),
        ({"X-Forwarded-For": "203.0.113.9"}, "X-Forwarded-For"),
    ):
        answer = await ask(gateway, "/v1/nodes", headers=headers)
        assert problem(answer) == (403, "NOT_LOCAL")
        assert answer.json()["header"] == named
        assert "muster token new" in answer.json()["detail"]
    same = {"Origin": gateway.url}
    assert (await ask(gateway, "/v1/nodes", headers=same)).status_code == 200


async def test_bound_elsewhere_it_is_closed_but_for_nodes_and_health(system: System) -> None:
    await system.start(sweepers=0, host="0.0.0.0")
    (gateway,) = system.gateways
    answer = await ask(gateway, "/v1/nodes")
    assert problem(answer) == (403, "API_NOT_CONFIGURED")
    assert "--open-api" in answer.json()["detail"]
    await nodes_and_health_work(gateway)
    assert "api_closed" in gateway.log()


async def test_bound_elsewhere_it_is_open_if_told_so(system: System) -> None:
    await system.start(sweepers=0, host="0.0.0.0", open_api=True)
    (gateway,) = system.gateways
    headers = {"Host": "muster.example"}
    assert (await ask(gateway, "/v1/nodes", headers=headers)).status_code == 200
    assert "api_open_to_everybody" in gateway.log()


# --- limits


async def test_a_large_body_in_chunks_is_answered_413(system: System) -> None:
    await system.start(sweepers=0, api_body_bytes=1000)
    (gateway,) = system.gateways

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    for content in (chunks(), b" " * 1001):
        answer = await ask(gateway, "/v1/select", method="POST", content=content)
        assert problem(answer) == (413, "TOO_LARGE")


async def test_too_many_requests_are_answered_429_and_nodes_do_not_mind(system: System) -> None:
    await system.start(sweepers=0, api_burst=3, api_rate_per_s=0.01)
    (gateway,) = system.gateways
    statuses = [(await ask(gateway, "/v1/nodes")).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    answer = await ask(gateway, "/v1/nodes")
    assert problem(answer) == (429, "RATE_LIMITED")
    assert 0 < int(answer.headers["Retry-After"]) <= 100
    await nodes_and_health_work(gateway)


@pytest.mark.parametrize(
    ("trusted", "statuses"),
    [([], [200, 200, 429, 429]), (["127.0.0.0/8"], [200, 200, 200, 200])],
)
async def test_an_address_is_only_whose_it_is_unless_a_trusted_proxy_says_so(
    system: System, trusted: list[str], statuses: list[int]
) -> None:
    await system.start(
        sweepers=0,
        api_burst=2,
        api_rate_per_s=0.01,
        api_tokens=[READER_LINE],
        trusted_proxies=trusted,
    )
    (gateway,) = system.gateways
    seen = [
        (
            await ask(gateway, "/v1/nodes", READER, headers={"X-Forwarded-For": f"203.0.113.{n}"})
        ).status_code
        for n in range(4)
    ]
    assert seen == statuses


async def test_a_trusted_proxy_opens_no_gateway_that_is_open_to_its_machine_alone(
    system: System,
) -> None:
    await system.start(sweepers=0, trusted_proxies=["127.0.0.1"])
    (gateway,) = system.gateways
    for address in ("203.0.113.9", "127.0.0.1"):
        answer = await ask(gateway, "/v1/nodes", headers={"X-Forwarded-For": address})
        assert problem(answer) == (403, "NOT_LOCAL")


async def test_a_store_that_keeps_us_waiting_is_answered_503(system: System) -> None:
    await system.start(sweepers=0, api_timeout_s=0.5, redis_timeout_s=30.0)
    (gateway,) = system.gateways
    store = system.backend.servers[0]
    store.pause()
    try:
        answer = await asyncio.wait_for(ask(gateway, "/v1/nodes"), 20)
        assert problem(answer) == (503, "TIMEOUT")
    finally:
        store.resume()
    answers = [503]

    async def answered() -> bool:
        answers.append((await ask(gateway, "/v1/nodes")).status_code)
        return answers[-1] == 200

    await until(answered, "the next are answered as if nothing had been")
    failed = float(answers.count(503))
    assert f'route="/v1/nodes",status="5xx"}} {failed}' in await metrics(gateway.url)


# --- TLS


@dataclass
class Authority:
    """Makes certificates for 127.0.0.1 and localhost, and writes them where a gateway looks."""

    ca: trustme.CA
    directory: Path

    @property
    def settings(self) -> dict[str, Any]:
        return {"tls_cert_file": str(self.cert), "tls_key_file": str(self.key)}

    @property
    def cert(self) -> Path:
        return self.directory / "cert.pem"

    @property
    def key(self) -> Path:
        return self.directory / "key.pem"

    def issue(self) -> bytes:
        """Writes a new certificate with its key; its DER form."""
        made = self.ca.issue_cert("127.0.0.1", "localhost")
        self.key.write_bytes(made.private_key_pem.bytes())
        self.cert.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
        return ssl.PEM_cert_to_DER_cert(made.cert_chain_pems[0].bytes().decode())

    def context(self) -> ssl.SSLContext:
        """What a client trusts."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(trustme.CA(), tmp_path)


async def shown(gateway: Process, context: ssl.SSLContext, name: str | None) -> bytes:
    """The certificate that a new connection is shown, in DER form."""
    if name is None:
        context.check_hostname = False
    _, writer = await asyncio.open_connection(
        "127.0.0.1", gateway.port, ssl=context, server_hostname=name or ""
    )
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    assert isinstance(found, bytes)
    return found


async def test_nodes_and_programs_come_by_wss_and_https(
    system: System, authority: Authority
) -> None:
    authority.issue()
    await system.start(**authority.settings)
    (gateway,) = system.gateways
    assert gateway.url.startswith("https://")
    async with Node(gateway.ws_url, ssl=authority.context()) as node:
        await node.become_ready(heartbeat_ack=True)
        answer = await ask(gateway, "/v1/nodes", verify=authority.context())
        assert [row["node_id"] for row in answer.json()["nodes"]] == [node.node_id]
        large = {"note": "x" * 200_000}
        await node.beat(advanced_features=large)
        await node.hear_type("node_heartbeat_ack")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        await ask(gateway, "/v1/nodes")
    with pytest.raises(httpx.RemoteProtocolError):
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.get(gateway.url.replace("https", "http") + "/healthz")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("version", "good"),
    [
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
async def test_old_versions_of_tls_are_refused(
    system: System, authority: Authority, version: ssl.TLSVersion, good: bool
) -> None:
    made = authority.issue()
    await system.start(sweepers=0, **authority.settings)
    context = authority.context()
    context.set_ciphers("ALL:@SECLEVEL=0")  # so that it is not the client who refuses
    context.minimum_version = context.maximum_version = version
    if good:
        assert await shown(system.gateways[0], context, "localhost") == made
        return
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await shown(system.gateways[0], context, "localhost")


@pytest.mark.parametrize("name", ["localhost", None])
async def test_a_changed_certificate_is_shown_without_a_restart(
    system: System, authority: Authority, name: str | None
) -> None:
    first = authority.issue()
    await system.start(sweepers=0, **authority.settings)
    (gateway,) = system.gateways
    async with Node(gateway.ws_url, ssl=authority.context()) as node:
        await node.register(heartbeat_ack=True)
        assert await shown(gateway, authority.context(), name) == first
        second = authority.issue()
        await until(
            lambda: _equals(shown(gateway, authority.context(), name), second),
            "the second is shown",
        )
        await node.beat()
        await node.hear_type("node_heartbeat_ack")
        authority.key.write_text("broken")

        async def noticed() -> bool:
            assert await shown(gateway, authority.context(), name) == second
            return "tls_certificate_not_reloaded" in gateway.log()

        await until(noticed, "the broken key is logged")
        third = authority.issue()
        await until(
            lambda: _equals(shown(gateway, authority.context(), name), third), "the third is shown"
        )


async def test_muster_up_serves_https_where_a_certificate_is_given(
    authority: Authority, tmp_path: Path
) -> None:
    authority.issue()
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    environ |= {"MUSTER_" + name.upper(): value for name, value in authority.settings.items()}
    command = [sys.executable, "-m", "muster", "up", "--json", "--port", "0", "--gateways", "1"]
    process = await asyncio.create_subprocess_exec(
        *command,
        "--data-dir",
        str(tmp_path / "data"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
        cwd=ROOT,
    )
    try:
        assert process.stdout
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert line, (await process.communicate())[1].decode()
        (url,) = json.loads(line)["gateways"]
        assert url.startswith("https://")
        async with httpx.AsyncClient(trust_env=False, verify=authority.context()) as client:
            assert (await client.get(f"{url}/v1/nodes")).status_code == 200
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0


# --- what can't start


def start_badly(**settings: str) -> str:
    """What a gateway says that does not start because of its settings."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    environ["MUSTER_PORT"] = str(port)
    environ |= {f"MUSTER_{name.upper()}": value for name, value in settings.items()}
    ended = subprocess.run(
        [sys.executable, "-m", "gateway"],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_a_gateway_does_not_start_without_the_files_it_needs(
    authority: Authority, tmp_path: Path
) -> None:
    authority.issue()
    good = authority.settings
    missing = str(tmp_path / "none.pem")
    said = start_badly(**good | {"tls_cert_file": missing})
    assert said.startswith("MUSTER_TLS_CERT_FILE: expected a PEM file, but there is no")
    said = start_badly(**good | {"tls_key_file": missing})
    assert said.startswith("MUSTER_TLS_KEY_FILE: expected a PEM file, but there is no")
    assert "MUSTER_TLS_KEY_FILE" in start_badly(tls_cert_file=good["tls_cert_file"])
    file = tmp_path / "tokens"
    file.write_text(f"{READER_LINE}\nops:{ADMIN}\n")
    said = start_badly(api_tokens_file=str(file))
    assert "MUSTER_API_TOKENS_FILE" in said
    assert "line 2: role: expected read or admin" in said
    assert ADMIN not in said


@pytest.mark.parametrize("what", ["of another certificate", "with a passphrase", "no PEM"])
def test_a_key_that_does_not_fit_is_said_at_the_start(authority: Authority, what: str) -> None:
    authority.issue()
    if what == "of another certificate":
        other = authority.ca.issue_cert("127.0.0.1")
        authority.key.write_bytes(other.private_key_pem.bytes())
    elif what == "no PEM":
        authority.key.write_text("x")
    else:
        locked = [
            "openssl",
            *("ec", "-aes256", "-passout", "pass:secret"),
            *("-in", str(authority.key), "-out", str(authority.key)),
        ]
        subprocess.run(locked, check=True, capture_output=True)
    said = start_badly(**authority.settings)
    assert said.startswith("MUSTER_TLS_CERT_FILE: expected a PEM certificate chain that belongs")
    if what == "with a passphrase":
        assert said.rstrip().endswith("the key has a passphrase")
