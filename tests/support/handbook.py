"""Writes the tables of docs/node-owners: `python -m tests.support.handbook`.

They are made of the sentences the agent itself says, so the documents can't say something else.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

from muster.agent import sentences, texts
from muster.agent.config import AgentConfig, variable_of
from muster.agent.hardware import NoGpuCause
from muster.agent.texts import Advice
from muster.agent.trouble import Note, Trouble
from muster.cli import agent_help
from muster.wire.closing import CloseCode
from muster.wire.errors import ErrorCode, Locale
from registry.model import Reason, Status

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENTS: dict[Locale, Path] = {
    "zh": DOCS / "node-owners.zh.md",
    "en": DOCS / "node-owners.md",
}
HEADS: dict[Locale, tuple[str, str, str]] = {
    "zh": ("代码", "含义", "怎么办"),
    "en": ("code", "what it says", "what to do"),
}
SETTING_HEADS: dict[Locale, tuple[str, str, str]] = {
    "zh": ("环境变量", "默认", "含义"),
    "en": ("variable", "default", "meaning"),
}
REASONS_WITH_TWO_MEANINGS = (Reason.DRAINED, Reason.DRAIN_TIMEOUT)


def tables(locale: Locale) -> dict[str, str]:
    """Every table by the name of its place."""
    return {
        "no-gpu": _advice(
            ((cause.value, texts.no_gpu(cause, "", locale)) for cause in NoGpuCause), locale
        ),
        "errors": _advice(
            ((code.value, texts.error(code, None, locale)) for code in ErrorCode), locale
        ),
        "reasons": _advice(_reasons(locale), locale),
        "troubles": _advice(((t.value, _trouble(t, locale)) for t in Trouble), locale),
        "closes": _advice(
            ((str(close.code), texts.close(close.code, locale)) for close in CloseCode), locale
        ),
        "cards": _plain(
            (
                (f"{code}_…" if code in ("xid", "nvml") else code, both[locale])
                for code, both in sentences.GPU_REASONS.items()
            ),
            HEADS[locale][:2],
        ),
        "notes": _plain(
            ((note.value, sentences.NOTES[note][locale]) for note in Note), HEADS[locale][:2]
        ),
        "refusals": _plain(
            ((code, both[locale]) for code, both in sentences.API.items()), HEADS[locale][:2]
        ),
        "settings": _plain(_settings(locale), SETTING_HEADS[locale]),
    }


def _reasons(locale: Locale) -> Iterable[tuple[str, Advice]]:
    for reason in Reason:
        if reason in REASONS_WITH_TWO_MEANINGS:
            for status in (Status.DRAINING, Status.OFFLINE):
                yield f"{status} {reason}", texts.status(status, reason, locale)
        else:
            yield reason.value, texts.status(Status.READY, reason, locale)


def _trouble(trouble: Trouble, locale: Locale) -> Advice:
    return texts.trouble(trouble, locale, server="…", detail="…")


def _settings(locale: Locale) -> Iterable[tuple[str, ...]]:
    for field in dataclasses.fields(AgentConfig):
        default = field.default
        shown = "" if default in (None, (), dataclasses.MISSING) else str(default).lower()
        yield variable_of(field.name), shown, agent_help.setting(field.name, locale)


def _advice(rows: Iterable[tuple[str, Advice]], locale: Locale) -> str:
    return _plain(((code, told.what, told.do) for code, told in rows), HEADS[locale])


def _plain(rows: Iterable[tuple[str, ...]], heads: tuple[str, ...]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for code, *cells in rows:
        shown = (re.sub(r"\{\w+\}", "…", cell).replace("|", "\\|") for cell in cells)
        joined = " | ".join(cell.replace("\n", "<br>") or "—" for cell in shown)
        lines.append(f"| `{code}` | {joined} |")
    return "\n".join(lines)


def written(document: str, locale: Locale) -> str:
    """The document with each table in its place, between `<!-- table: x -->` and `<!-- end -->`."""
    for name, table in tables(locale).items():
        before, begin, rest = document.partition(f"<!-- table: {name} -->\n")
        old, end, after = rest.partition("<!-- end -->")
        assert begin and end and "<!-- table:" not in old, f"no place for the table {name}"
        document = f"{before}{begin}{table}\n{end}{after}"
    return document


def main() -> None:
    """Writes both documents."""
    for locale, path in DOCUMENTS.items():
        path.write_text(written(path.read_text("utf-8"), locale), "utf-8")


if __name__ == "__main__":
    main()
