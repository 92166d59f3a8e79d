"""What an agent says to its owner: whole in two languages, and true to the commands there are."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Any

import pytest
import typer.main
from websockets import exceptions
from websockets.datastructures import Headers
from websockets.http11 import Response

from muster.agent import sentences, texts
from muster.agent.hardware import NoGpuCause
from muster.agent.language import pick
from muster.agent.models import ModelProblem
from muster.agent.status import Action
from muster.agent.texts import Advice
from muster.agent.trouble import Note, Trouble, trouble_of
from muster.cli.agent import app
from muster.wire.closing import CloseCode
from muster.wire.errors import ErrorCode, Locale
from registry.model import Reason, Status

LOCALES: tuple[Locale, ...] = ("zh", "en")
DONE_BY_ITSELF = {"RATE_LIMITED", "UNAVAILABLE", "NOT_REGISTERED"}


def has_chinese(text: str) -> bool:
    return any("一" <= character <= "鿿" for character in text)


def is_in(locale: Locale, text: str) -> bool:
    return bool(text) and has_chinese(text) == (locale == "zh")


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("cause", NoGpuCause)
def test_every_cause_without_a_gpu_has_a_sentence_and_steps_of_its_own(
    cause: NoGpuCause, locale: Locale
) -> None:
    advice = texts.no_gpu(cause, "NVML said so", locale)
    assert is_in(locale, advice.what)
    assert is_in(locale, advice.do)
    assert "(NVML said so)" in advice.what
    others = [texts.no_gpu(other, "", locale) for other in NoGpuCause if other is not cause]
    assert all(advice.do != other.do for other in others)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_says_what_to_do(code: ErrorCode, locale: Locale) -> None:
    advice = texts.error(code, None, locale)
    assert is_in(locale, advice.what)
    assert is_in(locale, advice.do)
    assert (advice.do == sentences.BY_ITSELF[locale]) == (code in DONE_BY_ITSELF)


@pytest.mark.parametrize("locale", LOCALES)
def test_a_conflict_that_passes_asks_nothing_of_its_owner(locale: Locale) -> None:
    for_now = texts.error("NODE_ID_CONFLICT", {"retry_after_ms": 2000}, locale)
    for_good = texts.error("NODE_ID_CONFLICT", None, locale)
    assert for_now.do == sentences.BY_ITSELF[locale]
    assert "reset-identity" in for_good.do
    assert for_now.what != for_good.what


@pytest.mark.parametrize("locale", LOCALES)
def test_a_misfit_names_its_field_whatever_else_the_details_hold(locale: Locale) -> None:
    details = {"path": "hardware.gpus[0]", "expected": "object", "code": "x", "locale": "y"}
    assert "hardware.gpus[0]" in texts.error("INVALID_MESSAGE", details, locale).what


@pytest.mark.parametrize("locale", LOCALES)
def test_an_error_of_a_newer_server_is_shown_in_the_servers_own_words(locale: Locale) -> None:
    advice = texts.error("QUOTA_EXCEEDED", None, locale, said="no more nodes")
    assert advice.what == "QUOTA_EXCEEDED: no more nodes"
    assert is_in(locale, advice.do)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("close", CloseCode)
def test_every_close_code_has_a_sentence_of_its_own(close: CloseCode, locale: Locale) -> None:
    advice = texts.close(close.code, locale)
    assert is_in(locale, advice.what)
    assert close.code in sentences.CLOSES
    if close.retry == "never":
        assert is_in(locale, advice.do)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(("code", "returns"), [(4321, True), (4777, False), (3000, True)])
def test_an_unknown_close_code_is_named_and_told_by_its_range(
    code: int, returns: bool, locale: Locale
) -> None:
    advice = texts.close(code, locale)
    assert str(code) in advice.what
    assert bool(advice.do) != returns


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("status", Status)
def test_every_reason_of_every_status_has_a_sentence(
    status: Status, reason: Reason, locale: Locale
) -> None:
    advice = texts.status(status, reason, locale)
    assert is_in(locale, advice.what)
    assert not advice.do or is_in(locale, advice.do)


@pytest.mark.parametrize("locale", LOCALES)
def test_only_a_drained_node_under_an_operator_is_told_that_it_may_be_shut_down(
    locale: Locale,
) -> None:
    drained = texts.status("draining", "drained", locale)
    left = texts.status("offline", "drained", locale)
    assert drained.do != left.do
    assert "muster agent run" in left.do


@pytest.mark.parametrize("locale", LOCALES)
def test_a_reason_of_a_newer_server_is_shown_in_the_servers_own_words(locale: Locale) -> None:
    assert texts.status("degraded", "too_hot", locale, said="it is too hot").what == "it is too hot"
    assert "too_hot" in texts.status("degraded", "too_hot", locale).what


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("trouble", Trouble)
def test_every_trouble_with_a_connection_says_where_and_what_to_do(
    trouble: Trouble, locale: Locale
) -> None:
    advice = texts.trouble(trouble, locale, server="wss://x.example", detail="because")
    assert is_in(locale, advice.what)
    assert is_in(locale, advice.do)
    assert "wss://x.example" in advice.what or trouble is Trouble.PROXY
    assert "{" not in advice.what


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("note", Note)
def test_every_note_has_a_sentence(note: Note, locale: Locale) -> None:
    values = {"node_id": "n", "detail": "d", "server": "s", "added": ("a",), "removed": ()}
    text = texts.note(note, locale, **values)
    assert is_in(locale, text)
    assert "{" not in text


@pytest.mark.parametrize("locale", LOCALES)
def test_what_is_wrong_with_a_card_is_said_with_the_drivers_own_number(locale: Locale) -> None:
    assert "xid_79" in texts.gpu_reason("xid_79", locale)
    assert "nvml_999" in texts.gpu_reason("nvml_999", locale)
    assert texts.gpu_reason("never_seen", locale) == "never_seen"


VALUES: Mapping[Action, Mapping[str, Any]] = {
    Action.PROBED: {"gpus": ("RTX 4090",), "simulated": False},
    Action.NO_GPU: {"cause": NoGpuCause.NO_DRIVER, "detail": ""},
    Action.CONNECTING: {"server": "wss://x", "attempt": 1},
    Action.CONNECTED: {"server": "wss://x"},
    Action.REGISTERED: {"node_id": "node-1", "status": "ready", "resumed": True, "session": 1},
    Action.REFUSED: {"code": "UNAVAILABLE", "details": None, "said": "", "retry_in_s": 1.0},
    Action.STATUS: {"status": "ready", "previous": None, "reason": "healthy", "said": ""},
    Action.CLOSED: {"server": "wss://x", "close_code": 1012, "trouble": None, "detail": ""},
    Action.RETRYING: {"in_s": 1.25},
    Action.GPU_CHANGED: {"index": 0, "name": "RTX", "healthy": False, "reason": "gpu_lost"},
    Action.HARDWARE_CHANGED: {"added": (), "removed": ("RTX 4090",)},
    Action.MODELS_CHANGED: {"models": 2, "problems": 0},
    Action.SERVING: {"url": "http://127.0.0.1:7070", "token_file": "/state/token"},
    Action.DRAINING: {"reason": "", "timeout_s": 300.0},
    Action.LEFT: {"reason": ""},
    Action.NOTE: {"note": Note.SIMULATED},
}


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("action", Action)
def test_every_event_is_told_in_words(action: Action, locale: Locale) -> None:
    told = texts.event(action, VALUES[action], locale)
    assert is_in(locale, told.what) or action is Action.GPU_CHANGED
    assert "{" not in told.what


def test_an_end_without_a_code_is_told_by_its_trouble() -> None:
    values = {"server": "wss://x", "close_code": None, "trouble": Trouble.SILENT, "detail": ""}
    assert texts.event("closed", values, "en") == texts.trouble(
        Trouble.SILENT, "en", server="wss://x"
    )


def test_braces_inside_a_value_are_only_text() -> None:
    advice = texts.trouble(Trouble.TLS, "en", server="{detail}", detail="{server} {")
    assert "{detail}" in advice.what
    assert "{server} {" in advice.what


@pytest.mark.parametrize("left_out", [True, False])
def test_a_problem_of_a_model_names_file_field_and_what_becomes_of_the_entry(
    left_out: bool,
) -> None:
    problem = ModelProblem("m/model.json", "kind", "string", "number", left_out)
    text = texts.model_problem(problem, "en")
    assert "m/model.json: kind: expected string, got number" in text
    assert ("left out" in text) == left_out


def every_sentence() -> list[str]:
    """All texts of the tables, whatever their shape."""
    found: list[str] = []

    def gather(value: object) -> None:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, Mapping):
            for inner in value.values():
                gather(inner)
        elif isinstance(value, tuple):
            for inner in value:
                gather(inner)

    for name, table in vars(sentences).items():
        if name.isupper():
            gather(table)
    return found


COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_only_commands_and_options_that_exist_are_recommended() -> None:
    text = "\n".join(every_sentence())
    named = set(re.findall(r"muster agent ([a-z][a-z-]*)", text))
    assert named <= set(COMMANDS)
    options = {opt for command in COMMANDS.values() for each in command.params for opt in each.opts}
    foreign = {"--gpus", "--help"}  # docker's, and every command's
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - foreign <= options


def test_the_sentences_were_all_found() -> None:
    assert len(every_sentence()) > 200


@pytest.mark.parametrize(
    ("wanted", "environ", "picked"),
    [
        (None, {}, "zh"),
        (None, {"LANG": "C.UTF-8"}, "zh"),
        (None, {"LANG": "POSIX"}, "zh"),
        (None, {"LANG": "zh_CN.UTF-8"}, "zh"),
        (None, {"LANG": "en_GB.UTF-8"}, "en"),
        (None, {"LANG": "de_DE.UTF-8"}, "en"),
        (None, {"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        (None, {"LANG": "en_US", "LC_ALL": ""}, "en"),
        (None, {"LANG": "en_US", "MUSTER_AGENT_LOCALE": "zh"}, "zh"),
        ("en", {"MUSTER_AGENT_LOCALE": "zh"}, "en"),
    ],
)
def test_the_language_is_the_one_asked_for_or_the_machines(
    wanted: str | None, environ: dict[str, str], picked: Locale
) -> None:
    assert pick(wanted, environ) == picked


def answered(status: int) -> exceptions.InvalidStatus:
    return exceptions.InvalidStatus(Response(status, "", Headers(), b""))


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (exceptions.InvalidURI("x", "no"), Trouble.BAD_URL),
        (socket.gaierror(socket.EAI_NONAME, "no such host"), Trouble.NAME),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), Trouble.REFUSED),
        (OSError(errno.ENETUNREACH, "no route"), Trouble.UNREACHABLE),
        (TimeoutError(), Trouble.TIMEOUT),
        (ssl.SSLCertVerificationError("expired"), Trouble.TLS),
        (exceptions.ProxyError("no"), Trouble.PROXY),
        (exceptions.InvalidMessage("no HTTP"), Trouble.NOT_MUSTER),
        (answered(401), Trouble.FORBIDDEN),
        (answered(403), Trouble.FORBIDDEN),
        (answered(404), Trouble.NOT_FOUND),
        (answered(200), Trouble.NOT_MUSTER),
        (answered(429), Trouble.UPSTREAM),
        (answered(503), Trouble.UPSTREAM),
        (exceptions.ConnectionClosedError(None, None), Trouble.LOST),
        (ConnectionResetError(), Trouble.LOST),
        (EOFError(), Trouble.LOST),
    ],
)
def test_an_exception_is_sorted_by_what_its_owner_can_do(
    error: BaseException, trouble: Trouble
) -> None:
    assert trouble_of(error) is trouble


def test_advice_without_steps_asks_for_nothing() -> None:
    assert texts.status("ready", "healthy", "en") == Advice(
        "the health checks pass; the node may be given work", ""
    )
