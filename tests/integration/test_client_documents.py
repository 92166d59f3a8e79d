"""What docs/cli.md and docs/client.md show is typed and run, against a system like theirs."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from muster.cli import exits
from muster.cli.main import app
from muster.client import errors
from tests.integration.conftest import System
from tests.support.screens import pictures
from tests.support.showcase import showcase

ROOT = Path(__file__).resolve().parents[2]
CLI = (ROOT / "docs" / "cli.md").read_text("utf-8")
CLIENT = (ROOT / "docs" / "client.md").read_text("utf-8")
QUIET: dict[str, Any] = {
    "heartbeat_interval_s": 15.0, "heartbeat_timeout_s": 600.0, "warmup_timeout_s": 600.0,
}  # fmt: skip
GOES_ON = ("--follow", "--watch", "muster top")
TIMED_OUT = 124


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)


def here(text: str, system: System) -> str:
    """The text, speaking of this system's gateways; a place is held for less long, as a drain waits
    for it."""
    first, second = (gateway.url for gateway in system.gateways)
    text = text.replace("http://127.0.0.1:8080", first).replace("http://127.0.0.1:8081", second)
    text = text.replace("--hold 30", "--hold 1")
    return text.replace("Client()", f'Client("{first}")')


async def run(*command: str, system: System) -> tuple[int, str]:
    urls = ",".join(gateway.url for gateway in system.gateways)
    around = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=around | {"PATH": path, "PYTHONPATH": str(ROOT), "MUSTER_SERVER": urls},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode()


async def goes_on(line: str, system: System) -> None:
    rc, said = await run("timeout", "5", "bash", "-c", here(line, system), system=system)
    assert rc == TIMED_OUT, f"{line}\n{said}"


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_command_of_the_document_works(system: System) -> None:
    await system.start(gateways=2, sweepers=1, **QUIET)
    lines = [line for block in blocks(CLI, "sh") for line in block.splitlines()]
    assert len(lines) > 20
    async with showcase(system.ws, system.http):
        going_on = [line for line in lines if any(word in line for word in GOES_ON)]
        for line in lines:
            if line.startswith("export ") or line in going_on:
                continue
            rc, said = await run("bash", "-c", here(line, system), system=system)
            assert rc == 0, f"{line}\n{said}"
        await asyncio.gather(*(goes_on(line, system) for line in going_on))


@pytest.mark.slow
async def test_every_program_of_the_document_runs(system: System) -> None:
    await system.start(gateways=2, sweepers=1, **QUIET)
    programs = blocks(CLIENT, "python")
    assert len(programs) == 6
    async with showcase(system.ws, system.http):
        for program in programs:
            rc, said = await run(sys.executable, "-c", here(program, system), system=system)
            assert rc == 0, f"{program}\n{said}"
            assert said


def test_every_verb_and_exit_status_is_in_the_document() -> None:
    verbs = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert {verb for verb in verbs if f"`{verb}`" not in CLI and f"muster {verb}" not in CLI} == {
        "version"
    }
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", CLI, re.MULTILINE)
    assert {int(status): meaning for status, meaning in rows} == exits.MEANINGS


def test_every_error_and_code_is_in_the_document() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.MusterError)
    ]
    assert all(f"`{kind.__name__}`" in CLIENT or kind is errors.ProblemError for kind in kinds)
    assert [code for code in errors.NEXT_STEPS if f"`{code}`" not in CLIENT] == []


def test_every_picture_is_shown_and_as_the_code_draws_it(tmp_path: Path) -> None:
    drawing = [sys.executable, "-m", "tests.support.screens", str(tmp_path)]
    subprocess.run(drawing, check=True, cwd=ROOT)
    for name in pictures():
        assert f"({name}.svg)" in CLI
        drawn = (tmp_path / f"{name}.svg").read_text("utf-8")
        assert (ROOT / "docs" / f"{name}.svg").read_text("utf-8") == drawn
