"""Where nodes must show a certificate: nobody without one of the fleet's is a node."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest
import trustme
from websockets.exceptions import InvalidMessage, InvalidStatus

from gateway.settings import GatewaySettings
from muster.agent.config import AgentConfig, ConfigError
from muster.agent.dialling import dial
from registry.settings import SettingsError
from tests.integration.conftest import System
from tests.support.node import Node

ANY_NAME = "machine-7.fleet.example"


class Machine:
    """Somebody with a certificate of some authority, and trust in the gateway's."""

    def __init__(self, directory: Path, server: trustme.CA, own: trustme.CA | None) -> None:
        self.context = ssl.create_default_context()
        server.configure_trust(self.context)
        if own is not None:
            made = own.issue_cert(ANY_NAME)
            made.configure_cert(self.context)
            self.cert, self.key = directory / "own.pem", directory / "own.key"
            made.cert_chain_pems[0].write_to_path(self.cert)
            made.private_key_pem.write_to_path(self.key)


async def test_a_node_shows_a_certificate_of_the_fleet_and_programs_need_none(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, fleet, stranger = trustme.CA(), trustme.CA(), trustme.CA()
    made = server.issue_cert("127.0.0.1", "localhost")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    fleet.cert_pem.write_to_path(tmp_path / "fleet.pem")
    await system.start(
        tls_cert_file=str(tmp_path / "cert.pem"),
        tls_key_file=str(tmp_path / "key.pem"),
        tls_client_ca_file=str(tmp_path / "fleet.pem"),
    )
    (gateway,) = system.gateways
    member = Machine(tmp_path, server, fleet)
    async with Node(system.ws, ssl=member.context) as node:
        await node.become_ready()

        bare = Machine(tmp_path, server, None)
        with pytest.raises(InvalidStatus) as refused:
            async with Node(system.ws, ssl=bare.context):
                pass
        assert refused.value.response.status_code == 403
        assert b"certificate" in (refused.value.response.body or b"")

        for other in (stranger, server):  # the gateway's own authority makes no nodes
            with pytest.raises((ssl.SSLError, ConnectionError, InvalidMessage, EOFError)):
                async with Node(system.ws, ssl=Machine(tmp_path, server, other).context) as thief:
                    await thief.register()

        async with httpx.AsyncClient(verify=bare.context, trust_env=False) as client:
            assert (await client.get(f"{gateway.url}/readyz")).status_code == 200
            answer = await client.get(f"{gateway.url}/v1/nodes/{node.node_id}")
            assert answer.json()["status"] == "ready"

        # An agent shows what its settings name.
        server.cert_pem.write_to_path(tmp_path / "server.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
        again = Machine(tmp_path, server, fleet)
        config = AgentConfig(tls_cert_file=again.cert, tls_key_file=again.key)
        async with asyncio.timeout(60):
            async with await dial(system.ws, config, "1"):
                pass
            with pytest.raises(InvalidStatus):
                await dial(system.ws, AgentConfig(), "1")


def test_a_certificate_without_its_key_is_named() -> None:
    with pytest.raises(ConfigError) as without:
        AgentConfig(tls_cert_file=Path("cert.pem"))
    assert without.value.name == "tls_key_file"


def test_certificates_of_nodes_are_asked_for_by_tls_alone() -> None:
    with pytest.raises(SettingsError, match="MUSTER_TLS_CLIENT_CA_FILE"):
        GatewaySettings(tls_client_ca_file="ca.pem")
