"""What people and programs see of an agent: the document's shape, the latest state, every event."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from muster.agent.hardware import NoGpuCause
from muster.agent.status import (
    Action,
    AgentStatus,
    Closed,
    GpuRow,
    NoGpu,
    Problem,
    Refused,
    Registration,
    Unreachable,
)
from muster.agent.trouble import Note, Trouble
from muster.wire.errors import Locale

DOCUMENTS = ["online", "nodeId", "connected", "registrationStatus", "registrationError"]
LOCALES: tuple[Locale, ...] = ("zh", "en")


def test_at_first_it_is_what_the_document_says_of_a_program_just_started() -> None:
    said = AgentStatus().as_dict("zh")
    assert {key: said[key] for key in DOCUMENTS} == {
        "online": False,
        "nodeId": None,
        "connected": False,
        "registrationStatus": "idle",
        "registrationError": None,
    }
    assert list(said)[:5] == DOCUMENTS


def test_a_registered_node_on_a_live_connection_is_online() -> None:
    status = AgentStatus()
    status.change(connected=True, registration=Registration.SUCCESS, node_id="node-A")
    said = status.as_dict("en")
    assert (said["online"], said["nodeId"], said["registrationStatus"]) == (
        True,
        "node-A",
        "success",
    )
    status.change(connected=False)
    assert not status.as_dict("en")["online"]


PROBLEMS: list[tuple[Problem, str]] = [
    (NoGpu(NoGpuCause.NO_DRIVER, "detail"), "no_driver"),
    (Refused("NO_GPU_AVAILABLE", None, "said"), "NO_GPU_AVAILABLE"),
    (
        Refused("INVALID_MESSAGE", {"path": "labels", "expected": "object"}, "said"),
        "INVALID_MESSAGE",
    ),
    (Refused("A_NEWER_CODE", None, "what the server said"), "A_NEWER_CODE"),
    (Unreachable(Trouble.REFUSED, "ws://host", "detail"), "refused"),
    (Closed(4501, "unauthorized"), "4501"),
]


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(("problem", "code"), PROBLEMS)
def test_a_problem_has_a_code_for_programs_and_a_sentence_for_people(
    problem: Problem, code: str, locale: Locale
) -> None:
    status = AgentStatus()
    status.change(problem=problem, registration=Registration.FAILED)
    said = status.as_dict(locale)
    assert said["code"] == code
    assert said["message"]
    assert said["registrationError"] == said["message"]
    assert said["whatToDo"]


def test_while_registration_did_not_fail_there_is_no_registration_error() -> None:
    status = AgentStatus()
    status.change(problem=Unreachable(Trouble.LOST, "ws://host", ""))
    said = status.as_dict("en")
    assert said["registrationError"] is None
    assert said["message"]


def test_a_status_is_shown_only_while_the_server_can_tell_another() -> None:
    status = AgentStatus()
    status.change(server="ws://host")
    assert status.as_dict("en")["state"] == "connecting"
    status.change(connected=True, registration=Registration.REGISTERING)
    assert status.as_dict("en")["state"] == "registering"
    status.change(registration=Registration.SUCCESS, session=1, since_ms=1)
    status.change(status="ready", reason="healthy")
    said = status.as_dict("en")
    assert (said["state"], said["status"], said["since"]) == ("ready", "ready", 1)
    status.change(connected=False, registration=Registration.IDLE)
    said = status.as_dict("en")
    assert said["state"] == "reconnecting"
    assert [said[key] for key in ("status", "reason", "since", "message")] == [None] * 4


def test_a_node_that_left_says_so_and_how_to_come_back() -> None:
    status = AgentStatus()
    status.change(server="ws://host", session=1, status="offline", reason="unregistered", left=True)
    said = status.as_dict("en")
    assert (said["state"], said["online"]) == ("left", False)
    assert "muster agent run" in said["whatToDo"]


@pytest.mark.parametrize("locale", LOCALES)
def test_cards_say_why_they_are_ill_in_words(locale: Locale) -> None:
    status = AgentStatus()
    row = GpuRow(index=0, name="RTX 3070", memory_gb=8.0, healthy=False, reason="probe_timeout")
    status.gpus = lambda: (row,)
    (shown,) = status.as_dict(locale)["gpus"]
    assert (shown["name"], shown["memoryGb"], shown["reason"]) == (
        "RTX 3070",
        8.0,
        "probe_timeout",
    )
    assert shown["message"]
    assert shown["message"] != "probe_timeout"


def test_a_note_is_told_once_while_it_stays_the_same() -> None:
    told: list[Mapping[str, Any]] = []
    status = AgentStatus()
    status.listen(lambda action, values: told.append({"action": action, **values}))
    for detail in ("a", "a", "b"):
        status.note(Note.STATE_NOT_WRITABLE, detail=detail)
    assert [note["detail"] for note in told] == ["a", "b"]
    assert len(status.as_dict("en")["warnings"]) == 1
    status.withdraw(Note.STATE_NOT_WRITABLE)
    assert status.as_dict("en")["warnings"] == []


def test_what_the_server_warned_of_is_among_the_warnings() -> None:
    status = AgentStatus()
    status.change(server_warnings=("platform: missing",))
    assert status.as_dict("en")["warnings"] == ["platform: missing"]


def test_listeners_miss_nothing_and_hear_it_in_order() -> None:
    told: list[str] = []
    status = AgentStatus()
    status.listen(lambda action, _: told.append(action))
    status.tell(Action.CONNECTING, server="ws://host", attempt=1)
    status.tell(Action.CONNECTED, server="ws://host")
    assert told == ["connecting", "connected"]


def test_the_last_events_are_shown_in_words() -> None:
    status = AgentStatus()
    for attempt in range(30):
        status.tell(Action.CONNECTING, server="ws://host", attempt=attempt)
    recent = status.as_dict("en")["recent"]
    assert len(recent) == 10
    assert all(event["action"] == "connecting" and event["message"] for event in recent)


async def test_a_subscriber_that_is_slow_gets_the_latest_and_skips_the_rest() -> None:
    status = AgentStatus()
    seen: list[int] = []
    wanted = asyncio.Event()

    async def read() -> None:
        async for state in status.subscribe("en"):
            seen.append(state["runningJobs"])
            if state["runningJobs"] == 99:
                return
            await wanted.wait()

    async with asyncio.timeout(60):
        reader = asyncio.create_task(read())
        await asyncio.sleep(0)
        for count in range(100):
            status.change(running_jobs=count)
            await asyncio.sleep(0)
        wanted.set()
        await reader
    assert seen == [0, 99]


async def test_a_change_to_the_same_wakes_nobody() -> None:
    status = AgentStatus()
    seen = 0

    async def read() -> None:
        nonlocal seen
        async for _ in status.subscribe("en"):
            seen += 1

    reader = asyncio.create_task(read())
    for _ in range(5):
        await asyncio.sleep(0)
        status.change(running_jobs=0)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    assert seen == 1


@pytest.mark.parametrize("module", ["muster.agent", "muster.agent.config", "muster.agent.texts"])
def test_a_part_that_needs_no_socket_loads_none(module: str) -> None:
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys, {module}; print('websockets.asyncio' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "False"


def test_everything_the_package_offers_is_there() -> None:
    import muster.agent

    for name in muster.agent.__all__:
        assert getattr(muster.agent, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = muster.agent.nonsense
