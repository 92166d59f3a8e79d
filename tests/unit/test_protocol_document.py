"""The protocol's document tells what the code does: examples, fields and codes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from muster.wire import messages
from muster.wire.closing import CloseCode
from muster.wire.codec import JSON, MSGPACK
from muster.wire.errors import ErrorCode
from muster.wire.reading import read

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text("utf-8")
EXAMPLES: list[dict[str, Any]] = [
    json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", DOCUMENT, re.S | re.M)
]
FROM_NODES: dict[str, type[msgspec.Struct]] = {
    "node_register": messages.Register,
    "node_heartbeat": messages.Heartbeat,
    "job_result": messages.JobResult,
    "node_unregister": messages.Unregister,
}
FROM_SERVERS: dict[str, type[msgspec.Struct]] = {
    "node_register_ack": messages.RegisterAck,
    "node_error": messages.NodeError,
    "node_status": messages.NodeStatus,
    "node_heartbeat_ack": messages.HeartbeatAck,
    "reconnect": messages.Reconnect,
}
SAID = [example for example in EXAMPLES if example["type"] in FROM_NODES]
HEARD = [example for example in EXAMPLES if example["type"] in FROM_SERVERS]
SENT: list[type[msgspec.Struct]] = [
    *FROM_NODES.values(),
    messages.Hardware,
    messages.Gpu,
    messages.Model,
]
INTERNAL = {"warnings", "raw", "frame", "usage"} | {"health_ok", "health_reason", "hardware_gpus"}


def name(example: dict[str, Any]) -> str:
    return str(example["type"])


def test_every_message_has_an_example_and_there_are_no_others() -> None:
    assert {name(example) for example in EXAMPLES} == set(FROM_NODES) | set(FROM_SERVERS)


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
@pytest.mark.parametrize("example", SAID, ids=name)
def test_what_a_node_says_is_read_as_what_it_claims_to_be(
    example: dict[str, Any], codec: Any
) -> None:
    message = read(codec.encode(example), codec)
    assert type(message) is FROM_NODES[name(example)]
    assert getattr(message, "warnings", ()) == ()


@pytest.mark.parametrize("example", HEARD, ids=name)
def test_what_a_server_says_decodes_strictly_and_completely(example: dict[str, Any]) -> None:
    said = msgspec.json.decode(json.dumps(example), type=FROM_SERVERS[name(example)], strict=True)
    assert json.loads(JSON.encode(said)) == example


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_is_in_the_table_of_errors(code: ErrorCode) -> None:
    assert f"\n| `{code}` |" in DOCUMENT


@pytest.mark.parametrize("close", CloseCode)
def test_every_close_code_is_in_the_table_of_closes(close: CloseCode) -> None:
    table = DOCUMENT.partition("\n## Close codes\n")[2]
    assert re.search(rf"^\|[^|]*\b{close.code}\b[^|]*\|", table, re.M)


@pytest.mark.parametrize(
    "field",
    sorted(
        {field.name for struct in SENT for field in msgspec.structs.fields(struct)}
        - INTERNAL
        - {"error_code", "error_message"}
    ),
)
def test_every_field_a_node_may_send_is_in_the_document(field: str) -> None:
    assert re.search(rf"\b{field}\b", DOCUMENT)
