"""The OpenAPI 3.1 document, made from the table of endpoints and the Structs they name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import inspect

from gateway.api import expected, recorded
from gateway.api.endpoint import LAST_EVENT_ID, Endpoint
from gateway.api.frames import EndShown, GapShown
from gateway.api.problems import CODES
from gateway.api.questions import Bulk, NeedsBody, SelectBody
from gateway.api.terms import END, LabelCondition, NodeId
from registry.measuring import program_version

_REF = "#/components/schemas/{name}"
_JSON = "application/json"
_STREAM = "text/event-stream"
_PROBLEM = "application/problem+json"
_PATH = {
    "node_id": NodeId,
    "hold_id": str,
}
_LAST_EVENT_ID = {
    "name": LAST_EVENT_ID,
    "in": "header",
    "required": False,
    "description": "The `id` of the last event read; it goes before `after`.",
    "schema": {"type": "string", "format": "event-cursor"},
}
_MORE: tuple[type[msgspec.Struct], ...] = (
    NeedsBody,
    SelectBody,
    LabelCondition,
    *Bulk.__subclasses__(),
)
"""Bodies, and parts of them, with rules between their fields."""

ABOUT = """\
Muster keeps the roll of a fleet of GPU machines and answers: which ready machine can do this?

Names of parameters and fields that are not known here are refused. Instants are milliseconds since
1970 of the store's clock; durations say their unit in their name. Problems are RFC 9457 documents
with a `code` for programs."""


def document(
    table: Sequence[Endpoint], *, asks_for_tokens: bool, hold_most_ms: int
) -> dict[str, Any]:
    """The document as a gateway with these settings serves it."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in table:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Muster", "version": program_version(), "description": ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}] if asks_for_tokens else [{"bearer": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(table, hold_most_ms),
        },
    }


def _schemas(table: Iterable[Endpoint], hold_most_ms: int) -> dict[str, Any]:
    types = [
        *(type_ for e in table for type_ in (e.answer, e.body) if type_ is not None),
        *(type_ for e in table if e.streams for type_ in (GapShown, EndShown)),
        *(code.document for code in CODES.values()),
    ]
    _, found = msgspec.json.schema_components(types, ref_template=_REF)
    for body in _MORE:
        found[body.__name__] |= body.schema_more  # type: ignore[attr-defined]
    found["SelectBody"]["properties"]["hold_ms"]["maximum"] = hold_most_ms
    shown: dict[str, Any] = _without_our_end(found)
    return shown


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": f"{endpoint.text}\n\nNeeds the role `{endpoint.role.value}`.",
        "parameters": [
            *(_path_parameter(name, endpoint) for name in endpoint.parameters),
            *_query_parameters(endpoint.query),
            *([_LAST_EVENT_ID] if endpoint.streams else []),
        ],
        "responses": _responses(endpoint),
    }
    if endpoint.body is not None:
        made["requestBody"] = {
            "required": True,
            "content": {
                _JSON: {"schema": _schema(endpoint.body), "example": endpoint.example.body}
            },
        }
    return made


def _path_parameter(name: str, endpoint: Endpoint) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": _schema(_PATH[name]),
        "example": endpoint.example.path[name],
    }


def _query_parameters(query: type[msgspec.Struct] | None) -> Iterable[dict[str, Any]]:
    if query is None:
        return
    info = expected.info_of(query)
    assert isinstance(info, inspect.StructType)
    _, found = msgspec.json.schema_components([query], ref_template=_REF)
    for field in info.fields:
        shown = _without_our_end(found[query.__name__]["properties"][field.encode_name])
        parameter = {
            "name": field.encode_name,
            "in": "query",
            "required": field.required,
            "description": shown.pop("description", ""),
            "schema": shown,
        }
        if isinstance(expected.bare(field.type), inspect.VarTupleType):
            shown.pop("default", None)
            parameter |= {"style": "form", "explode": field.encode_name != "ids"}
        yield parameter


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if endpoint.answer is None:
        responses["204"] = {"description": "Done."}
    else:
        media = _STREAM if endpoint.streams else _JSON
        content = {"schema": {"type": "string"} if endpoint.streams else _schema(endpoint.answer)}
        example = recorded.answer(endpoint.name)
        if example is not None:
            content["example"] = example
        responses["200"] = {
            "description": "The answer.",
            "content": {media: content},
            **_links(endpoint),
        }
    codes = [CODES[code] for code in endpoint.every_code]
    for status in sorted({code.status for code in codes}):
        these = [code for code in codes if code.status == status]
        schemas = [
            {
                "allOf": [
                    _schema(code.document),
                    {"properties": {"code": {"const": code.code}}},
                ]
            }
            for code in these
        ]
        responses[str(status)] = {
            "description": "\n".join(
                f"`{code.code}`: {code.when}; {code.to_do}." for code in these
            ),
            "content": {
                _PROBLEM: {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}
            },
            **_headers([code.headers for code in these]),
        }
    return responses


def _headers(found: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """Headers that come with any of the problems; required where they come with all."""
    names = dict.fromkeys(name for names in found for name in names)
    headers = {
        name: {"required": all(name in names for names in found), "schema": {"type": "string"}}
        for name in names
    }
    return {"headers": headers} if headers else {}


def _links(endpoint: Endpoint) -> dict[str, Any]:
    """Operations that go on from the answer."""
    links = {
        name: {
            "operationId": name,
            "parameters": {part: f"$response.body#{at}" for part, at in parts.items()},
        }
        for name, parts in endpoint.links.items()
    }
    return {"links": links} if links else {}


def _schema(type_: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([type_], ref_template=_REF)
    shown: dict[str, Any] = _without_our_end(schema)
    return shown


def _without_our_end(value: Any) -> Any:
    """Patterns end with what JSON Schema understands as the very end."""
    if isinstance(value, dict):
        return {
            name: part.replace(END, "$") if name == "pattern" and isinstance(part, str)
            else _without_our_end(part)
            for name, part in value.items()
        }  # fmt: skip
    return [_without_our_end(part) for part in value] if isinstance(value, list) else value
