"""Which language an agent speaks to its owner."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from muster.wire.errors import Locale

_VARIABLES = ("MUSTER_AGENT_LOCALE", "LC_ALL", "LC_MESSAGES", "LANG")


def pick(wanted: str | None = None, environ: Mapping[str, str] = os.environ) -> Locale:
    """The language asked for, else this machine's, else Chinese.

    A machine set to a third language is spoken to in English; one that has none set (a service,
    a container) in Chinese, as a gateway does by default.
    """
    tag = wanted or next((environ[name] for name in _VARIABLES if environ.get(name)), "")
    if not tag and sys.platform == "win32":
        tag = _windows_language()
    primary = tag.strip().lower().replace("-", "_").partition("_")[0].partition(".")[0]
    return "zh" if primary in ("", "c", "posix", "zh") else "en"


def _windows_language() -> str:
    """The tag of the display language, e.g. `zh_CN`; empty if Windows does not tell."""
    import ctypes
    import locale

    windows: Any = ctypes.__dict__["windll"]
    number: int = windows.kernel32.GetUserDefaultUILanguage()
    return locale.windows_locale.get(number, "")
