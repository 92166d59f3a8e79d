"""Answers of a running system to the table's examples, recorded by `make docs`."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

FILE = "recorded.json"


def answer(name: str) -> Any:
    """The answer to an operation's example; None where it has no body or was never recorded."""
    return _all().get(name)


def problem(name: str) -> Any:
    """The answer to the request with which an operation's row meets a problem."""
    return _all().get(f"{name}:problem")


@cache
def _all() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((files("gateway.api") / FILE).read_text("utf-8"))
    return found
