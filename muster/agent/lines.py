"""What happens to an agent, one line an event: for logs, services and terminals without a panel.

A line of text begins with time, level and action, then come the values as `name=value`, then what
it means and what to do; a value with spaces is quoted as JSON quotes it. With `json` the same is
one JSON object. No event is left out while somebody reads; a reader that is slow or gone delays and
ends nothing.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, TextIO

from muster.agent import texts
from muster.agent.writer import Writer
from muster.wire.errors import Locale

Form = Literal["text", "json"]

_LEVELS = {
    "no_gpu": "error",
    "refused": "error",
    "closed": "warning",
    "note": "warning",
    "lost": "warning",
}
_WORRYING = ("degraded", "offline")
_PLAIN = re.compile(r"[^\s\"=]+")


class Lines:
    """A listener of `AgentStatus`; `close` it at the end, so that the last line is written."""

    def __init__(
        self,
        stream: TextIO,
        locale: Locale,
        form: Form = "text",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._writer = Writer(stream, lambda count: self._line("lost", {"lines": count}))
        self._locale = locale
        self._form = form
        self._clock = clock

    def __call__(self, action: str, values: Mapping[str, Any]) -> None:
        self._writer.put(self._line(action, values))

    def close(self) -> None:
        """Writes what is left, if somebody reads it."""
        self._writer.close()

    def _line(self, action: str, values: Mapping[str, Any]) -> str:
        told = texts.event(action, values, self._locale)
        head = {"time": instant(self._clock()), "level": _level(action, values), "action": action}
        said = {"message": told.what} | ({"do": told.do} if told.do else {})
        shown = {key: value for key, value in values.items() if key != "said"}
        if self._form == "json":
            return json.dumps(head | shown | said, ensure_ascii=False, default=str) + "\n"
        pairs = (f"{key}={_text(value)}" for key, value in (shown | said).items())
        return " ".join([*head.values(), *pairs]) + "\n"


def instant(at: float) -> str:
    """A moment in UTC, to the millisecond."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    return f"{whole}.{int(at * 1000) % 1000:03d}Z"


def _level(action: str, values: Mapping[str, Any]) -> str:
    if action == "status":
        return "warning" if values["status"] in _WORRYING else "info"
    if action == "gpu_changed":
        return "info" if values["healthy"] else "warning"
    return _LEVELS.get(action, "info")


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
