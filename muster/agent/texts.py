"""What an agent says to its owner: codes and values in, sentences of one language out.

Every function takes the language last. Codes nobody here knows (a newer server's, a driver's) are
never hidden: they are shown as they are, with the server's own sentence where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from muster.agent import sentences
from muster.agent.trouble import Note, Trouble
from muster.wire.closing import retry_policy
from muster.wire.errors import ErrorCode, Locale, error_text, status_text

if TYPE_CHECKING:
    from muster.agent.hardware import NoGpuCause
    from muster.agent.models import ModelProblem


@dataclass(frozen=True)
class Advice:
    """What happened, and what to do next: steps, one a line; empty when nothing is to be done."""

    what: str
    do: str = ""

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"  → {step}" for step in self.do.splitlines())])


def no_gpu(cause: NoGpuCause | str, detail: str, locale: Locale) -> Advice:
    """Why this machine has no usable GPU; `detail` is what the driver or the system said."""
    what, do = sentences.NO_GPU[cause][locale]
    return Advice(f"{what} ({detail})" if detail else what, do)


def error(
    code: str, details: Mapping[str, Any] | None, locale: Locale, *, said: str = ""
) -> Advice:
    """A `node_error` of the server."""
    try:
        known = ErrorCode(code)
    except ValueError:
        return Advice(f"{code}: {said}" if said else code, sentences.UNKNOWN[locale])
    details = details or {}
    what = error_text(known, locale, **{key: details[key] for key in _DETAILS if key in details})
    if known is ErrorCode.NODE_ID_CONFLICT and details.get("retry_after_ms") is not None:
        return Advice(what, sentences.BY_ITSELF[locale])
    return Advice(what, sentences.ERRORS[known][locale])


_DETAILS = ("path", "expected", "got", "supported", "trace_id", "retry_after_ms")


def close(code: int, locale: Locale) -> Advice:
    """The server ended the connection with this code."""
    known = sentences.CLOSES.get(code)
    if known is None:
        known = sentences.OTHER_CLOSES[retry_policy(code) != "never"]
    what, do = known[locale]
    return Advice(what.replace("{code}", str(code)), do)


def status(status: str, reason: str, locale: Locale, *, said: str = "") -> Advice:
    """The node's status and why."""
    steps = sentences.STATUSES.get(f"{status}:{reason}") or sentences.STATUSES.get(reason)
    if steps is None:
        return Advice(said or status_text(status, reason, locale), sentences.UNKNOWN[locale])
    return Advice(status_text(status, reason, locale).removeprefix(f"{status}: "), steps[locale])


def trouble(trouble: Trouble, locale: Locale, *, server: str = "", detail: str = "") -> Advice:
    """Why there is no connection; `detail` is what the system said."""
    what, do = sentences.TROUBLES[trouble][locale]
    return Advice(_fill(what, {"server": server, "detail": detail}), do)


def gpu_reason(reason: str, locale: Locale) -> str:
    """What is wrong with one card."""
    family = reason.partition("_")[0] if reason not in sentences.GPU_REASONS else reason
    known = sentences.GPU_REASONS.get(family)
    return _fill(known[locale], {"code": reason}) if known else reason


def note(note: Note, locale: Locale, **values: Any) -> str:
    """Something an owner should know."""
    return _fill(sentences.NOTES[note][locale], _shown(values, locale))


def model_problem(problem: ModelProblem, locale: Locale) -> str:
    """What is wrong with an entry of the models' files."""
    place = f"{problem.file}: {problem.field}" if problem.field else problem.file
    values = {"place": place, "expected": problem.expected, "got": problem.got}
    return (
        _fill(sentences.MODEL_PROBLEM[locale], values)
        + sentences.LEFT_OUT[problem.left_out][locale]
    )


def setting(name: str, expected: str, got: str, locale: Locale) -> Advice:
    """A setting that can't be used."""
    what, do = sentences.SETTING[locale]
    return Advice(_fill(what, {"name": name, "expected": expected, "got": got}), do)


def state_in_use(directory: str, locale: Locale) -> Advice:
    """Another agent runs on the same state directory."""
    what, do = sentences.STATE_IN_USE[locale]
    return Advice(_fill(what, {"directory": directory}), do)


def nobody_answers(locale: Locale) -> Advice:
    """No agent with a local API runs here."""
    return Advice(*sentences.NOBODY_ANSWERS[locale])


def missing_parts(locale: Locale) -> Advice:
    """The agent's dependencies are not installed."""
    return Advice(*sentences.MISSING_PARTS[locale])


def event(action: str, values: Mapping[str, Any], locale: Locale) -> Advice:
    """Something that happened: `status.Action` and the values told with it."""
    match action:
        case "no_gpu":
            return no_gpu(values["cause"], values["detail"], locale)
        case "refused":
            return error(values["code"], values["details"], locale, said=values["said"])
        case "status":
            told = status(values["status"], values["reason"], locale, said=values["said"])
            return Advice(f"{word(values['status'], locale)}: {told.what}", told.do)
        case "closed" if values["close_code"] is not None:
            return close(values["close_code"], locale)
        case "closed":
            server, detail = values["server"], values["detail"]
            return trouble(values["trouble"], locale, server=server, detail=detail)
        case "note":
            others = {key: value for key, value in values.items() if key != "note"}
            return Advice(note(values["note"], locale, **others))
        case "gpu_changed":
            key = "gpu_healthy" if values["healthy"] else "gpu_unhealthy"
            reason = values["reason"]
            values = {**values, "trouble": gpu_reason(reason, locale) if reason else "?"}
        case "registered":
            key = "resumed" if values["resumed"] else "registered"
        case _:
            key = action
    if key not in sentences.EVENTS:
        return Advice(action)
    return Advice(_fill(sentences.EVENTS[key][locale], _shown(values, locale)))


def refusal(code: str, locale: Locale, **values: Any) -> str:
    """Why the local API does not do what it was asked."""
    return _fill(sentences.API[code][locale], values)


def word(key: str, locale: Locale, **values: Any) -> str:
    """One label of panel and page; a status nobody here knows is its own word."""
    known = sentences.WORDS.get(key)
    return _fill(known[locale], values) if known else key


def duration(seconds: float, locale: Locale) -> str:
    """How long, in its largest unit: `3 min`."""
    for key, unit in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= unit:
            return word(key, locale, n=int(seconds // unit))
    return word("seconds", locale, n=int(max(seconds, 0)))


def _shown(values: Mapping[str, Any], locale: Locale) -> dict[str, str]:
    """Values as they stand in a sentence."""
    return {key: _said(value, locale) for key, value in values.items()}


def _said(value: Any, locale: Locale) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or sentences.NONE[locale]
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _fill(sentence: str, values: Mapping[str, Any]) -> str:
    """Puts values into their places, in one pass: braces inside a value are only text."""
    parts = sentence.split("{")
    filled = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition("}")
        filled.append(str(values.get(name, "")) + rest)
    return "".join(filled)
