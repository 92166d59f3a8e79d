"""The panel as it stands on terminals of several sizes and languages."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from muster.agent import panel, texts
from muster.agent.hardware import NoGpuCause
from muster.agent.status import AgentStatus, Registration
from muster.wire.errors import Locale
from tests.support import watched

ROOT = Path(__file__).resolve().parents[2]
LOCALES: tuple[Locale, ...] = ("zh", "en")
WIDTHS = (80, 200)
STATES = (watched.working, watched.refused, watched.pretended)


def drawn(status: AgentStatus, locale: Locale, width: int, *, ascii_only: bool = False) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None, force_terminal=True)
    with console.capture() as captured:
        console.print(panel.render(status.as_dict(locale), locale, ascii_only=ascii_only))
    return captured.get()


@pytest.mark.parametrize("make", STATES)
@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_line_is_as_wide_as_the_terminal_and_no_wider(
    make: Callable[[], AgentStatus], locale: Locale, width: int
) -> None:
    lines = drawn(make(), locale, width).splitlines()
    assert {cell_len(line) for line in lines} == {width}


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_shows_where_a_working_node_stands(locale: Locale, width: int) -> None:
    text = drawn(watched.working(), locale, width)
    for shown in (
        texts.word("ready", locale),
        texts.status("ready", "healthy", locale).what,
        texts.word("registration_success", locale),
        watched.NODE_ID,
        watched.SERVER,
        texts.word("round_trip", locale, ms="12.4"),
        texts.word("running", locale, count=1),
        "0 NVIDIA GeForce RTX 4090",
        "10.2 / 24 GiB",
        "62 %",
        "61 °C",
        texts.word("unhealthy", locale),
        texts.gpu_reason("gpu_lost", locale),
        "mdl-nmt-zh-en-base-v1 (nmt zh→en)",
        texts.duration(12 * 60, locale),
    ):
        assert shown in text, shown


@pytest.mark.parametrize("locale", LOCALES)
def test_a_machine_without_a_gpu_is_told_every_step(locale: Locale) -> None:
    text = "".join(drawn(watched.refused(), locale, 200).split())
    steps = texts.no_gpu(NoGpuCause.NO_DRIVER, "", locale).do.splitlines()
    assert len(steps) > 1
    assert all("".join(step.split()) in text for step in steps)
    assert "".join(texts.word("registration_failed", locale).split()) in text


@pytest.mark.parametrize("locale", LOCALES)
def test_what_is_simulated_says_so_and_what_is_wrong_is_listed(locale: Locale) -> None:
    text = drawn(watched.pretended(), locale, 200)
    assert texts.word("simulated", locale) in text
    assert "models.toml: models[1].kind" in text
    assert texts.word("not_connected", locale) in text


@pytest.mark.parametrize("registration", Registration)
@pytest.mark.parametrize("locale", LOCALES)
def test_each_state_of_the_registration_has_a_word(
    registration: Registration, locale: Locale
) -> None:
    status = AgentStatus("0.1.0")
    status.change(registration=registration)
    assert texts.word(f"registration_{registration}", locale) in drawn(status, locale, 80)


def test_a_terminal_without_unicode_gets_none() -> None:
    text = drawn(watched.pretended(), "en", 80, ascii_only=True)
    assert text.isascii()


def test_a_status_of_a_newer_server_is_shown_by_its_name() -> None:
    status = watched.working()
    status.change(status="hibernating", reason="night", said="it is night")
    text = drawn(status, "en", 80)
    assert "hibernating" in text
    assert "it is night" in text


CHILD = """
import asyncio, os, sys
from muster.agent import panel
from tests.support import watched

async def main():
    status = getattr(watched, sys.argv[1])(*map(int, sys.argv[3:]))
    showing = asyncio.create_task(panel.show(status, sys.argv[2]))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    status.change(status="degraded", reason="model_missing")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    showing.cancel()
    await asyncio.gather(showing, return_exceptions=True)

asyncio.run(main())
"""

linux_only = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


@linux_only
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50)])
@pytest.mark.parametrize("locale", LOCALES)
def test_on_a_terminal_it_lives_and_leaves_its_last_state_behind(
    locale: Locale, columns: int, rows: int
) -> None:
    from tests.support.terminal import Terminal

    argv = [sys.executable, "-c", CHILD, "working", locale]
    with Terminal(argv, columns, rows, {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}) as terminal:
        terminal.wait_for("╯")
        assert texts.word("ready", locale) in terminal.text
        edges = [line for line in terminal.lines if line]
        assert edges[0].startswith("╭") and edges[-1].startswith("╰")
        assert {cell_len(line) for line in edges} == {columns}
        terminal.send("\n")
        terminal.wait_for(texts.word("degraded", locale))
        terminal.send("\n")
        assert terminal.wait_end() == 0
        assert texts.word("degraded", locale) in terminal.text
        assert terminal.lines[0].startswith("╭")
        assert texts.word("leave", locale) not in terminal.text


@linux_only
def test_a_small_terminal_shows_the_head_and_the_lower_edge() -> None:
    from tests.support.terminal import Terminal

    argv = [sys.executable, "-c", CHILD, "working", "en", "12"]
    with Terminal(argv, 80, 12, {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}) as terminal:
        terminal.wait_for("╯")
        assert terminal.lines[0].startswith("╭")
        assert texts.word("ready", "en") in terminal.lines[1]
        assert terminal.lines[11].startswith("╰")


@linux_only
def test_a_terminal_that_changes_its_size_is_drawn_anew_at_once() -> None:
    from tests.support.terminal import Terminal

    argv = [sys.executable, "-c", CHILD, "working", "en"]
    with Terminal(argv, 80, 24, {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}) as terminal:
        terminal.wait_for("╯")
        before = time.monotonic()
        terminal.resize(120, 30)
        terminal.wait_for(lambda text: any(cell_len(line) == 120 for line in text.splitlines()))
        assert time.monotonic() - before < panel.REFRESH_S


@linux_only
async def test_a_terminal_that_was_stopped_stops_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x")
    os.set_blocking(writing, True)
    drawings: asyncio.Queue[int] = asyncio.Queue()
    render = panel.render

    def counted(state: Mapping[str, Any], locale: Locale, **more: Any) -> RenderableType:
        drawings.put_nowait(state["runningJobs"])
        return render(state, locale, **more)

    monkeypatch.setattr(panel, "render", counted)
    monkeypatch.setattr(panel, "SETTLE_S", 0.001)
    status = watched.working()
    with os.fdopen(writing, "w") as stopped:
        console = Console(file=stopped, force_terminal=True, width=80, height=24)
        showing = asyncio.create_task(panel.show(status, "en", console))
        for jobs in range(2, 200):
            status.change(running_jobs=jobs)
            async with asyncio.timeout(5):
                while await drawings.get() != jobs:
                    pass
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        os.close(reading)  # ends the write that waits


async def test_nothing_is_drawn_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    drawings: asyncio.Queue[int] = asyncio.Queue()
    render = panel.render

    def counted(state: Mapping[str, Any], locale: Locale, **more: Any) -> RenderableType:
        drawings.put_nowait(state["runningJobs"])
        return render(state, locale, **more)

    monkeypatch.setattr(panel, "render", counted)
    monkeypatch.setattr(panel, "SETTLE_S", 0.001)
    status = watched.working()
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    showing = asyncio.create_task(panel.show(status, "en", console))
    for jobs in (11, 12, 13):
        status.change(running_jobs=jobs)
        async with asyncio.timeout(5):
            while await drawings.get() != jobs:
                pass
    with suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            while True:
                assert await drawings.get() == 13, "drawn for nothing"
    assert drawings.empty()
    showing.cancel()
    await asyncio.gather(showing, return_exceptions=True)
