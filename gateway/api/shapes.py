"""Queries, bodies and answers told field by field, for people: in the little of Markdown that both
the page at `/docs` and docs/api.md are written in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from msgspec import Struct, inspect

from gateway.api import expected
from gateway.api.endpoint import Endpoint
from gateway.api.problems import Problem


class Row(NamedTuple):
    """One field: its name, whether it must be given, what it is, and what it means."""

    name: str
    required: bool
    what: str
    meaning: str


def rows(type_: type[Struct]) -> list[Row]:
    """Every field of a Struct, its tag first."""
    info = struct(type_)
    tag = [Row(info.tag_field, True, f"`{info.tag}`", "")] if info.tag_field else []
    return [
        *tag,
        *(
            Row(
                field.encode_name,
                field.required,
                what(field.type) + _default(field),
                str(expected.said(field.type, "description") or ""),
            )
            for field in info.fields
        ),
    ]


def kinds(type_: Any) -> list[inspect.StructType]:
    """The Structs a value may be: one, or several told apart by a tag."""
    info = expected.info_of(type_)
    return expected.tagged(info) or [struct(type_)]


def mentioned(table: Iterable[Endpoint]) -> list[type[Struct]]:
    """The Structs that have a place of their own: all but bodies told where they are asked."""
    found: dict[str, type[Struct]] = {}
    waiting: list[inspect.Type] = []
    for endpoint in table:
        asked = kinds(endpoint.body) if endpoint.body is not None else []
        waiting += asked if len(asked) > 1 else [f.type for body in asked for f in body.fields]
        waiting += [struct(endpoint.answer)] if endpoint.answer is not None else []
    while waiting:
        for info in _structs(waiting.pop()):
            if info.cls.__name__ not in found:
                found[info.cls.__name__] = info.cls
                waiting += [field.type for field in info.fields]
    return [found[name] for name in sorted(found)]


def about(type_: type[Struct]) -> str:
    """What a Struct is, by its first sentences."""
    return " ".join((type_.__doc__ or "").split("\n\n")[0].split())


def link(type_: type[Struct]) -> str:
    """A link to a Struct's own place."""
    return f"[{type_.__name__}](#{type_.__name__.lower()})"


def is_asked(type_: type[Struct]) -> bool:
    """Whether a Struct is part of a request; in answers nobody must give anything."""
    return struct(type_).forbid_unknown_fields


def what(type_: inspect.Type) -> str:
    """What a value must be."""
    return _what(type_) + (" or null" if expected.may_be_null(type_) else "")


def struct(type_: type[Struct]) -> inspect.StructType:
    """msgspec's own view of a Struct."""
    info = expected.info_of(type_)
    assert isinstance(info, inspect.StructType)
    return info


def _what(type_: inspect.Type) -> str:
    called = expected.said(type_, "called") or expected.said(type_, "expected")
    if called is not None:
        return str(called)
    match expected.bare(type_):
        case inspect.StructType() as info:
            return link(info.cls)
        case inspect.ListType() | inspect.VarTupleType() as array:
            return f"list of {_many(array.item_type)}"
        case inspect.DictType() as mapping:
            return f"by name: {what(mapping.value_type)}"
        case inspect.LiteralType() as literal:
            return ", ".join(f"`{value}`" for value in literal.values)
        case inspect.UnionType() as union:
            parts = (t for t in union.types if not isinstance(t, inspect.NoneType))
            return " or ".join(_what(part) for part in parts)
        case inspect.AnyType():
            return "anything"
    return expected.words(type_).removeprefix("a ")


def _many(type_: inspect.Type) -> str:
    """Several of a kind."""
    said = _what(type_)
    if isinstance(expected.bare(type_), inspect.StrType):
        return said if said.startswith("`") else f"{said.partition(' of ')[0]}s"
    return said


def _default(field: inspect.Field) -> str:
    if isinstance(field.default, bool | int | float | str):
        return f"; default `{json.dumps(field.default)}`"
    return ""


def _structs(type_: inspect.Type) -> Iterator[inspect.StructType]:
    match expected.bare(type_):
        case inspect.StructType() as info:
            if not issubclass(info.cls, Problem):
                yield info
        case inspect.ListType() | inspect.VarTupleType() as array:
            yield from _structs(array.item_type)
        case inspect.DictType() as mapping:
            yield from _structs(mapping.value_type)
        case inspect.UnionType() as union:
            for member in union.types:
                yield from _structs(member)
