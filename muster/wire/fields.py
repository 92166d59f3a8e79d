"""Reading an object field by field, strictly or leniently.

The same readers serve both: strictly, the first misfit is raised; leniently, an optional misfit
counts as missing and becomes a warning, and an element that lacks what it must have is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from muster.wire.invalid import InvalidMessage
from muster.wire.kinds import ARRAY, OBJECT, STRING, Kind, said

T = TypeVar("T")

WARNINGS_MOST = 32


class Warnings:
    """What was accepted though it looks wrong; bounded, as it is stored and shown."""

    __slots__ = ("_left_out", "_said")

    def __init__(self) -> None:
        self._said: list[str] = []
        self._left_out = 0

    def add(self, warning: str) -> None:
        if len(self._said) < WARNINGS_MOST:
            self._said.append(warning)
        else:
            self._left_out += 1

    def all(self) -> tuple[str, ...]:
        more = (f"and {self._left_out} more",) if self._left_out else ()
        return (*self._said, *more)


class Fields:
    """The fields of one object, at `path` of the message."""

    __slots__ = ("_fields", "_lenient", "path", "warnings")

    def __init__(
        self, fields: dict[str, Any], warnings: Warnings, *, lenient: bool, path: str = ""
    ) -> None:
        self._fields = fields
        self._lenient = lenient
        self.warnings = warnings
        self.path = path

    def at(self, key: str) -> str:
        """The path of one field."""
        return f"{self.path}.{key}" if self.path else key

    def value(self, key: str) -> Any:
        """The field as it came."""
        return self._fields.get(key)

    def lenient(self) -> Fields:
        """The same object, read leniently."""
        return Fields(self._fields, self.warnings, lenient=True, path=self.path)

    def optional(self, key: str, kind: Kind[T]) -> T | None:
        """The field, or None if it is missing or null."""
        value = self._fields.get(key)
        if value is None:
            return None
        taken = kind.take(value)
        if taken is None:
            self._misfit(self.at(key), kind.expected, value)
        return taken

    def required(self, key: str, kind: Kind[T]) -> T:
        """The field; raises InvalidMessage if it is missing or does not fit."""
        value = self._fields.get(key)
        taken = None if value is None else kind.take(value)
        if taken is None:
            got = "null" if key in self._fields else "nothing"
            raise InvalidMessage(self.at(key), kind.expected, got if value is None else said(value))
        return taken

    def object(self, key: str) -> Fields | None:
        """The object under a key, to be read on."""
        value = self.optional(key, OBJECT)
        if value is None:
            return None
        return Fields(value, self.warnings, lenient=self._lenient, path=self.at(key))

    def elements(self, key: str, read: Callable[[Fields], T]) -> tuple[T, ...] | None:
        """The objects of an array. Leniently, an array of nothing but misfits counts as missing:
        what could not be read must not look like a report of nothing."""
        values = self.optional(key, ARRAY)
        if values is None:
            return None
        taken: list[T] = []
        for at, value in enumerate(values):
            path = f"{self.at(key)}[{at}]"
            try:
                if type(value) is not dict:
                    raise InvalidMessage(path, OBJECT.expected, said(value))
                taken.append(read(Fields(value, self.warnings, lenient=self._lenient, path=path)))
            except InvalidMessage as error:
                if not self._lenient:
                    raise
                self.warnings.add(str(error))
        return tuple(taken) if taken or not values else None

    def strings(self, key: str) -> tuple[str, ...] | None:
        """An array of strings."""
        values = self.optional(key, ARRAY)
        if values is None:
            return None
        taken: list[str] = []
        for at, value in enumerate(values):
            if type(value) is str:
                taken.append(value)
            else:
                self._misfit(f"{self.at(key)}[{at}]", STRING.expected, value)
        return tuple(taken)

    def entries(self, key: str, kind: Kind[T], *, null: bool = False) -> dict[str, Any] | None:
        """An object whose values are all of one kind; nulls are kept or left out."""
        values = self.optional(key, OBJECT)
        if values is None:
            return None
        taken: dict[str, Any] = {}
        for name, value in values.items():
            fit = None if value is None else kind.take(value)
            if fit is not None or (null and value is None):
                taken[name] = fit
            elif value is not None:
                self._misfit(f"{self.at(key)}.{name}", kind.expected, value)
        return taken

    def _misfit(self, path: str, expected: str, value: Any) -> None:
        error = InvalidMessage(path, expected, said(value))
        if not self._lenient:
            raise error
        self.warnings.add(str(error))
