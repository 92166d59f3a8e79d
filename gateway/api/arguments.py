"""A request's query and body become typed questions, or an error that names the field.

A query's values are texts: they are read as their type says, and as nothing else. Names nobody
knows are refused with the nearest known one, as a misspelt condition must not be none.
"""

from __future__ import annotations

import difflib
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from gateway.api import expected
from gateway.problem import BadParameterError

_AT = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*)`)?$", re.DOTALL)
_MEMBER = "[...]"  # msgspec does not say which
_FIELD = re.compile(
    r"^Object (?P<how>missing required|contains unknown) field `(?P<name>.*)`$", re.S
)
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WITH_COMMAS = ("status", "ids")


def query(type_: type[msgspec.Struct] | None, pairs: Iterable[tuple[str, str]]) -> Any:
    """The query as a Struct of this type; None if the endpoint has no query.

    Raises BadParameterError."""
    fields = {field.encode_name: field for field in _fields(type_)}
    values: dict[str, Any] = {}
    for name, text in pairs:
        if name not in fields:
            raise unknown(name, list(fields))
        kind = expected.bare(fields[name].type)
        if isinstance(kind, inspect.VarTupleType):
            parts = text.split(",") if name in _WITH_COMMAS else [text]
            item = kind.item_type
            values.setdefault(name, []).extend(_value(name, item, part) for part in parts)
        elif name in values:
            raise BadParameterError(name, "to be given once")
        else:
            values[name] = _value(name, fields[name].type, text)
    if type_ is None:
        return None
    try:
        return msgspec.convert(values, type_)
    except msgspec.ValidationError as error:
        found = misfit(type_, str(error))
        # One of a parameter's values was wrong: a query has no places to count.
        name = str(found.more["parameter"]).partition("[")[0]
        raise BadParameterError(name, str(found.more["expected"])) from None


def body(type_: Any, data: bytes) -> Any:
    """The body as a value of this type. Raises BadParameterError."""
    try:
        return _decoder(type_).decode(data)
    except msgspec.ValidationError as error:
        said = str(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadParameterError("body", f"a JSON object, but it can't be read ({error})") from None
    # Once more, slowly: JSON knows one kind of number, and 30.0 is as whole as 30.
    try:
        found = _whole(msgspec.json.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise misfit(type_, said) from None
    try:
        return msgspec.convert(found, type_)
    except msgspec.ValidationError as error:
        raise misfit(_meant(type_, found), str(error), found) from None


def unknown(name: str, known: Sequence[str], path: str = "") -> BadParameterError:
    """The error for a name that is none of those known."""
    near = _nearest(name.lower(), known)
    choice = "one of " + ", ".join(known) if known else "no parameter, as none is known here"
    return BadParameterError(path + name[:64], choice, near)


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that is part of the given one or has it as a part; else one spelt alike."""
    within = [n for n in known if min(len(n), len(name)) > 2 and (name in n or n in name)]
    return next(iter(within or difflib.get_close_matches(name, known, n=1)), None)


def misfit(type_: Any, error: str, value: Any = None) -> BadParameterError:
    """What msgspec found wrong, in our words and with the nearest name. Of `value`, if given, the
    member that was wrong is named."""
    found = _AT.match(error)
    assert found is not None
    path = (found["path"] or "").lstrip(".")
    here = expected.at(expected.info_of(type_), path)
    mapping = expected.bare(here) if here is not None and found["key"] else None
    if isinstance(mapping, inspect.DictType):
        path = _named(type_, path + _MEMBER, value)
        return BadParameterError(path, f"a name that is {expected.words(mapping.key_type)}")
    path = _named(type_, path, value)
    field = _FIELD.match(found["what"])
    if field is not None:
        head = f"{path}." if path else ""
        if field["how"] == "contains unknown":
            return unknown(field["name"], expected.names_of(here) if here else [], head)
        here = expected.at(here, field["name"]) if here else None
        path = head + field["name"]
    if here is None:
        return BadParameterError(path or "body", found["what"].removeprefix("Expected "))
    return BadParameterError(path or "body", expected.words(here))


def _named(type_: Any, path: str, value: Any) -> str:
    """The path with the name of the member that is wrong: each is tried alone."""
    before, member, after = path.partition(_MEMBER)
    names = before.split(".")
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    if not member or not isinstance(value, dict):
        return path
    for mapping in _mappings(type_, names):
        for name, part in value.items():
            try:
                msgspec.convert({name: part}, mapping)
            except msgspec.ValidationError:
                return f"{before}.{name[:64]}{after}"
    return path


def _mappings(type_: Any, names: Sequence[str]) -> Iterator[Any]:
    """The types of an object by name that may be at these names."""
    if typing.get_origin(type_) is typing.Annotated:
        yield from _mappings(typing.get_args(type_)[0], names)
    elif typing.get_origin(type_) in (types.UnionType, typing.Union):
        for part in typing.get_args(type_):
            yield from _mappings(part, names)
    elif typing.get_origin(type_) is dict and not names:
        yield type_
    elif isinstance(type_, type) and issubclass(type_, msgspec.Struct) and names:
        for field in msgspec.structs.fields(type_):
            if field.encode_name == names[0]:
                yield from _mappings(field.type, names[1:])


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(part) for name, part in value.items()}
    return [_whole(part) for part in value] if isinstance(value, list) else value


def _meant(type_: Any, found: Any) -> Any:
    """Of several kinds of body the one that its tag names; else all of them."""
    members = expected.tagged(expected.info_of(type_))
    chosen = found.get(members[0].tag_field) if members and isinstance(found, dict) else None
    return next((member.cls for member in members if member.tag == chosen), type_)


def _value(name: str, type_: inspect.Type, text: str) -> Any:
    """A query's text as its type says."""
    value: bool | int | float | None
    match expected.bare(type_):
        case inspect.BoolType():
            value = {"true": True, "false": False}.get(text)
        case inspect.IntType():
            value = int(text) if _WHOLE.fullmatch(text) else None
        case inspect.FloatType():
            value = float(text) if _NUMBER.fullmatch(text) else None
            if value is not None and not math.isfinite(value):
                value = None
        case _:
            return text
    if value is None:
        raise BadParameterError(name, expected.words(type_))
    return value


def _fields(type_: type[msgspec.Struct] | None) -> tuple[inspect.Field, ...]:
    if type_ is None:
        return ()
    info = expected.info_of(type_)
    assert isinstance(info, inspect.StructType)
    return info.fields


@cache
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)
