"""Structured logs: every record has an `action` and the context of what it is about.

In a terminal a record is one line a person can read; otherwise it is one line of JSON. Values whose
name says that they are secret are masked here, whoever logs them.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

from registry.repeats import OWN_MOST, Repeats
from registry.settings import MASK, without_password

Format = Literal["auto", "json", "text"]

_SECRET = re.compile(r"(^|_)(secrets?|tokens?|password|authorization|cookie)$")
_TOKEN_IN_URL = re.compile(r"([?&](?:token|secret|password)=)[^&\s\"']+", re.IGNORECASE)


def log(
    logger: logging.Logger,
    level: int,
    action: str,
    *,
    exc_info: bool | BaseException = False,
    **context: Any,
) -> None:
    """Write one record. `action` is what happened, in a few words joined by underscores."""
    if logger.isEnabledFor(level):
        logger.log(
            level,
            action,
            exc_info=exc_info,
            extra={"action": action, "context": {k: _safe(k, v) for k, v in context.items()}},
        )


def configure(format: Format = "auto", level: str = "info") -> None:  # noqa: A002 - as the setting is called
    """Send every record of this process to standard error, once; of one kind `OWN_MOST` a minute,
    whose next says as `kept_back` how many more there were."""
    as_text = format == "text" or (format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    handler.addFilter(Repeats(OWN_MOST))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def count_bugs(count: Callable[[], None]) -> None:
    """From now on calls `count` for each error of Muster's own code that is logged with its
    traceback: whoever survives a bug logs it so. After `configure`."""
    logging.getLogger().addHandler(_Bugs(count))


class _Bugs(logging.Handler):
    """Sees what is logged by our own modules: a library's traceback may be a stranger's doing."""

    def __init__(self, count: Callable[[], None]) -> None:
        super().__init__(logging.ERROR)
        self._count = count

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.name.partition(".")[0] == "muster":
            self._count()


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _instant(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "action": _action(record),
        }
        if not hasattr(record, "action"):
            line["message"] = _masked(record.getMessage())
        for key, value in _context(record).items():
            line[key if key not in line else f"context_{key}"] = value
        if record.exc_info:
            line["exception"] = _masked(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """One line a person can read."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        what = _action(record) if hasattr(record, "action") else _masked(record.getMessage())
        said = " ".join(f"{key}={value}" for key, value in _context(record).items())
        line = f"{clock} {record.levelname.lower():7} {record.name}: {what} {said}".rstrip()
        line = line.replace("\n", "\\n")
        if record.exc_info:
            line += "\n" + _masked(self.formatException(record.exc_info))
        return line


def _instant(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"


def _action(record: logging.LogRecord) -> str:
    return str(getattr(record, "action", "message"))


def _context(record: logging.LogRecord) -> dict[str, Any]:
    context: dict[str, Any] = getattr(record, "context", {})
    return context


def _safe(key: str, value: Any) -> Any:
    if _SECRET.search(key.lower()):
        return MASK if value else value
    if isinstance(value, dict):
        return {k: _safe(str(k), v) for k, v in value.items()}
    if isinstance(value, str):
        return _masked(without_password(value) if "://" in value else value)
    return value


def _masked(text: str) -> str:
    return _TOKEN_IN_URL.sub(rf"\g<1>{MASK}", text)
