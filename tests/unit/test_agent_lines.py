"""One line an event: for people with `text`, for programs with `json`."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from muster.agent.hardware import NoGpuCause
from muster.agent.lines import Form, Lines
from muster.agent.status import Action, AgentStatus
from muster.agent.trouble import Note, Trouble


def written(form: Form, *events: tuple[Action, dict[str, Any]], locale: Any = "en") -> list[str]:
    stream = io.StringIO()
    status = AgentStatus("0.1.0")
    lines = Lines(stream, locale, form, clock=lambda: 1_735_689_600.5)
    status.listen(lines)
    for action, values in events:
        status.tell(action, **values)
    lines.close()
    return stream.getvalue().splitlines()


REGISTERED = (
    Action.REGISTERED,
    {"node_id": "node-1", "status": "registering", "resumed": False, "session": 4},
)
NO_DRIVER = (Action.NO_GPU, {"cause": NoGpuCause.NO_DRIVER, "detail": "no library"})


def test_a_line_of_text_has_time_level_action_values_and_what_it_means() -> None:
    assert written("text", REGISTERED) == [
        (
            "2025-01-01T00:00:00.500Z info registered node_id=node-1 status=registering "
            'resumed=false session=4 message="registered as node-1"'
        )
    ]


def test_a_line_of_json_holds_the_same() -> None:
    (line,) = written("json", REGISTERED)
    assert json.loads(line) == {
        "time": "2025-01-01T00:00:00.500Z",
        "level": "info",
        "action": "registered",
        "node_id": "node-1",
        "status": "registering",
        "resumed": False,
        "session": 4,
        "message": "registered as node-1",
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_to_do_next_stands_on_the_same_line(form: Form) -> None:
    (line,) = written(form, NO_DRIVER, locale="zh")
    assert "nvidia-smi" in line
    assert "没有安装驱动" in line
    assert "error" in line.split()[1] or json.loads(line)["level"] == "error"


def test_every_event_is_written_and_in_order() -> None:
    states = ["ready", "degraded", "ready", "degraded", "offline"]
    events = [
        (Action.STATUS, {"status": status, "previous": None, "reason": "healthy", "said": ""})
        for status in states
    ]
    lines = [json.loads(line) for line in written("json", *events)]
    assert [line["status"] for line in lines] == states
    assert [line["level"] for line in lines] == ["info", "warning", "info", "warning", "warning"]


@pytest.mark.parametrize("nasty", ["a b", 'quo"te', "new\nline", "equals=sign", ""])
def test_no_value_can_make_a_second_line_or_a_second_value(nasty: str) -> None:
    closed = {"server": nasty, "close_code": None, "trouble": Trouble.TLS, "detail": nasty}
    lines = written("text", (Action.CLOSED, closed))
    assert len(lines) == 1
    assert f"server={json.dumps(nasty)} " in lines[0]


def test_a_note_is_a_warning_and_said_once_while_it_stands() -> None:
    stream = io.StringIO()
    status = AgentStatus("0.1.0")
    lines = Lines(stream, "en")
    status.listen(lines)
    status.note(Note.CLEAR_TEXT, server="ws://x")
    status.note(Note.CLEAR_TEXT, server="ws://x")
    lines.close()
    (line,) = stream.getvalue().splitlines()
    assert " warning note note=clear_text " in line


def test_a_reader_that_has_gone_does_not_end_the_agent() -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    status = AgentStatus("0.1.0")
    lines = Lines(Gone(), "en")
    status.listen(lines)
    status.tell(Action.LEFT, reason="")
    lines.close()
    assert status.recent[-1].action is Action.LEFT
