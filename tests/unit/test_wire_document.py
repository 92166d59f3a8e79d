"""Every example of the protocol's document is read as what it claims to be."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from muster.wire.closing import CloseCode
from muster.wire.codec import JSON
from muster.wire.errors import ErrorCode
from muster.wire.messages import Heartbeat, Message, Register, Reply, Unknown
from muster.wire.reading import read
from muster.wire.replies import read_reply

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text()
EXAMPLES = re.findall(r"^```json\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
FROM_NODES = {"node_register", "node_heartbeat", "job_result", "node_unregister"}
FROM_SERVERS = {
    "node_register_ack", "node_error", "node_status", "node_heartbeat_ack", "reconnect",
}  # fmt: skip


def understood(example: str) -> Message | Reply:
    if json.loads(example)["type"] in FROM_NODES:
        return read(example, JSON)
    return read_reply(example, JSON)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: json.loads(text)["type"])
def test_an_example_is_understood_without_a_warning(example: str) -> None:
    message = understood(example)
    assert not isinstance(message, Unknown)
    if isinstance(message, Register | Heartbeat):
        assert message.warnings == ()


def test_there_is_an_example_of_every_frame() -> None:
    assert {json.loads(example)["type"] for example in EXAMPLES} == FROM_NODES | FROM_SERVERS


def test_what_the_server_says_is_written_with_the_same_fields() -> None:
    for example in EXAMPLES:
        plain = json.loads(example)
        if plain["type"] in FROM_SERVERS:
            assert json.loads(JSON.encode(read_reply(example, JSON))) == plain


def test_every_error_and_close_code_is_in_the_document() -> None:
    assert all(f"| `{code}` |" in DOCUMENT for code in ErrorCode)
    assert all(str(close.code) in DOCUMENT for close in CloseCode)
