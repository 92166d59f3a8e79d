"""Events as lines: when, to whom, what. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from muster.cli import looks
from muster.cli.remote import clean

_WORDS: Mapping[str, str] = {
    "register": "registered",
    "resume": "came back",
    "revive": "came back from silence",
    "restore": "restored, the store had lost it",
    "update": "changed what it can do",
    "mend": "told again, the store had lost it",
    "expired": "forgotten, it was offline for long",
    "operator_drain": "drained",
    "operator_resume": "resumed",
    "operator_remove": "taken off the roll",
    "operator_labels": "labelled",
    "operator_release_brake": "the brake was let go",
    "duplicate_identity": "two machines claim this id",
    "mass_expiry": "much of the fleet fell silent",
    "unobserved": "nobody could hear the fleet for a while",
}


def line(event: Mapping[str, Any], now: int, *, ascii_only: bool = False) -> Text:
    """One event as one line."""
    when, *rest = row(event, now, ascii_only=ascii_only, with_node=True)
    text = Text.assemble((str(when), looks.QUIET))
    for part in rest:
        text.append("  ").append(part if isinstance(part, Text) else Text(part))
    text.rstrip()
    return text


def row(
    event: Mapping[str, Any], now: int, *, ascii_only: bool, with_node: bool
) -> tuple[Text | str, ...]:
    """When, (to whom,) what, and what else is to be said."""
    at = instant(event)
    name = clean(str(event.get("node_id") or "fleet"))
    who = (Text(name, "bold"),) if with_node else ()
    return (looks.clock(at, now), *who, _what(event, ascii_only=ascii_only), _more(event))


def instant(event: Mapping[str, Any]) -> int:
    """When it happened, ms."""
    at = str(event.get("at", ""))
    return int(at) if at.isdigit() else 0


def _what(event: Mapping[str, Any], *, ascii_only: bool) -> Text:
    type_ = str(event.get("type", ""))
    before, after = str(event.get("from") or ""), str(event.get("to") or "")
    if type_ != "transition":
        return Text(_WORDS.get(type_, clean(type_)))
    if before == after:
        return looks.state(after, ascii_only=ascii_only).append(" still", looks.QUIET)
    arrow = " -> " if ascii_only else " → "
    return Text.assemble(clean(before), arrow, looks.state(after, ascii_only=ascii_only))


def _more(event: Mapping[str, Any]) -> str:
    parts = []
    if event.get("type") == "transition":
        parts.append(str(event.get("reason", "")))
    if event.get("who"):
        parts.append(f"by {event['who']}")
    if event.get("why"):
        parts.append(str(event["why"]))
    changes = event.get("changes")
    if isinstance(changes, Mapping):
        parts.append(
            " ".join(f"{k}={v}" if v is not None else f"{k} off" for k, v in changes.items())
        )
    evidence = event.get("evidence")
    silence = evidence.get("silence_ms") if isinstance(evidence, Mapping) else None
    if event.get("reason") == "heartbeat_timeout" and isinstance(silence, int):
        parts.append(f"silent for {looks.age(silence)}")
    if event.get("type") in ("register", "resume", "revive", "restore") and event.get("gateway"):
        parts.append(f"at {event['gateway']}")
    return clean(", ".join(part for part in parts if part))
