"""The schemas for other languages say what readers accept, and what servers write."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.asyncapi import files
from muster.wire.asyncapi import ADDRESS, EXAMPLES, RECEIVED, SENT, document
from muster.wire.closing import CloseCode
from muster.wire.codec import JSON
from muster.wire.errors import ErrorCode
from muster.wire.messages import SUPPORTED_SCHEMAS, Heartbeat, Register, Unknown
from muster.wire.reading import WireError, read
from muster.wire.replies import read_reply
from muster.wire.schema import FROM_NODES, FROM_SERVERS, frame_schema

KINDS = (*FROM_NODES, *FROM_SERVERS)
VALID = {kind: jsonschema_rs.validator_for(frame_schema(kind)) for kind in KINDS}
PROTOCOL = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text("utf-8")
DOCUMENTED: list[dict[str, Any]] = [
    json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", PROTOCOL, re.S | re.M)
]
DOCUMENT = document()


def kind_of(example: dict[str, Any]) -> str:
    return str(example["type"])


@pytest.mark.parametrize("example", [*DOCUMENTED, *EXAMPLES.values()], ids=kind_of)
def test_every_example_fits_its_schema(example: dict[str, Any]) -> None:
    VALID[kind_of(example)].validate(example)


# What readers say of a frame, and what the schema says of it

FULL: dict[str, list[dict[str, Any]]] = {
    kind: [example for example in DOCUMENTED if kind_of(example) == kind] for kind in FROM_NODES
}
FULL["node_register"].append(
    {
        **EXAMPLES["node_register"],
        "labels": {"region": "eu", "rack": "b4"},
        "features_supported": {"emotion_detection": None},
        "capability_state": {"mdl": "ready"},
        "max_concurrent_jobs": 3,
        "node_token": "t",
        "capability_schema_version": "1.0",
    }
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31 - 1, 2**31, 2**53 + 1, 1.0, 0.5, -0.5, 1e300]),
    st.sampled_from(["", "x", "1.0", "2.0", "asr", "node-A", "no~node", "x" * 65, "x" * 257]),
)
anything = st.recursive(
    scalars,
    lambda inside: (
        st.lists(inside, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "memory_gb", "ok", "x"]), inside, max_size=2)
    ),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a message but its type."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for name, part in inside:
        if (*path, name) != ("type",):
            yield (*path, name)
            if isinstance(part, dict | list):
                yield from places(part, (*path, name))


@st.composite
def frames(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """A good frame with a few places changed, taken away or added."""
    made: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(FULL[kind])))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(sorted(places(made), key=str)))
        inside: Any = made
        for name in path[:-1]:
            inside = inside[name]
        match draw(st.integers(0, 3)):
            case 0:
                del inside[path[-1]]
            case 1 if isinstance(inside, dict):
                inside[draw(st.sampled_from(["x", "reason", "gpus", "uuid"]))] = draw(anything)
            case _:
                inside[path[-1]] = draw(anything)
        if not list(places(made)):
            break
    return made


def accepted(frame: dict[str, Any]) -> bool | None:
    """Whether it is read, and nothing in it counted as missing; None if that can't be told."""
    try:
        message = read(json.dumps(frame), JSON)
    except WireError:
        return False
    if isinstance(message, Register) and message.capability_schema_version not in SUPPORTED_SCHEMAS:
        return False
    if isinstance(message, Register | Heartbeat):
        return not any("expected" in warning for warning in message.warnings)
    return True if VALID[str(frame["type"])].is_valid(frame) else None


@pytest.mark.parametrize("kind", FROM_NODES)
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_frame_fits_the_schema_exactly_if_it_is_read_without_a_loss(
    kind: str, data: st.DataObject
) -> None:
    frame = data.draw(frames(kind))
    read_well = accepted(frame)
    if read_well is not None:
        assert VALID[kind].is_valid(frame) == read_well, frame


@pytest.mark.parametrize("kind", FROM_SERVERS)
def test_what_a_server_writes_fits_its_schema_whole(kind: str) -> None:
    said = read_reply(json.dumps(EXAMPLES[kind]), JSON)
    assert not isinstance(said, Unknown)
    written = json.loads(JSON.encode(said))
    VALID[kind].validate(written)
    for name in frame_schema(kind)["required"]:
        assert name in written
        assert not VALID[kind].is_valid({k: v for k, v in written.items() if k != name})


# The AsyncAPI document


def refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for part in value.values():
            yield from refs(part)
    elif isinstance(value, list):
        for part in value:
            yield from refs(part)


def test_everything_the_document_refers_to_is_in_it() -> None:
    for ref in refs(DOCUMENT):
        found: Any = DOCUMENT
        for name in ref.removeprefix("#/").split("/"):
            found = found[name.replace("~1", "/")]


def test_every_frame_is_on_the_channel_and_in_an_operation() -> None:
    channel = DOCUMENT["channels"]["node"]
    assert channel["address"] == ADDRESS
    assert set(channel["messages"]) == set(KINDS)
    told = {kind for o in (*RECEIVED, *SENT) for kind in (o.kind, *o.replies)}
    assert told == set(KINDS)
    assert {o.kind for o in RECEIVED} == set(FROM_NODES)
    actions = {name: made["action"] for name, made in DOCUMENT["operations"].items()}
    assert {actions[o.name] for o in RECEIVED} == {"receive"}
    assert {actions[o.name] for o in SENT} == {"send"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_of_the_document_has_an_example_that_fits(kind: str) -> None:
    message = DOCUMENT["components"]["messages"][kind]
    schema = {**message["payload"], "components": DOCUMENT["components"]}
    (example,) = message["examples"]
    jsonschema_rs.validator_for(schema).validate(example["payload"])


def test_every_error_and_close_code_is_in_the_document() -> None:
    assert {e["code"] for e in DOCUMENT["x-error-codes"]} == set(ErrorCode)
    assert [(c["code"], c["reconnect"]) for c in DOCUMENT["x-close-codes"]] == [
        (close.code, close.retry) for close in CloseCode
    ]


def test_what_lies_in_the_documentation_is_what_the_code_says() -> None:
    for path, text in files().items():
        assert path.read_text("utf-8") == text, f"{path.name}: run `make docs`"
    assert {p.stem for p in next(iter(files())).parent.glob("schemas/*")} == set(KINDS)
