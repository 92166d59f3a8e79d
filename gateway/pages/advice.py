"""What each code means and what to do about it, for the pages: the very tables that machines and
the API speak from, as one script, so that no page says it in words of its own."""

from __future__ import annotations

import msgspec

from gateway.explaining import TO_DO
from muster.wire.errors import STATUS_TEXTS, TEXTS, Locale
from registry.model import Reason

NAME = "advice.js"
"""The script's file name."""
_LOCALES: tuple[Locale, ...] = ("en", "zh")


def script() -> bytes:
    """`ADVICE[language][code]`: the meaning, and ("" where the meaning says it) what to do."""
    found = {locale: {**_reasons(locale), **_errors(locale)} for locale in _LOCALES}
    return b"export const ADVICE = " + msgspec.json.format(msgspec.json.encode(found)) + b";\n"


def _reasons(locale: Locale) -> dict[str, tuple[str, str]]:
    """Why a machine is not ready."""
    texts, to_do = STATUS_TEXTS[locale], TO_DO[locale]
    return {reason: (texts[reason], to_do[reason]) for reason in Reason if reason in to_do}


def _errors(locale: Locale) -> dict[str, tuple[str, str]]:
    """Why a machine's message was refused."""
    return {code: (text, "") for code, text in TEXTS[locale].items()}
