"""What a value must be, in words: said in errors and in the documentation, made from the types."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from msgspec import inspect


@cache
def info_of(type_: Any) -> inspect.Type:
    """msgspec's own view of a type."""
    return inspect.type_info(type_)


def bare(type_: inspect.Type) -> inspect.Type:
    """A type without what is said about it, nor that it may be missing."""
    while True:
        if isinstance(type_, inspect.Metadata):
            type_ = type_.type
        elif isinstance(type_, inspect.UnionType) and len(some := _members(type_)) == 1:
            type_ = some[0]
        else:
            return type_


def said(type_: inspect.Type, key: str) -> Any:
    """A remark on a type (`description`, `expected`), or None."""
    while isinstance(type_, inspect.Metadata | inspect.UnionType):
        if isinstance(type_, inspect.Metadata):
            for remarks in (type_.extra, type_.extra_json_schema):
                if remarks and key in remarks:
                    return remarks[key]
            type_ = type_.type
        elif len(some := _members(type_)) == 1:
            type_ = some[0]
        else:
            break
    return None


def may_be_null(type_: inspect.Type) -> bool:
    """Whether null is a value of this type."""
    while isinstance(type_, inspect.Metadata):
        type_ = type_.type
    union = type_.types if isinstance(type_, inspect.UnionType) else ()
    return any(isinstance(member, inspect.NoneType) for member in union)


def words(type_: inspect.Type) -> str:
    """`a whole number from 1 to 100`, `one of asr, nmt, tts`, …"""
    remark = said(type_, "expected")
    if remark is not None:
        return str(remark)
    match bare(type_):
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() as number:
            return "a whole number" + _range(number)
        case inspect.FloatType() as number:
            return "a number" + _range(number)
        case inspect.StrType() as text:
            return "a text" + _length(text.min_length, text.max_length, "characters")
        case inspect.LiteralType() as literal:
            return "one of " + ", ".join(map(str, literal.values))
        case inspect.ListType() | inspect.VarTupleType() as array:
            length = _length(array.min_length, array.max_length, "elements")
            return f"an array{length}, each {words(array.item_type)}"
        case inspect.DictType() as mapping:
            length = _length(mapping.min_length, mapping.max_length, "members")
            return f"an object{length}, each {words(mapping.value_type)}"
        case inspect.UnionType() as union if tagged(union):
            return "an object of " + ", ".join(names_of(union))
        case inspect.UnionType() as union:
            return " or ".join(words(member) for member in _members(union))
        case inspect.StructType() as struct:
            return "an object of " + ", ".join(names_of(struct))
    return "another value"


def at(type_: inspect.Type, path: str) -> inspect.Type | None:
    """The type at a path of msgspec's errors (`.labels[...].not`); None if there is no one type."""
    found: inspect.Type | None = type_
    for name in re.findall(r"[^.\[\]]+|\[[^\]]*\]", path):
        if found is None:
            break
        tags = [str(s.tag) for s in tagged(found) if s.tag_field == name]
        if tags:
            return inspect.LiteralType(tuple(tags))
        plain = bare(found)
        members = _members(plain) if isinstance(plain, inspect.UnionType) else [plain]
        found = next((t for member in members if (t := _step(bare(member), name))), None)
    return found


def tagged(type_: inspect.Type) -> list[inspect.StructType]:
    """The kinds of object, told apart by a tag, that a value may be."""
    plain = bare(type_)
    members = _members(plain) if isinstance(plain, inspect.UnionType) else []
    return [m for m in map(bare, members) if isinstance(m, inspect.StructType) and m.tag_field]


def names_of(type_: inspect.Type) -> list[str]:
    """The members an object of this type may have; of a union, those of all."""
    plain = bare(type_)
    if isinstance(plain, inspect.UnionType):
        return list(dict.fromkeys(n for member in _members(plain) for n in names_of(member)))
    if not isinstance(plain, inspect.StructType):
        return []
    tag = [plain.tag_field] if plain.tag_field else []
    return [*tag, *(field.encode_name for field in plain.fields)]


def _step(type_: inspect.Type, name: str) -> inspect.Type | None:
    inside = name.startswith("[")
    if isinstance(type_, inspect.ListType | inspect.VarTupleType):
        return type_.item_type if inside else None
    if isinstance(type_, inspect.DictType):
        return type_.value_type if inside else None
    if isinstance(type_, inspect.StructType):
        return next((f.type for f in type_.fields if f.encode_name == name), None)
    return None


def _members(union: inspect.UnionType) -> list[inspect.Type]:
    return [member for member in union.types if not isinstance(member, inspect.NoneType)]


def _range(number: inspect.IntType | inspect.FloatType) -> str:
    if number.ge is not None and number.le is not None:
        return f" from {number.ge} to {number.le}"
    return f" of at least {number.ge}" if number.ge is not None else ""


def _length(least: int | None, most: int | None, unit: str) -> str:
    if least and most:
        return f" of {least} to {most} {unit}"
    if most:
        return f" of at most {most} {unit}"
    return f" of at least {least} {unit}" if least else ""
