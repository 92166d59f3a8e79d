"""What a value must be, and what it is then taken for.

A kind names what it expects in words a person reads in `details.expected`. It answers None for a
value that does not fit; null never reaches it, as null means missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from muster.wire.messages import COUNT_MOST

T = TypeVar("T")

FINITE_MOST_BITS = 1024


class Kind(Generic[T]):
    """An expectation and how to meet it."""

    __slots__ = ("expected", "take")

    def __init__(self, expected: str, take: Callable[[Any], T | None]) -> None:
        self.expected = expected
        self.take = take


def said(value: Any) -> str:
    """The JSON name of a value's type."""
    for kind, name in _NAMES:
        if isinstance(value, kind):
            return name
    return "null" if value is None else "binary"


_NAMES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (str, "string"),
    (bool, "boolean"),
    ((int, float), "number"),
    (dict, "object"),
    ((list, tuple), "array"),
)


def _number(value: Any) -> float | None:
    if type(value) is int:
        return float(value) if value.bit_length() < FINITE_MOST_BITS else None
    return value if type(value) is float and math.isfinite(value) else None


def _at_least(least: float, value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and number >= least else None


def _above(bound: float, value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and number > bound else None


def _integer(least: int, most: int, value: Any) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)  # 1.0 is what some languages write for 1
    return value if type(value) is int and least <= value <= most else None


STRING: Kind[str] = Kind("string", lambda value: value if type(value) is str else None)
BOOLEAN: Kind[bool] = Kind("boolean", lambda value: value if type(value) is bool else None)
OBJECT: Kind[dict[str, Any]] = Kind("object", lambda value: value if type(value) is dict else None)
ARRAY: Kind[list[Any]] = Kind("array", lambda value: value if type(value) is list else None)
NUMBER: Kind[float] = Kind("number", _number)
CORES: Kind[float] = Kind("number >= 1", lambda value: _at_least(1, value))
SIZE: Kind[float] = Kind("number > 0", lambda value: _above(0, value))
COUNT: Kind[int] = Kind("integer >= 0", lambda value: _integer(0, COUNT_MOST, value))
CAPACITY: Kind[int] = Kind("integer >= 1", lambda value: _integer(1, COUNT_MOST, value))
ORDINAL: Kind[int] = Kind("integer >= 0", lambda value: _integer(0, 2**53, value))
