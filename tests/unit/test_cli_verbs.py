"""Verbs that ask a gateway: their help, wrong usage, and what they do without their parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner, Result

from gateway.api.problems import CODES
from muster.cli import exits, remote
from muster.cli.main import app
from muster.client import errors

VERBS = (
    "nodes", "node", "explain", "select", "release", "drain", "resume", "rm", "label",
    "fleet", "doctor", "release-brake", "top", "events", "simulate",
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:9"


def muster(*arguments: str, environ: dict[str, str] | None = None, stdin: str = "") -> Result:
    around = {"MUSTER_SERVER": NOWHERE, "COLUMNS": "100"} | (environ or {})
    return CliRunner().invoke(app, list(arguments), env=around, input=stdin)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_examples_and_exit_statuses(verb: str) -> None:
    said = muster(verb, "--help")
    assert said.exit_code == 0
    assert f"Examples:\n    muster {verb}" in said.stdout
    assert "Exit status: 0 done; 1" in said.stdout
    assert "--json" in said.stdout
    assert "MUSTER_SERVER" in said.stdout
    assert max(map(len, said.stdout.splitlines())) <= 100


def test_the_first_help_names_every_verb() -> None:
    said = muster("--help").stdout
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert set(VERBS) <= set(commands)
    assert all(f"\n  {verb} " in said for verb in VERBS)
    assert "MUSTER_TOKEN" in said


WRONG: dict[str, tuple[list[str], str]] = {
    "no id": (["node"], "ID"),
    "no reason": (["drain", "node-A"], "--reason"),
    "no machine": (["drain", "--reason", "r"], "--all"),
    "machines twice over": (["rm", "node-A", "--gpu", "3090", "--reason", "r"], "not both"),
    "all and some": (["rm", "node-A", "--all", "--reason", "r"], "not both"),
    "no labels": (["label", "node-A", "--reason", "r"], "--set"),
    "no label": (["label", "node-A", "--set", "gold", "--reason", "r"], "--set"),
    "set and unset": (["label", "a", "--set", "t=1", "--unset", "t", "--reason", "r"], "--unset"),
    "half a pair": (["select", "--nmt", "zh"], "--nmt"),
    "no test": (["nodes", "--label", "region"], "--label"),
    "a test without a name": (["nodes", "--label", "=eu"], "--label"),
    "a label twice": (["nodes", "--label", "a=1", "--label", "a=2"], "--label"),
    "an unknown sort": (["nodes", "--sort", "age"], "--sort"),
    "an unknown kind": (["select", "--kind", "vad"], "--kind"),
    "no number": (["nodes", "--min-gpu-memory", "much"], "--min-gpu-memory"),
    "an unknown option": (["nodes", "--nonsense"], "--nonsense"),
    "a table where none can be drawn": (["nodes", "--watch"], "--json"),
    "a screen where none can be drawn": (["top"], "--json"),
    "events since no instant": (["events", "--since", "lately"], "--since"),
    "events since before time": (["events", "--since", "1960-01-01"], "--since"),
    "events from two places": (["events", "--since", "1h", "--after", "c"], "--after"),
    "a comma in a label's value": (["nodes", "--server", "gw", "--label", "a=b"], "address"),
    "no address": (["fleet", "--server", "gw:8080"], "http://127.0.0.1:8080"),
}


@pytest.mark.parametrize(("arguments", "named"), WRONG.values(), ids=WRONG)
def test_wrong_usage_ends_with_two_and_names_what_is_wrong(
    arguments: list[str], named: str
) -> None:
    said = muster(*arguments)
    assert (said.exit_code, said.stdout) == (exits.USAGE, "")
    assert named in said.stderr
    assert "Traceback" not in said.stderr


def test_a_token_that_cannot_be_sent_is_wrong_usage_and_not_repeated() -> None:
    said = muster("fleet", environ={"MUSTER_TOKEN": "two words"})
    assert (said.exit_code, said.stdout) == (exits.USAGE, "")
    assert "token" in said.stderr
    assert "two words" not in said.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nodes"],
        ["node", "a"],
        ["explain", "a"],
        ["select"],
        ["release", "a~b"],
        ["drain", "a", "--reason", "r"],
        ["resume", "--gpu", "x", "--reason", "r"],
        ["rm", "a", "--reason", "r"],
        ["label", "a", "--set", "x=y", "--reason", "r"],
        ["fleet"],
        ["top", "--json"],
        ["events"],
        ["events", "--follow"],
        ["events", "--node", "a"],
        ["nodes", "--watch", "--json"],
    ],
    ids=" ".join,
)
def test_where_nobody_answers_it_ends_with_five_and_a_next_step(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PATIENCE_S", 0)
    said = muster(*arguments)
    assert said.exit_code == exits.NOBODY_ANSWERS, said.output
    told = said.stderr if "--json" not in arguments else json.loads(said.stderr)["message"]
    assert f"{NOWHERE}: " in told
    assert "a gateway runs there" in said.stderr


def test_a_program_is_told_of_a_failure_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE_S", 0)
    said = muster("fleet", "--json")
    assert said.stdout == ""
    found: dict[str, Any] = json.loads(said.stderr)
    assert found["code"] == "UNREACHABLE"
    assert set(found) == {"code", "message", "next_step"}


@pytest.mark.parametrize("missing", ["httpx", "httpx_sse"])
def test_without_the_clients_parts_it_says_how_to_get_them(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        remote, "find_spec", lambda name: None if name == missing else find_spec(name)
    )
    said = muster("nodes")
    assert said.exit_code == exits.USAGE
    assert ".[client]" in said.stderr


def test_every_problem_has_an_exit_status() -> None:
    bugs = {"INTERNAL_ERROR", "NOT_FOUND", "METHOD_NOT_ALLOWED"}
    assert {code for code in CODES if exits.of_code(code) == exits.FAILED} == bugs
    assert exits.of_code(errors.UNREACHABLE) == exits.NOBODY_ANSWERS
    assert exits.of_code(errors.UNEXPECTED_ANSWER) == exits.FAILED
    assert exits.of_code("SOMETHING_NEW") == exits.FAILED


def test_the_command_starts_without_what_only_some_verbs_need() -> None:
    code = (
        "import sys; from muster.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('httpx', 'muster.client', 'rich.console', 'muster.cli.up') "
        "if m in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert said.stdout.splitlines()[-1] == "[]"
